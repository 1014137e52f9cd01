"""What run.json says of several calibrations, held against the answers beside it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from unlearn_guard.errors import Defect
from unlearn_guard.records import ON, Calibrated, Measurement, Run, Sample, TaskScore

Key = tuple[str, str, str]


def is_of_another_calibration(run: Run, key: Key) -> bool:
    """Whether answers (task, precision, side) are those of a calibration that does not count."""
    task, precision, side = key
    at, on, _ = precision.rpartition(ON)
    return bool(on) and side == "candidate" and (task, at) in {(each.task, each.precision) for each in run.calibrations}


def calibration_defects(
    run: Run, scores: Sequence[TaskScore], answers: Mapping[Key, tuple[Sample, ...]]
) -> tuple[list[Defect], list[Measurement]]:
    """What the answers contradict, and the spreads that they give. `scores` are the run's own, verified.

    Every calibration's score must be its answers', and none may be above the one that counts.
    """
    from unlearn_guard.judging.calibrated import spread

    own = {(each.task.name, each.precision): each for each in scores if each.subject == run.candidate.digest}
    defects, spreads, listed = [], [], set()
    for index, each in enumerate(run.calibrations):
        where, counted = f"run.json: calibrations.{index}", own.get((each.task, each.precision))
        listed |= {(each.task, each.label(name), "candidate") for name in each.others}
        try:
            answered = _answered(run, each, counted, answers)
        except ValueError as error:
            defects.append(Defect(where=where, found=str(error)[:300], expected="the answers beside run.json"))
            continue
        for name, score in answered.scores.items():
            if not math.isclose(score, each.scores[name], rel_tol=1e-9, abs_tol=1e-9):
                found, expected = repr(each.scores[name]), f"{score!r}, as answered"
                defects.append(Defect(where=f"{where}.scores.{name}", found=found, expected=expected))
        if counted is not None:
            spreads.append(spread(answered, counted))
    for task, precision, side in answers:
        key = (task, precision, side)
        if is_of_another_calibration(run, key) and key not in listed:
            defects.append(Defect(where="samples", found=f"{task} at {precision}", expected="one of run.json"))
    return defects, spreads


def _answered(
    run: Run, each: Calibrated, counted: TaskScore | None, answers: Mapping[Key, tuple[Sample, ...]]
) -> Calibrated:
    """The same by the answers. ValueError where some are missing, miscounted, or above those that count."""
    from unlearn_guard.judging.again import score_of

    if counted is None:
        raise ValueError(f"no answers to {each.task} at {each.precision}")
    scores = {each.worst: counted.measurement.value}
    for name in each.others:
        samples = answers.get((each.task, each.label(name), "candidate"))
        if samples is None:
            raise ValueError(f"no answers to {each.task} at {each.label(name)}")
        scores[name] = score_of(counted.task, run.candidate.digest, each.precision, samples).measurement.value
    return replace(each, scores=scores)
