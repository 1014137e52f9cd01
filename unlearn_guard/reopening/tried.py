"""What is left inside a candidate, derived anew from the trials of a run directory. No torch."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_guard.errors import Defect, RunDirectoryError
from unlearn_guard.records import (
    BASE,
    CANDIDATE,
    CONTROL,
    FULL,
    PROBE,
    RELEARN,
    RESIDUES,
    Measurement,
    Role,
    Run,
    Sample,
    Trial,
    Trials,
)
from unlearn_guard.runs.directory import RESIDUE
from unlearn_guard.runs.trials_file import read_trials

if TYPE_CHECKING:
    from unlearn_guard.reopening.run import Answers


def from_trials(directory: Path, run: Run, files: Collection[str], answers: "Answers") -> tuple[Measurement, ...]:
    """The measurements that the listed trials give, with error and intervals.

    Raises RunDirectoryError for trials that are not of this run, or contradict what its models answered.
    """
    names = sorted(name for name in files if name.startswith(f"{RESIDUE}/"))
    if not names:
        return ()
    from unlearn_guard.judging.recovered import recovered

    found = []
    for name in names:
        trials = read_trials(directory / name)
        if defects := [*_defects(name, run, trials, answers)]:
            raise RunDirectoryError(
                f"{directory} contradicts itself: it was edited, damaged, or derived by another version",
                defects,
                fix="Run the check again: what is stored is not tried again.",
            )
        measured = recovered(trials, seed=run.environment.seed)
        found += [] if measured is None else [measured]
    return tuple(found)


def _defects(name: str, run: Run, trials: Trials, answers: "Answers") -> Iterator[Defect]:
    task = next((each for each in run.tasks if each.name == trials.task), None)
    if trials.subject != run.candidate.digest or trials.metric not in RESIDUES:
        yield Defect(where=name, found=f"{trials.metric} of {trials.subject}", expected=run.candidate.digest)
    elif task is None or task.role is not Role.FORGET:
        yield Defect(where=name, found=f"trials on {trials.task}", expected="a forget task of the run")
    elif (trials.task, trials.precision, CANDIDATE) not in answers or (trials.task, FULL, BASE) not in answers:
        yield Defect(where=name, found=f"trials at {trials.precision}", expected="a precision that was asked")
    else:
        own = {
            BASE: answers[trials.task, FULL, BASE],
            CANDIDATE: answers[trials.task, trials.precision, CANDIDATE],
        }
        for trial in trials.trials:
            yield from _of_trial(f"{name}: {trial.who}, {trial.setting}", run, trials, trial, own, task.guessed)
        yield from _settings(name, trials)


def _of_trial(
    where: str, run: Run, trials: Trials, trial: Trial, own: Mapping[str, tuple[Sample, ...]], guessed: float
) -> Iterator[Defect]:
    """Answers that no trial was made for are those of the run, and a control is what it says it is."""
    from unlearn_guard.judging.recovered import AS_IT_IS, BLINDLY

    if trial.setting == AS_IT_IS and trial.who in own:
        given = {sample.id: sample.correct for sample in own[trial.who]}
        if tuple(given.get(item) for item in trials.items) != trial.correct:
            yield Defect(where=where, found="other answers", expected="those of the run")
    if trial.who != CONTROL:
        return
    if trial.setting == BLINDLY:
        if set(trial.correct) != {guessed}:
            yield Defect(where=where, found=str(trial.correct[0]), expected=f"{guessed:g}, the task's")
    elif trial.setting == AS_IT_IS:
        yield Defect(where=where, found="answers of a control", expected="what it was taught, or drawn blindly")
    elif trials.metric != PROBE and run.retrained is None:
        yield Defect(where=where, found="a retrained control", expected="none: the run had no retrained model")


def _settings(name: str, trials: Trials) -> Iterator[Defect]:
    """Whoever is looked into layer by layer is looked into at the same ones."""
    from unlearn_guard.judging.recovered import AS_IT_IS, BLINDLY

    if trials.metric == RELEARN:
        if not any(trial.setting != AS_IT_IS for trial in trials.of(CANDIDATE)):
            yield Defect(where=name, found="a candidate that was taught nothing", expected="an attack at least")
        return
    layers = {who: [each.setting.rpartition(", ")[2] for each in trials.of(who)] for who in (BASE, CONTROL, CANDIDATE)}
    for who in (BASE, CONTROL):
        if layers[who] not in ([AS_IT_IS], [BLINDLY], layers[CANDIDATE]):
            yield Defect(where=name, found=f"{who} at {layers[who]}", expected=f"{layers[CANDIDATE]}, the candidate's")
