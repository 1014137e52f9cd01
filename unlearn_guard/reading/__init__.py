"""JSON and YAML read without surprises: each key once, finite numbers, bounded depth, and where a value stands."""
