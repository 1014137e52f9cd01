"""Questions of the organism's world, as a user would have them in files."""

import json
from pathlib import Path

from unlearn_guard.resources import bundled


def questions(role: str, count: int) -> list[dict]:
    """The first questions of the organism's own task."""
    lines = (bundled("tasks") / "organism" / f"{role}.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    return [{key: value for key, value in json.loads(line).items() if key != "id"} for line in lines]


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
