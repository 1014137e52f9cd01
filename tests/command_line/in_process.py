"""A command line in the tests' own process, where what it imports is imported once for all tests."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from unittest import mock

from command import Done


def in_process(call: Callable[[], int], *, cwd: Path, environment: Mapping[str, str]) -> Done:
    """What `call` would be as a process: its status, and what it and its children write."""
    before = Path.cwd()
    with TemporaryFile("w+", encoding="utf-8") as out, TemporaryFile("w+", encoding="utf-8") as err:
        os.chdir(cwd)
        try:
            with mock.patch.dict(os.environ, environment), _leading_to(out.fileno(), err.fileno()):
                status = int(call())
        finally:
            os.chdir(before)
        out.seek(0)
        err.seek(0)
        return Done(status, out.read(), err.read())


@contextmanager
def _leading_to(out: int, err: int) -> Iterator[None]:
    """Descriptors 1 and 2 lead to these, and Python's streams to 1 and 2, as in a process of its own."""
    own, kept = (sys.stdout, sys.stderr), [os.dup(number) for number in (1, 2)]
    for number, target in ((1, out), (2, err)):
        os.dup2(target, number)
    # Never closed: a library's log handler may hold one for good.
    sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = own
        for number, original in enumerate(kept, start=1):
            os.dup2(original, number)
            os.close(original)
