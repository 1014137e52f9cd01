"""`check`: from two checkpoints to a run directory. `pipeline.py` is the file to read first."""
