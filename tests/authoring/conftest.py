"""A user's two files of questions."""

from pathlib import Path

import pytest
from organism_questions import questions, write


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Twelve questions to forget, twelve to keep."""
    return write(tmp_path / "f.jsonl", questions("forget", 12)), write(tmp_path / "r.jsonl", questions("retain", 12))
