"""Answers of a probe that was not finished, a line each, so that the same command need not ask them again.

They are no evidence of what is served now: a finished probe leaves none, an unfinished one is taken up within an hour,
and then some of its items are asked again first. The endpoint, the run and all that was asked have to be the same.
"""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unlearn_guard.reading import strict_json
from unlearn_guard.runs.atomic import storage_error
from unlearn_guard.served.asking import Answer

FRESH = 3600.0
"""Seconds after which answers are asked again."""


class Kept:
    """The file, and the answers in it by task and item. `head` says what they are answers to."""

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self._path, self._head, self._lock = path, dict(head), threading.Lock()
        self.answers: dict[tuple[str, str], Answer] = self._read()
        if not self.answers:
            self.start_anew()

    def add(self, answer: Answer) -> None:
        """Keep one more. Raises StorageError where the disk does not take it."""
        with self._lock:
            self.answers[answer.task, answer.item] = answer
            self._write(json.dumps(asdict(answer)), "a")

    def start_anew(self) -> None:
        """Forget all of them."""
        self.answers = {}
        self._write(json.dumps(self._head), "w")

    def finished(self) -> None:
        """Leave nothing behind: whoever asks again wants to know what is served then."""
        self._path.unlink(missing_ok=True)

    def _write(self, line: str, how: str) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open(how, encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            raise storage_error(self._path, error) from error

    def _read(self) -> dict[tuple[str, str], Answer]:
        """What can be taken up; nothing where the file is old, of something else, or broken."""
        try:
            if time.time() - self._path.stat().st_mtime > FRESH:
                return {}
            head, *lines = self._path.read_text(encoding="utf-8").splitlines()
            if strict_json.loads(head.encode()) != self._head:
                return {}
            found = [Answer(**strict_json.loads(line.encode())) for line in lines]
        except (OSError, ValueError, TypeError):
            return {}
        return {(each.task, each.item): each for each in found}
