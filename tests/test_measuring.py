"""What is stored is answers; what a suite says of its tasks is never taken from the store."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.oracles.made_scores import made_score, made_task
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.measuring import Bench, Silent, Stopwatch
from unlearn_guard.organism import base_path
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.records import FULL, Role, Task, TaskScore
from unlearn_guard.runs.store import Store


@pytest.mark.parametrize(
    "today",
    [{"chance": 0.5}, {"role": Role.RETAIN}, {"measure": "privleak", "retrained": 0.4, "role": Role.PROBE}],
    ids=["chance", "role", "reference"],
)
def test_stored_answers_are_counted_as_the_suite_says_today(tmp_path: Path, today: dict[str, Any]) -> None:
    intake = open_checkpoint(base_path())
    asked: list[str] = []

    class Answering(Bench):
        def _ask(self, precision: str, intake: Any, artifact: Any, tasks: Sequence[str]) -> Iterator[TaskScore]:
            asked.extend(tasks)
            yield made_score(task, "1100", subject=intake.checkpoint.digest, precision=precision)

    bench = Answering(
        rendered=None,  # type: ignore[arg-type]  # nothing is rendered here
        base=intake,
        calibration=Calibration(texts=()),
        placement=Placement(device_map="cpu", dtype=torch.float32),
        batch_size=4,
        store=Store(tmp_path),
        watch=Stopwatch(progress=Silent()),
    )
    task: Task = made_task(4)
    first = bench.score("base", intake, FULL, (task,))
    changed = replace(task, **today)
    second = bench.score("base", intake, FULL, (changed,))
    assert asked == [task.name], "the same questions, so the same answers"
    assert first[0].task == task
    assert second[0].task == changed
    assert second[0].samples == first[0].samples
