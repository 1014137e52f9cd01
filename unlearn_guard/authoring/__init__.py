"""Writes a suite of a user's own questions, and says of any suite whether it can be used and what it can tell."""
