"""One thread a process: with a test worker on each core, more would only wait for each other.

The store's key is made in a folder of the tests, never in the home of whoever runs them.
"""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("XDG_DATA_HOME", str(Path(tempfile.gettempdir()) / f"unlearn-guard-tests-{os.getuid()}"))
