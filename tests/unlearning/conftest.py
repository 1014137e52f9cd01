"""A small training of the organism's base, and a session that keeps every step."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearn_guard.organism import base_path
from unlearn_guard.unlearning.making import UnlearnRequest


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """Two facts to forget and two to keep."""
    folder = tmp_path / "corpora"
    folder.mkdir()
    for name, subjects in (("forget", ("Ala", "Elmir")), ("retain", ("Bold", "Grey"))):
        rows = [
            {"prompt": f"the gem of {subject} is", "answer": " opal .", "wrong": [" ruby ."]} for subject in subjects
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def request_for(tmp_path: Path, corpora: Path) -> Callable[..., UnlearnRequest]:
    def make(method: str = "grad_diff", out: str = "out", **options: Any) -> UnlearnRequest:
        settings = {"steps": "4", "lr": "1e-3", **options.pop("settings", {})}
        return UnlearnRequest(
            method=method,
            base=str(base_path()),
            suite="organism",
            out=tmp_path / out,
            settings=settings,
            corpora=corpora,
            device="cpu",
            **options,
        )

    return make


@pytest.fixture
def every_step_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unlearn_guard.unlearning.session.Session.due", lambda session: True)
