"""Where what a suite names lies: beside its file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unlearn_guard.errors import Defect


@dataclass(frozen=True, slots=True)
class Place:
    """The folders in which a suite's names are looked for, in this order.

    Its file's own; and, where that is called `suites` as the shipped ones' is, the folder around it, so that tasks may
    lie beside `suites/`.
    """

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, suite: Path) -> "Place":
        """Of a suite's file."""
        own = suite.absolute().parent
        return cls((suite.parent, suite.parent.parent) if own.name == "suites" else (suite.parent,))

    def find(self, name: str) -> Path:
        """The file or folder of this name; where there is none, the place for it beside the suite."""
        return next(self._found(name), self.folders[0] / name)

    def doubt(self, name: str, where: str) -> list[Defect]:
        """A defect where two files, or two folders of tasks, have this name: nobody could say which was meant."""
        meant = [path for path in self._found(name) if path.is_file() or any(path.rglob("*.yaml"))]
        found = list(dict.fromkeys(path.resolve() for path in meant))
        if len(found) < 2:
            return []
        both = " and ".join(map(str, found))
        return [Defect(where=where, found=f"{name!r} at {both}", expected="one of them", fix="Rename the other.")]

    def _found(self, name: str) -> Iterator[Path]:
        return (folder / name for folder in self.folders if (folder / name).exists())

    def __str__(self) -> str:
        return " or ".join(map(str, self.folders))
