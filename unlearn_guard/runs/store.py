"""The content-addressed store: what was measured once is not measured again, and nothing else is ever served.

A key is the digest of everything the value depends on (bytes of the model, rendered items, recipe, versions);
the caller names each part. Values carry their own checksum. One that does not match is thrown away and
reported in `warnings`, and the caller measures anew: a damaged entry costs time, never a wrong number.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from unlearn_guard.making import making
from unlearn_guard.records import Measurement, Task, TaskScore
from unlearn_guard.runs import samples, strict_json
from unlearn_guard.runs.atomic import storage_error, sync_directory, write_bytes

ENVIRONMENT = "UNLEARN_GUARD_CACHE"
_MANIFEST = "manifest.json"
_KEY = "0123456789abcdef"


def default_root() -> Path:
    """The folder named by UNLEARN_GUARD_CACHE, else the user's cache folder."""
    if named := os.environ.get(ENVIRONMENT):
        return Path(named).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("unlearn-guard", appauthor=False))


def key(**parts: Any) -> str:
    """sha256 (64 hexadecimal digits) of the parts as canonical JSON.

    Raises ValueError for no parts, NaN or infinity, TypeError for what is not a JSON value: a key must
    not depend on how an object happens to print.
    """
    if not parts:
        raise ValueError("a key needs parts: without them everything would be the same entry")
    _plain(parts)
    return strict_json.digest(strict_json.canonical(parts)).removeprefix("sha256:")


class Store:
    """Values and folders under `root`, by key. Several processes may share one store."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or default_root()
        self.warnings: list[str] = []

    def get_json(self, key: str) -> Any | None:
        """The value, or None where there is none or it is damaged."""
        return self._get(key, lambda payload: payload)

    def put_json(self, key: str, value: Any) -> None:
        """Store a JSON value other than null."""
        if value is None:
            raise ValueError("null cannot be told from nothing stored")
        envelope = {"key": key, "sha256": strict_json.digest(strict_json.canonical(value)), "payload": value}
        write_bytes(self._entry(key), strict_json.canonical(envelope))

    def get_scores(self, key: str) -> TaskScore | None:
        """The score with its answers, or None where there is none or it is damaged."""
        return self._get(key, _score)

    def put_scores(self, key: str, score: TaskScore) -> None:
        """Store a score with its answers."""
        tasks, measurements = TypeAdapter(Task), TypeAdapter(Measurement)
        self.put_json(
            key,
            {
                "task": tasks.dump_python(score.task, mode="json"),
                "subject": score.subject,
                "precision": score.precision,
                "samples": [samples.to_json(sample) for sample in score.samples],
                "measurement": measurements.dump_python(score.measurement, mode="json"),
                "truncated": score.truncated,
            },
        )

    def directory(self, key: str) -> Path | None:
        """The folder published under this key, every byte of it verified, or None. A damaged one is removed."""
        path = self._folder(key)
        if not path.exists():
            return None
        try:
            manifest = strict_json.loads((path / _MANIFEST).read_bytes())
            sound = manifest == {"key": key, "files": _digests(path)}
        except (OSError, ValueError):
            sound = False
        if sound:
            return path
        self._discard(path)
        return None

    def publish(self, key: str, make: Callable[[Path], None]) -> Path:
        """Let `make` fill a temporary folder, and put it under this key in one step; return its place.

        Where another process was first, its folder is kept. Whatever `make` raises goes through, and
        leaves nothing behind. The folder is not to be written to afterwards.
        """
        target = self._folder(key)
        with making(target.parents[1]) as temporary:
            make(temporary)
            return self._publish(key, temporary, target)

    def _publish(self, key: str, temporary: Path, target: Path) -> Path:
        try:
            files = _digests(temporary)
            write_bytes(temporary / _MANIFEST, strict_json.pretty({"key": key, "files": files}))
            if self.directory(key) is None:
                target.parent.mkdir(exist_ok=True)
                temporary.rename(target)
                sync_directory(target.parent)
        except OSError as error:
            # Someone else published between the look and the rename: theirs is as good, if it is sound.
            if not (target.is_dir() and self.directory(key)):
                raise storage_error(target, error) from error
        return target

    def _get(self, key: str, build: Callable[[Any], Any]) -> Any | None:
        path = self._entry(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise storage_error(path, error) from error
        try:
            envelope = strict_json.loads(data)
            payload = envelope["payload"]
            if envelope["key"] != key or envelope["sha256"] != strict_json.digest(strict_json.canonical(payload)):
                raise ValueError("checksum")
            return build(payload)
        except (ValueError, KeyError, TypeError):
            self._discard(path)
            return None

    def _discard(self, path: Path) -> None:
        self.warnings.append(f"{path} is damaged; it was removed and will be measured again")
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise storage_error(path, error) from error

    def _entry(self, key: str) -> Path:
        return self.root / "values" / _checked(key)[:2] / f"{key}.json"

    def _folder(self, key: str) -> Path:
        return self.root / "folders" / _checked(key)[:2] / key


def _checked(key: str) -> str:
    if len(key) != 64 or any(digit not in _KEY for digit in key):
        raise ValueError(f"{key!r} was not made by key()")
    return key


def _plain(value: Any) -> None:
    """Refuse what JSON would quietly change: tuples are fine, but keys have to be text."""
    if isinstance(value, dict):
        for name, each in value.items():
            if not isinstance(name, str):
                raise TypeError(f"the name {name!r} in a key is not text")
            _plain(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            _plain(each)
    elif not (value is None or isinstance(value, (str, bool, int, float))):
        raise TypeError(f"a key's part is a {type(value).__name__}, not a JSON value")


def _score(payload: Any) -> TaskScore:
    if type(payload.get("truncated")) is not int:
        raise ValueError("it does not say how many items were truncated")
    try:
        return TaskScore(
            task=TypeAdapter(Task).validate_json(strict_json.canonical(payload["task"]), strict=True),
            subject=payload["subject"],
            precision=payload["precision"],
            samples=tuple(samples.from_json(entry) for entry in payload["samples"]),
            measurement=TypeAdapter(Measurement).validate_json(
                strict_json.canonical(payload["measurement"]), strict=True
            ),
            truncated=payload["truncated"],
        )
    except ValidationError as error:
        raise ValueError(str(error)) from error


def _digests(folder: Path) -> dict[str, str]:
    """Every file under `folder` but the manifest, by relative name, with its sha256; a link is an OSError."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise OSError(f"{path} is a link; a published folder holds files only")
        if path.is_file() and path != folder / _MANIFEST:
            found[path.relative_to(folder).as_posix()] = _digest(path)
    return found


def _digest(path: Path) -> str:
    from hashlib import file_digest

    with path.open("rb") as file:
        return f"sha256:{file_digest(file, 'sha256').hexdigest()}"
