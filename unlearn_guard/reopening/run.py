"""A finished run as it may be believed: read from its directory, and every claim in it that can be had again had again.

The limits are resolved from the policy's text, whose digest must be the one named. Measurements are derived from the
answers, the edge scores and the weight counts beside run.json. What none of these give is named in the run's notes.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from unlearn_guard.errors import Defect, PolicyError, RunDirectoryError, ScoringError
from unlearn_guard.judging.thresholds import policy_of, resolve
from unlearn_guard.records import FULL, TORCH_NAMES, Measurement, Policy, Run, Sample, Task, TaskScore
from unlearn_guard.reopening.beside import NEWER, NOT_DERIVED, from_files
from unlearn_guard.reopening.calibrations import calibration_defects, is_of_another_calibration
from unlearn_guard.reopening.dosed import dose_defects, is_dosed
from unlearn_guard.reopening.tried import from_trials
from unlearn_guard.runs import directory as on_disk
from unlearn_guard.runs.directory import read_samples
from unlearn_guard.runs.samples import FOLDER

if TYPE_CHECKING:
    from unlearn_guard.judging.draft import PolicyDraft

ON_ITS_WORD = "not derived anew from the run directory, but taken from run.json"
"""How the note begins that names what nothing beside run.json gives again."""

SIDES = ("base", "candidate", "retrained")

_DTYPE = "|".join(TORCH_NAMES.values())
_IN_ANOTHER_DTYPE = re.compile(rf"(?P<of>.+?)-(?:{_DTYPE})(?:-in-(?:{_DTYPE}))?")
"""What answers for `dtype_gap` are filed under: `full-bfloat16`; `nf4-bfloat16-in-float32`, computed in, loaded in."""

Answers = Mapping[tuple[str, str, str], tuple[Sample, ...]]
"""By task, precision and side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run that is what its directory gives, the digest of its run.json, the files beside it, and its answers."""

    run: Run
    digest: str
    files: tuple[str, ...]
    answers: Answers


def read_run(directory: Path, *, by: "PolicyDraft | None" = None) -> Run:
    """The run in `directory`; see `open_run`."""
    return open_run(directory, by=by).run


def open_run(directory: Path, *, by: "PolicyDraft | None" = None) -> OpenRun:
    """The run in `directory`, verified. `by`: another policy that it will be judged by, whose intervals are drawn too.

    Raises RunDirectoryError that names each file and field which contradicts what lies beside it, and where run.json
    holds no policy text.
    """
    held = on_disk.open_run(directory)
    run = held.run
    own = _draft(directory, run)
    _assert_limits(directory, run, own)
    answers = _answers(directory, run, held.files)
    read = {pair for draft in (own, by) if draft is not None for pair in _read_intervals(draft)}
    notes = _assert_measured(directory, run, held.files, answers, read)
    run = replace(run, notes=(*run.notes, *notes), warnings=_warnings(run, answers))
    return OpenRun(run=run, digest=held.digest, files=held.files, answers=answers)


def _warnings(run: Run, answers: Answers) -> tuple[str, ...]:
    """What the policy and the suite cannot tell; what run.json says of that is not asked."""
    from unlearn_guard.judging.lint import policy_warnings, suite_warnings

    prompts = {
        task: [sample.prompt for sample in samples]
        for (task, precision, side), samples in answers.items()
        if (precision, side) == (FULL, "candidate")
    }
    return (
        *policy_warnings(run.policy.limits, run.tasks),
        *suite_warnings(run.tasks, prompts, complete=run.verdict.complete),
    )


def _draft(directory: Path, run: Run) -> "PolicyDraft":
    """The policy that run.json holds the text of."""
    if not run.policy.text:
        raise RunDirectoryError(
            f"{directory}: run.json does not hold the text of its policy, so nothing shows that its limits are the "
            "policy's; an earlier release wrote it, or the text was taken out",
            [Defect(where="run.json: policy.text", found="nothing", expected="what the policy's file held")],
            fix="Run the check again: answers that are stored are not asked again.",
        )
    try:
        draft = policy_of(run.policy.text, name=run.policy.path)
    except PolicyError as error:
        raise _refused(directory, [Defect(where="run.json: policy.text", found=str(error), expected="a policy")]) from (
            error
        )
    if draft.digest != run.policy.digest:
        raise _refused(
            directory,
            [Defect(where="run.json: policy.digest", found=run.policy.digest, expected=f"{draft.digest}, the text's")],
        )
    return draft


def _assert_limits(directory: Path, run: Run, draft: "PolicyDraft") -> None:
    """Refuse limits that are not, each and in order, those that the text gives for this run's tasks."""
    named = [precision for rule in draft.rules for precision in rule.precisions]
    try:
        # Whether a precision exists was asked when the run was made; a plug-in may be missing here.
        policy = resolve(draft, run.tasks, dict.fromkeys([FULL, *named, *(draft.precisions or ())]))
    except PolicyError as error:
        raise _refused(
            directory,
            [replace(each, where=f"run.json: policy.text: {each.where}") for each in error.defects],
        ) from error
    if defects := list(_other_limits(run.policy, policy)):
        raise _refused(directory, defects)


