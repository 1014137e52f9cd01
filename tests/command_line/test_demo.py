"""What a demo may be made into: nothing, or an earlier demo, finished or not."""

from pathlib import Path

import pytest

from unlearn_guard.command_line import demo
from unlearn_guard.errors import UsageError
from unlearn_guard.processes.half_made import PREFIX


class BegunError(Exception):
    pass


@pytest.fixture(autouse=True)
def _no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(*_: object) -> None:
        raise BegunError

    monkeypatch.setattr(demo, "_one", begun)


@pytest.mark.parametrize("name", ["retrained", "redirected", "runs", f"{PREFIX}x1"])
def test_what_a_killed_demo_left_does_not_stand_in_the_way(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(BegunError):
        demo.demo(tmp_path)


def test_anything_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    with pytest.raises(UsageError, match="something else"):
        demo.demo(tmp_path)
