"""A run's doses derived anew from the answers of the mixtures beside run.json."""

from collections.abc import Iterator, Mapping, Sequence

from unlearn_guard.errors import Defect, ScoringError
from unlearn_guard.records import Dose, Run, Sample, TaskScore
from unlearn_guard.reopening.beside import NEWER

Key = tuple[str, str, str]


def is_dosed(key: Key) -> bool:
    """Whether answers (task, precision, side) are a mixture's."""
    from unlearn_guard.judging.dosing import share_of

    return key[2] == "candidate" and share_of(key[1]) is not None


def dose_defects(run: Run, scores: Sequence[TaskScore], answers: Mapping[Key, tuple[Sample, ...]]) -> Iterator[Defect]:
    """What run.json says of its doses and the answers of the mixtures do not; `scores` are the run's own, verified."""
    from unlearn_guard.judging.again import score_of
    from unlearn_guard.judging.dosing import doses, share_of

    tasks = {task.name: task for task in run.tasks}
    mixtures: dict[float, list[TaskScore]] = {}
    try:
        for task, precision, side in answers:
            share = share_of(precision)
            if share is None or side != "candidate":
                continue
            samples = answers[task, precision, side]
            mixtures.setdefault(share, []).append(score_of(tasks[task], run.candidate.digest, precision, samples))
        derived = doses(
            scores,
            mixtures,
            base=run.base.digest,
            candidate=run.candidate.digest,
            seed=run.environment.seed,
            retrained=run.retrained.digest if run.retrained is not None else None,
        )
    except (ScoringError, ValueError) as error:
        yield Defect(
            where="samples: mixtures with base", found=str(error)[:300], expected="answers to the forget items"
        )
        return
    written = {each.share: each for each in run.doses}
    for share in sorted({*written, *mixtures}):
        if share not in written or share not in mixtures:
            where, there = ("run.json: doses", "samples/") if share not in written else ("samples/", "run.json")
            yield Defect(where=where, found=f"no dose of {share}", expected=f"what {there} has")
    for dose in (each for each in derived if each.share in written):
        yield from _contradictions(written[dose.share], dose)


def _contradictions(written: Dose, derived: Dose) -> Iterator[Defect]:
    from unlearn_guard.judging.again import differences, key

    where = f"run.json: doses ({written.share})"
    ours, theirs = ({key(each): each for each in dose.measurements} for dose in (derived, written))
    for name in sorted({*ours, *theirs}):
        if name not in theirs and ours[name].metric in NEWER - {each.metric for each in written.measurements}:
            continue
        if name not in ours or name not in theirs:
            found = (theirs.get(name) or ours[name]).name
            yield Defect(where=where, found=found, expected="exactly what the answers give")
            continue
        for field, said, made in differences(theirs[name], ours[name]):
            yield Defect(where=f"{where}: {ours[name].name}.{field}", found=said[:200], expected=made[:200])
