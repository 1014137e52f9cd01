"""What a suite cannot tell, though it is well formed."""

import math
from collections.abc import Iterator, Sequence

from unlearn_guard.authoring.findings import TaskFindings
from unlearn_guard.judging.lint import SUITE, suite_warnings
from unlearn_guard.records import Role
from unlearn_guard.scoring.questions import Rendered
from unlearn_guard.scoring.suite_file import CALIBRATION_SAMPLES

ONE_SIDED = 0.5
"""Where one letter is right more often than this, a model that always says it seems to know."""

FEW_TEXTS = 32
"""With fewer calibration texts a quantizer is not what is deployed."""

CLEARLY = 3.0
"""Standard errors above chance, so that a few questions are no reason to warn."""


def warnings(rendered: Rendered, tasks: Sequence[TaskFindings]) -> tuple[str, ...]:
    """What `check` would warn of, answers that all have one letter, and texts that are scored from 0."""
    prompts = {each.task.name: [item.prompt for item in each.items] for each in rendered.tasks}
    linted = suite_warnings(rendered.records, prompts, complete=True)
    own = (*_silent(tasks), *_one_sided(tasks), *_floors(tasks), *_calibration(rendered))
    return (*linted, *(f"{SUITE}{text}" for text in own))


def _silent(tasks: Sequence[TaskFindings]) -> Iterator[str]:
    for each in tasks:
        if each.counted and each.gap is None:
            yield f"{each.task.name} asks {each.task.items} items: not even a change of all of them is told from chance"


def _calibration(rendered: Rendered) -> Iterator[str]:
    suite = rendered.suite
    if suite.calibration is not None and suite.calibration_samples < FEW_TEXTS:
        yield f"GPTQ and AWQ calibrate on {suite.calibration_samples} texts; they are made for {CALIBRATION_SAMPLES}"


def _one_sided(tasks: Sequence[TaskFindings]) -> Iterator[str]:
    for each in tasks:
        if not each.letters:
            continue
        letter, count = max(each.letters.items(), key=lambda pair: pair[1])
        items, chance = each.task.items, each.task.chance
        above = count - items * chance > CLEARLY * math.sqrt(items * chance * (1 - chance))
        if above and count > ONE_SIDED * items:
            yield (
                f"{letter} is right in {count} of {items} items of {each.task.name}: a model that always "
                "says so scores as much"
            )


def _floors(tasks: Sequence[TaskFindings]) -> Iterator[str]:
    for task in (each.task for each in tasks if each.task.role is Role.FORGET):
        if task.metric.startswith(("rouge", "prob")) and not task.floor:
            yield (
                f"{task.name} has no `floor`, and words of the question earn {task.metric}, too: give what a model "
                "that never saw the answers scores, or such a model with `check --retrained PATH`"
            )