def _other_limits(written: Policy, policy: Policy) -> Iterator[Defect]:
    for name in ("base", "suite", "precisions"):
        found, expected = getattr(written, name), getattr(policy, name)
        if found != expected:
            yield Defect(where=f"run.json: policy.{name}", found=repr(found), expected=repr(expected))
    theirs, ours = ({each.id: each for each in held.limits} for held in (written, policy))
    for index, limit in enumerate(written.limits):
        if limit.id not in ours:
            yield Defect(where=f"run.json: checks.{index}", found=limit.id, expected="a limit of policy.text")
            continue
        for each in fields(limit):
            found, expected = getattr(limit, each.name), getattr(ours[limit.id], each.name)
            if found != expected:
                where = f"run.json: checks.{index}.{'property' if each.name == 'guards' else each.name}"
                yield Defect(where=where, found=repr(found), expected=f"{expected!r}, as policy.text has it")
    for name in (name for name in ours if name not in theirs):
        yield Defect(where="run.json: checks", found=f"no {name}", expected="every limit of policy.text")
    if [*theirs] != [each.id for each in written.limits] or (theirs.keys() == ours.keys() and [*theirs] != [*ours]):
        yield Defect(where="run.json: checks", found="another order", expected="that of policy.text, each once")


def _answers(directory: Path, run: Run, files: Collection[str]) -> Answers:
    """Every listed file of answers, by what it says it is of."""
    found, defects = {}, []
    for name in (each for each in files if each.startswith(f"{FOLDER}/")):
        of = _named(name, run.tasks)
        if of is None:
            defects.append(Defect(where=name, found="answers of no task of the run", expected="a task, and whose"))
        else:
            found[of] = read_samples(directory, *of)
    if defects:
        raise _refused(directory, defects)
    return found


def _named(name: str, tasks: Collection[Task]) -> tuple[str, str, str] | None:
    """Task, precision and side of a file of answers; of tasks whose names begin alike the longest."""
    stem, _, side = name.removeprefix(f"{FOLDER}/").removesuffix(".jsonl").rpartition(".")
    fits = [task.name for task in tasks if stem.startswith(f"{quote(task.name, safe='')}.")]
    if not fits or side not in SIDES:
        return None
    task = max(fits, key=len)
    return task, unquote(stem[len(quote(task, safe="")) + 1 :]), side


def _read_intervals(draft: "PolicyDraft") -> Iterator[tuple[str, str]]:
    """The metrics and precisions whose intervals a policy's limits read."""
    for rule in draft.rules:
        if rule.confidence is not None:
            yield from ((rule.metric, precision) for precision in rule.precisions)


