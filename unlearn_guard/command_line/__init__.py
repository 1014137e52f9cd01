"""What a user types: parsing, options, and the words printed; no logic."""
