"""An earlier run's verdict, set aside from the first moment of a new one: it stands nowhere while another is made.

run.json, the reports beside it and the log go to `.earlier/`. They come back where the new run is refused because the
directory holds another's finished run; they go for good when measuring begins. In between, where a run ends before it
is known whose it is (a policy that cannot be read, a checkpoint that intake refuses), they stay aside: nothing stands,
and nothing is lost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unlearn_guard.errors import AnotherRunError, Defect
from unlearn_guard.reading import strict_json
from unlearn_guard.runs.atomic import storage_error
from unlearn_guard.runs.claim import claim

ASIDE = ".earlier"
"""The folder in the run directory that holds what was set aside."""

RUN_FILE = "run.json"
_BESIDE = ("report.*", "*.log")
_IDENTITY = {
    "candidate": ("candidate", "digest"),
    "base": ("base", "digest"),
    "suite": ("suite",),
    "policy": ("policy", "digest"),
}
_JUDGE = "To judge the same measurements by another policy, use `unlearn-guard judge {} --thresholds FILE`. "


class Earlier:
    """The finished run that a directory held when this one began, if it did; `replace`: it may be another's."""

    def __init__(self, out: Path, *, replace: bool) -> None:
        self._out, self._replace = out, replace
        self._moved: list[str] = []
        self._held: Any = None

    def set_aside(self) -> None:
        """Take run.json and what was made from it out of sight. What was set aside before is still there."""
        standing = (self._out / RUN_FILE).exists()
        names = [RUN_FILE, *(path.name for kind in _BESIDE for path in sorted(self._out.glob(kind)))]
        try:
            if standing:
                self._remove()
            for name in (each for each in names if (self._out / each).is_file()):
                (self._out / ASIDE).mkdir(exist_ok=True)
                (self._out / name).replace(self._out / ASIDE / name)
                self._moved.append(name)
        except OSError as error:
            raise storage_error(self._out, error) from error
        self._held = _identity(self._out / ASIDE / RUN_FILE)

    def assert_same(self, **asked: str) -> None:
        """Raise AnotherRunError where the earlier run had another `candidate`, `base`, `suite` or `policy`."""
        if self._held is None or self._replace:
            return
        others = {name: self._held.get(name) for name in asked if self._held.get(name) != asked[name]}
        if not others:
            return
        raise AnotherRunError(
            f"{self._out} holds the finished run of another {' and another '.join(others)}; it was left as it is",
            [
                Defect(
                    where=f"{RUN_FILE}: {'.'.join(_IDENTITY[name])}", found=str(found)[:100], expected=asked[name][:100]
                )
                for name, found in others.items()
            ],
            fix=(_JUDGE.format(self._out) if set(others) == {"policy"} else "")
            + "Give this run its own --out, or say --replace to give up the earlier one.",
        )

    def restore(self) -> None:
        """Put back what this process set aside."""
        for name in self._moved:
            (self._out / ASIDE / name).replace(self._out / name)
        self._moved = []
        if self._aside() == []:
            (self._out / ASIDE).rmdir()

    def discard(self) -> None:
        """Give the earlier verdict up."""
        try:
            self._remove()
        except OSError as error:
            raise storage_error(self._out, error) from error
        self._moved = []

    def _remove(self) -> None:
        found = self._aside()
        for path in found or ():
            path.unlink()
        if found is not None:
            (self._out / ASIDE).rmdir()

    def _aside(self) -> list[Path] | None:
        folder = self._out / ASIDE
        return sorted(folder.iterdir()) if folder.is_dir() else None


@contextmanager
def taken(out: Path, *, replace: bool) -> Iterator[Earlier]:
    """Hold a run directory for a new run, with the verdict of the earlier one set aside; see `claim`."""
    with claim(out):
        earlier = Earlier(out, replace=replace)
        earlier.set_aside()
        try:
            yield earlier
        except AnotherRunError:
            earlier.restore()
            raise


@contextmanager
def retracted(junit: Path | None) -> Iterator[None]:
    """Take an earlier JUnit file away while a run is made; only a run that is refused as another's puts it back.

    A file that holds anything else is left alone, as is what is no file.
    """
    if junit is None:
        yield
        return
    aside = junit.with_name(f".{junit.name}.earlier")
    moved = _is_junit(junit)
    if moved:
        junit.replace(aside)
    try:
        yield
    except AnotherRunError:
        if moved:
            aside.replace(junit)
        raise
    finally:
        aside.unlink(missing_ok=True)


def _is_junit(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return b"<testsuite" in file.read(1024)


def _identity(path: Path) -> dict[str, object] | None:
    """Whose run this is; None where there is none, and nobody's where it cannot be read."""
    if not path.is_file():
        return None
    try:
        content = strict_json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    found: dict[str, object] = {}
    for name, keys in _IDENTITY.items():
        value = content
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        found[name] = value
    return found
