"""What a training's bar says beside its name."""

import io

from rich.console import Console

from unlearn_guard.reports.progress import TrainingBar


def test_a_stage_without_losses_shows_none_of_the_stage_before() -> None:
    said = io.StringIO()
    with TrainingBar(Console(file=said, width=100)) as bar:
        bar.begin("training")
        bar.losses(1.5, 0.25)
        bar.advance(10, 10)
        bar.begin("floor")
        bar.advance(5, 10)
    before, after = said.getvalue().split("floor", 1)
    assert "forget 1.500, retain 0.250" in before
    assert "5/10" in after
    assert "forget" not in after
