"""A command, in this process or in its own, and what it left."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from unittest import mock

from unlearn_guard.command_line.app import run


@dataclass(frozen=True)
class Done:
    """A finished command."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams, with line breaks that only the width made taken out."""
        return " ".join((self.out + self.err).split())


def run_here(*arguments: str | Path, cwd: Path, environment: Mapping[str, str]) -> Done:
    """`unlearn-guard ...` in this process, where torch and the rest are imported once for all tests."""
    before = Path.cwd()
    with TemporaryFile("w+", encoding="utf-8") as out, TemporaryFile("w+", encoding="utf-8") as err:
        os.chdir(cwd)
        try:
            with mock.patch.dict(os.environ, environment), leading_to(out.fileno(), err.fileno()):
                status = run([str(each) for each in arguments])
        finally:
            os.chdir(before)
        told = [file.seek(0) or file.read() for file in (out, err)]
    return Done(status, *told)


@contextmanager
def leading_to(out: int, err: int) -> Iterator[None]:
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


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))
