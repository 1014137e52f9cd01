"""What to do next, once for all the checks that need the same: the short list under a verdict."""

from dataclasses import dataclass

from unlearn_guard.records import FULL, RESIDUES, WEIGHTS, Check, Outcome, Property, Run
from unlearn_guard.reports import wording
from unlearn_guard.reports.scorecard import worst_first

PARAPHRASE = "paraphrase_recovery"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The checks of one outcome that one remedy is for."""

    outcome: Outcome
    checks: tuple[Check, ...]
    text: str

    @property
    def metrics(self) -> str:
        """`cad, ptq_gap at gptq, awq`: the checks without their tasks."""
        names = dict.fromkeys(wording.short(check.limit.metric, 40) for check in self.checks)
        where = dict.fromkeys(wording.short(check.limit.precision, 24) for check in self.checks)
        return f"{', '.join(names)} at {', '.join(where)}"


def steps(run: Run) -> tuple[Step, ...]:
    """One step a remedy, worst outcome first; none for a pass."""
    groups: dict[tuple[str, ...], list[Check]] = {}
    asked = _asked(run)
    for check in worst_first(run.verdict.checks):
        if check.outcome is not Outcome.PASSED:
            groups.setdefault(_remedy(check, asked), []).append(check)
    return tuple(
        Step(outcome=checks[0].outcome, checks=tuple(checks), text=_text(checks, asked)) for checks in groups.values()
    )


Asked = dict[tuple[str, str], None]


def _asked(run: Run) -> Asked:
    """(task, precision) of all that the candidate answered, in order."""
    scores = {(task.name, task.metric) for task in run.tasks}
    mine = (each for each in run.measurements if each.subject == run.candidate.digest)
    return dict.fromkeys((each.task, each.precision) for each in mine if (each.task, each.metric) in scores)


def _remedy(check: Check, asked: Asked) -> tuple[str, ...]:
    """What two checks must share to be one step."""
    limit = check.limit
    match check.outcome:
        case Outcome.FAILED:
            return ("mend", limit.metric, limit.precision, limit.guards)
        case Outcome.INCONCLUSIVE if limit.confidence is None:
            return ("decide", check.id)
        case Outcome.INCONCLUSIVE:
            return ("decide", str(check.interval is None))
        case _ if limit.metric == PARAPHRASE:
            return ("word",)
        case _ if limit.metric in RESIDUES and (limit.task, limit.precision) in asked:
            return ("try",)
        case _ if (limit.task, limit.precision) not in asked and limit.task != WEIGHTS:
            return ("measure",)
        case _ if limit.task == WEIGHTS and limit.precision not in {precision for _, precision in asked}:
            return ("measure",)
        case _:
            return ("derive", limit.guards)


def _text(checks: list[Check], asked: Asked) -> str:
    limit = checks[0].limit
    match _remedy(checks[0], asked)[0]:
        case "mend":
            tasks = dict.fromkeys(wording.short(check.limit.task) for check in checks)
            return wording.mend(limit, ", ".join(tasks))
        case "measure":
            wanted = dict.fromkeys([FULL, *(each for _, each in asked), *(check.limit.precision for check in checks)])
            return f"Run check again with --precisions {','.join(wording.short(each, 24) for each in wanted)}."
        case "word":
            return (
                "Give the suite a forget task that says `phrasing: held_out` (docs/tasks.md); if it has one, the notes "
                "say why nothing could be derived."
            )
        case "try":
            return "Run check again; if it was tried, the notes say why it shows nothing (docs/measurements.md)."
        case "derive" if limit.guards is Property.ERASURE and limit.task != WEIGHTS:
            return "Give these tasks `pairs:` in the suite (docs/attribution.md); if they have, the notes say why not."
        case "derive":
            return "It was asked, and nothing could be derived: the notes say why."
        case _:
            return wording.remedy(checks[0])
