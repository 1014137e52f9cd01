"""What people read of a finished run; everything comes from run.json."""
