"""What a policy or a suite cannot tell, though it is well formed: bounds that nothing breaks, sets too small to say.

Every sentence is worked out from the policy's limits, the run's tasks and the digests of its items, so that it is had
again whenever a run is opened.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from unlearn_guard.judging.draft import PolicyDraft, Rule
from unlearn_guard.judging.metrics import METRICS, Asks, Metric, Safer, score
from unlearn_guard.records import FULL, MIA, MIA_REFERENCE, WEIGHTS, Limit, Phrasing, Role, Task

POLICY, SUITE = "policy: ", "suite: "
"""How a warning begins, by what it is about."""

ONE_PHRASING = "one phrasing asked"
"""How the warning begins that no forget task is held out; the verdict's headline says it too."""

FEW = 100
"""Of fewer forget items a gap of a few points cannot be told from chance."""

REPEATS = 0.05
"""The share of items that may say again what another says: real question sets repeat a few."""

FORGOTTEN = frozenset(
    {"forget_drop", "above_chance_removed", "privleak", "forget_quality", "forget_truth_ratio", MIA, MIA_REFERENCE}
)
KEPT = frozenset({"retain_drop", "model_utility"})


def policy_warnings(limits: Sequence[Limit], tasks: Sequence[Task]) -> tuple[str, ...]:
    """What these limits would let pass whatever was measured, and what none of them asks."""
    roles = {task.name: task.role for task in tasks}
    bounds = [_of_limit(limit, roles.get(limit.task)) for limit in limits]
    forget = [task.name for task in tasks if task.role is Role.FORGET]
    return tuple(f"{POLICY}{text}" for text in dict.fromkeys(_policy(bounds, forget)))


def draft_warnings(draft: PolicyDraft) -> tuple[str, ...]:
    """The same of a policy whose suite is not known; `@forget` and `@retain` stand for all of a suite's tasks."""
    bounds = [_of_rule(rule, precision) for rule in draft.rules for precision in rule.precisions]
    return tuple(f"{POLICY}{text}" for text in dict.fromkeys(_policy(bounds, ())))


def suite_warnings(tasks: Sequence[Task], prompts: Mapping[str, Sequence[str]], *, complete: bool) -> tuple[str, ...]:
    """What this suite's items cannot tell. `prompts` are the digests of each task's items, as samples have them."""
    return tuple(f"{SUITE}{text}" for text in _suite(tasks, prompts, complete))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bound:
    """One limit, as far as it is known before its suite is."""

    metric: Metric
    task: str
    role: Role | None
    precision: str
    at_least: float | None
    at_most: float | None

    @property
    def forgets(self) -> bool:
        """Whether it asks if something is forgotten."""
        return self.metric.name in FORGOTTEN or (self.metric.asks is Asks.ANY and self.role is Role.FORGET)

    @property
    def keeps(self) -> bool:
        """Whether it asks if something has stayed."""
        return self.metric.name in KEPT or (self.metric.asks is Asks.ANY and self.role is Role.RETAIN)

    def fault(self) -> str | None:
        """Why nothing that it guards against breaks it, or None."""
        name = f"{self.metric.name}[{self.task}-{self.precision}]"
        safer = self._safer()
        low = self.at_least is not None and self.at_least > self.metric.untouched
        high = self.at_most is not None and self.at_most < self.metric.high
        if not low and not high:
            bounds = {"at_least": self.at_least, "at_most": self.at_most}
            given = " and ".join(f"{key} {bound:g}" for key, bound in bounds.items() if bound is not None)
            return f"{name}: {given} is broken by nothing: a limit that cannot fail says nothing"
        if safer is Safer.BETWEEN and not (low and high):
            return f"{name} is bounded on one side, and both are signs of what should be gone"
        if (safer is Safer.HIGHER and not low) or (safer is Safer.LOWER and not high):
            side = "at_least" if safer is Safer.HIGHER else "at_most"
            return f"{name} is bounded from the side that is not at risk: {safer} is safer, so it needs {side}"
        return None

    def _safer(self) -> Safer:
        if self.metric.asks is not Asks.ANY:
            return self.metric.safer
        return {Role.FORGET: Safer.LOWER, Role.RETAIN: Safer.HIGHER}.get(self.role or Role.PROBE, Safer.NEITHER)


def _of_limit(limit: Limit, role: Role | None) -> _Bound:
    return _Bound(
        metric=METRICS.get(limit.metric) or score(limit.metric, unbounded=role is Role.PROBE),
        task=limit.task,
        role=role,
        precision=limit.precision,
        at_least=limit.at_least,
        at_most=limit.at_most,
    )


def _of_rule(rule: Rule, precision: str) -> _Bound:
    roles = {f"@{role}": role for role in Role}
    return _Bound(
        metric=METRICS.get(rule.metric) or score(rule.metric),
        task=rule.task,
        role=roles.get(rule.task),
        precision=precision,
        at_least=rule.at_least,
        at_most=rule.at_most,
    )


def _policy(bounds: Sequence[_Bound], forget: Sequence[str]) -> Iterator[str]:
    faults = [(bound, bound.fault()) for bound in bounds]
    yield from (fault for _, fault in faults if fault is not None)
    sound = [bound for bound, fault in faults if fault is None]
    # Without the suite nobody knows what the score of a named task asks.
    unknown = any(bound.role is None and bound.metric.asks is Asks.ANY and bound.task != WEIGHTS for bound in sound)
    asked = [bound for bound in sound if bound.forgets and bound.precision == FULL]
    if not asked and not unknown:
        yield "no limit asks in full precision whether anything is forgotten, as forget_drop at_least 0.3 would"
    named = {bound.task for bound in asked}
    for task in forget if any(bound.role is Role.FORGET for bound in asked) else ():
        if task not in named:
            yield f"no limit asks in full precision whether {task} is forgotten, though others of the suite are asked"
    if not any((bound.forgets or bound.metric.name == "ptq_gap") and bound.precision != FULL for bound in sound):
        yield "no limit at a quantized precision asks whether it stays forgotten: deployed models are quantized"
    if not any(bound.keeps for bound in sound) and not unknown:
        yield "no limit asks whether anything has stayed: a model that answers nothing passes"


def _suite(tasks: Sequence[Task], prompts: Mapping[str, Sequence[str]], complete: bool) -> Iterator[str]:
    for task in (each for each in tasks if each.role is Role.FORGET):
        if complete and task.items < FEW:
            yield f"{task.name} asks {task.items} items: fewer than {FEW} do not tell a few points from chance"
    if not any(task.phrasing is Phrasing.HELD_OUT for task in tasks):
        yield (f"{ONE_PHRASING}: no forget task says `phrasing: held_out`, so what other words still find is unknown")
    for task in (each for each in tasks if each.role is not Role.PROBE):
        counts = Counter(prompts.get(task.name, ()))
        repeats = counts.total() - len(counts)
        if repeats > REPEATS * counts.total():
            yield f"{task.name} asks {len(counts)} different items: {repeats} of {counts.total()} repeat another"
    for task in (each for each in tasks if each.role is Role.FORGET):
        for other in (each for each in tasks if each.role is Role.RETAIN):
            shared = len({*prompts.get(task.name, ())} & {*prompts.get(other.name, ())})
            if shared:
                yield f"{shared} items of {task.name}, to be forgotten, are also asked by {other.name}, to be kept"
