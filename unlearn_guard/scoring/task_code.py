"""The Python that a task's definition may run: every module of its folder, and of the folders of what it includes."""

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from lm_eval.tasks._yaml_loader import load_yaml

_MODULES = (".py", ".so", ".pyd")
_NO_PACKAGES = {"__pycache__", "node_modules"}


def code_of(definitions: Iterable[Path]) -> tuple[tuple[str, str], ...]:
    """(name relative to its folder, sha256) of every module beside and below these YAML files, in order.

    What belongs to a virtual environment or lies in a hidden folder is left out: its versions are recorded.
    """
    folders = dict.fromkeys(folder for path in definitions for folder in _folders(path))
    return tuple(
        (path.relative_to(folder).as_posix(), sha256(path.read_bytes()).hexdigest())
        for folder in folders
        for path in _modules(folder)
    )


def _folders(definition: Path) -> Iterator[Path]:
    """The folder of a definition, then those of the files that it includes, as lm-eval reads them."""
    left, seen = [definition.expanduser().resolve()], set[Path]()
    while left:
        path = left.pop(0)
        if path in seen:
            continue
        seen.add(path)
        yield path.parent
        content: dict[str, Any] = load_yaml(path, resolve_func=False, recursive=False)
        included = content.get("include", [])
        left += [
            (path.parent / str(each)).resolve() for each in (included if isinstance(included, list) else [included])
        ]


def _modules(root: Path) -> Iterator[Path]:
    seen: set[str] = set()
    for folder, below, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen or "pyvenv.cfg" in files:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(each for each in below if not each.startswith(".") and each not in _NO_PACKAGES)
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(_MODULES))
