"""The run directory and the content-addressed store: atomic, resumable, checked on reading."""
