"""`python -m unlearn_guard`: the command line where no script was installed.

Started so, Python looks for modules in the working directory first, and that may be the candidate's. So the same
command is begun again at once with `-P`, before anything is imported that could lie there.
"""

import os
import sys


def _begin_again() -> None:
    """The same command with a safe path; this very package is found again, a checkout's too."""
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - pathlib could lie there
    if package not in sys.path[1:]:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    os.execv(sys.executable, [sys.executable, "-P", *sys.orig_argv[1:]])  # noqa: S606 - this very command


if __name__ == "__main__":
    if not sys.flags.safe_path:
        _begin_again()
    from unlearn_guard.command_line.app import main

    main()