def _assert_measured(
    directory: Path, run: Run, files: Collection[str], answers: Answers, read: Collection[tuple[str, str]]
) -> tuple[str, ...]:
    """Refuse measurements that what lies beside run.json contradicts; say which it neither gives nor contradicts."""
    from unlearn_guard.judging.again import from_answers, key

    own = {of: each for of, each in answers.items() if not (is_dosed(of) or is_of_another_calibration(run, of))}
    scores, elsewhere = _scores(directory, run, own)
    try:
        again = from_answers(run, scores, elsewhere, read=read)
    except ScoringError as error:
        told = [*error.defects] or [Defect(where=FOLDER, found=error.summary, expected="answers that can be compared")]
        raise _refused(directory, told) from error
    tried = from_trials(directory, run, files, answers)
    defects, spreads = calibration_defects(run, scores, answers)
    derived = {key(each): each for each in (*again.measurements, *tried, *spreads)}
    beside = from_files(directory, run, files)
    for index, each in enumerate(run.measurements):
        made, value = derived.get(key(each)), beside.get(key(each))
        if each.metric in NOT_DERIVED:
            continue
        if made is None and value is not None:
            made = replace(each, value=value)  # its error and intervals are named, not derived
        defects += _contradictions(f"run.json: measurements.{index}", each, made)
    recorded = {key(each) for each in run.measurements}
    missing = NEWER - {each.metric for each in run.measurements}
    defects += [
        Defect(where="run.json: measurements", found=f"no {derived[each].name}", expected="all that the answers give")
        for each in derived
        if each not in recorded and derived[each].metric not in missing
    ]
    defects += dose_defects(run, scores, answers)
    if defects:
        raise _refused(directory, defects)
    return _on_its_word(run, again.taken)


def _contradictions(where: str, written: Measurement, derived: Measurement | None) -> Iterator[Defect]:
    from unlearn_guard.judging.again import differences

    if derived is None:
        yield Defect(where=where, found=written.name, expected="what a file beside run.json gives")
        return
    for field, found, expected in differences(written, derived):
        yield Defect(
            where=f"{where}.{field} ({written.name})", found=found[:200], expected=f"{expected[:200]}, from the files"
        )


def _on_its_word(run: Run, taken: Collection[str]) -> tuple[str, ...]:
    """What of the run nothing beside run.json gives again."""
    measurements = run.measurements
    counted = [task.name for task in run.tasks if not task.likeliest]
    names = dict.fromkeys(each.metric for each in measurements if each.metric in NOT_DERIVED)
    attributed = dict.fromkeys(each.metric for each in measurements if each.metric in ("cad", "as_c", "as_nc"))
    told = ["that no item was left out"]
    if counted:
        told.append(f"which answers to {', '.join(counted)} are right"[:300])
    if names:
        told.append(f"the values of {', '.join(names)}")
    if attributed:
        told.append(f"the intervals of {', '.join(attributed)}")
    if taken:
        told.append(f"the intervals of {len(taken)} measurements that no limit reads ({', '.join(taken)})"[:300])
    return (f"{ON_ITS_WORD}: {'; '.join(told)}",)


def _scores(
    directory: Path, run: Run, answers: Answers
) -> tuple[list[TaskScore], dict[tuple[str, str], list[TaskScore]]]:
    """The scores that the run is derived from, and by task and precision those in other dtypes."""
    from unlearn_guard.judging.again import score_of

    sides = {"base": run.base.digest, "candidate": run.candidate.digest}
    if run.retrained is not None:
        sides["retrained"] = run.retrained.digest
    tasks = {task.name: task for task in run.tasks}
    order = {name: place for place, name in enumerate(tasks)}
    scores: list[TaskScore] = []
    elsewhere: dict[tuple[str, str], list[TaskScore]] = {}
    defects: list[Defect] = []
    for (name, precision, side), samples in sorted(answers.items(), key=lambda each: order[each[0][0]]):
        setting = _IN_ANOTHER_DTYPE.fullmatch(precision) if side == "candidate" else None
        other, of = setting is not None, setting["of"] if setting else precision
        task = replace(tasks[name], items=max(1, len(samples))) if other else tasks[name]
        try:
            score = score_of(task, sides[side], precision, samples)
        except (ValueError, KeyError) as error:
            where = f"{FOLDER}: {name} of {side} at {precision}"
            defects.append(
                Defect(where=where, found=str(error), expected=f"{task.items} answers of a model of the run")
            )
            continue
        if other:
            elsewhere.setdefault((name, of), []).append(score)
        else:
            scores.append(score)
    if defects:
        raise _refused(directory, defects)
    return scores, elsewhere


def _refused(directory: Path, defects: Collection[Defect]) -> RunDirectoryError:
    return RunDirectoryError(
        f"{directory} contradicts itself: it was edited, damaged, or derived by another version",
        defects,
        fix="Run the check again: answers that are stored are not asked again.",
    )
