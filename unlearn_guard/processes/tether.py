"""`python -m unlearn_guard.processes.tether MODULE ...`: MODULE's own `python -m`, which ends with its input.

For modules that are not ours, and so do not look after that themselves.
"""

import runpy
import sys

from unlearn_guard.processes.children import end_with

if __name__ == "__main__":
    end_with(0)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
