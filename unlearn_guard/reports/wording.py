"""How a number, a limit, an outcome and its next step read, the same in every report.

Numbers are never rounded across a limit, and what comes from a checkpoint or a suite is never printed as it is.
"""

import math

from unlearn_guard.judging.metrics import METRICS, SPREAD
from unlearn_guard.records import (
    DEPTH,
    FULL,
    LENS,
    PROBE,
    RELEARN,
    WEIGHTS,
    Check,
    Limit,
    Measurement,
    Outcome,
    Phrasing,
    Property,
    Run,
    doubt,
)

_DIGITS = 3

MARKS = {Outcome.PASSED: "✓", Outcome.FAILED: "✕", Outcome.INCONCLUSIVE: "?", Outcome.UNMEASURED: "○"}
"""A sign for each outcome, told apart without colour; the word always stands beside it."""


def plain(text: str) -> str:
    """Text with every control, escape and bidirectional character spelt out, on one line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def short(text: str, length: int = 120) -> str:
    """`plain`, cut in the middle where it is longer than any honest name."""
    shown = plain(text)
    return shown if len(shown) <= length else f"{shown[: length - 21]}...{shown[-18:]}"


def number(value: float, *bounds: float | None) -> str:
    """At least three decimals, and as many as it takes to stay on the same side of each bound.

    0.15000000001 against 0.15 reads 0.15000000001, never 0.150.
    """
    sides = [(bound, _side(value, bound)) for bound in bounds if bound is not None]
    for digits in range(_DIGITS, 17):
        text = f"{value:.{digits}f}"
        if all(_side(float(text), bound) == side for bound, side in sides):
            return text.removeprefix("-") if float(text) == 0 else text
    return repr(value)


def bounds(limit: Limit) -> str:
    """`>= 0.3`, `<= 0.15 (95 %)`, `0.1 to 0.2`."""
    low, high = limit.at_least, limit.at_most
    if low is not None and high is not None:
        text = f"{low!r} to {high!r}"
    else:
        text = f">= {low!r}" if low is not None else f"<= {high!r}"
    return text if limit.confidence is None else f"{text} ({limit.confidence:.0%})".replace("%", " %")


def value(check: Check) -> str:
    """The measured value; with the interval where the limit asks for one, and a dash where there is none."""
    measurement, limit = check.measurement, check.limit
    if measurement is None:
        return "-"
    text = number(measurement.value, limit.at_least, limit.at_most)
    if limit.confidence is None or check.interval is None:
        return text
    low, high = (number(end, limit.at_least, limit.at_most) for end in (check.interval.low, check.interval.high))
    return f"{text} [{low}, {high}]"


def margin(check: Check) -> str:
    """Distance to the nearest bound, signed: negative when the point lies beyond it."""
    distance = check.margin
    return "-" if distance is None else f"{'+' if distance > 0 else ''}{number(distance, 0.0)}"


def outcome(check: Check) -> str:
    """One word; all but a pass in capitals."""
    return word(check.outcome)


def word(outcome: Outcome) -> str:
    """The same of an outcome."""
    words = {Outcome.PASSED: "passed", Outcome.UNMEASURED: "NOT MEASURED"}
    return words.get(outcome, outcome.upper())


def headline(run: Run) -> str:
    """PASSED, FAILED or NOT ESTABLISHED, and why; and whether nothing was asked in words that are held out."""
    held_out = any(task.phrasing is Phrasing.HELD_OUT for task in run.tasks)
    return _decided(run) if held_out else f"{_decided(run)} One phrasing asked."


def _decided(run: Run) -> str:
    verdict = run.verdict
    total = len(verdict.checks)
    if verdict.passed:
        return f"PASSED: every one of {total} limits held." if total > 1 else "PASSED: the one limit held."
    parts = [
        _count(run, Outcome.FAILED, "broken"),
        _count(run, Outcome.INCONCLUSIVE, "inconclusive"),
        _count(run, Outcome.UNMEASURED, "never measured"),
    ]
    if not verdict.complete:
        asked = f"only {run.limit} items of each task were asked" if run.limit else "not every item was asked"
        parts.append(f"{asked}, so this can never be a release")
    word = "FAILED" if verdict.failed else "NOT ESTABLISHED"
    return f"{word}: {'; '.join(part for part in parts if part) or 'there is no limit'} (of {total} limits)."


def next_step(check: Check) -> str:
    """What to do about a check that did not pass, and how many items would decide it; empty for one that did."""
    return " ".join(part for part in (remedy(check), in_doubt(check)) if part)


def in_doubt(check: Check) -> str:
    """`1 of 160 items; not distinguishable from 0; 615 items would decide it.`; empty where nothing is in doubt."""
    measurement, left = check.measurement, doubt(check)
    if measurement is None or left is None:
        return ""
    bound = repr(left.bound).removesuffix(".0")
    if left.items is None:
        return f"{_counted(measurement)}; the value lies at {bound}, so no number of items is known to decide it."
    return f"{_counted(measurement)}; not distinguishable from {bound}; {left.items:,} items would decide it."


def _counted(measurement: Measurement) -> str:
    """`1 of 160 items` where the value is a number of items, else `160 items`."""
    known = METRICS.get(measurement.metric)
    count = measurement.value * measurement.samples
    whole = count >= 0 and abs(count - round(count)) < 1e-6 and (known is None or known.unit == "accuracy")
    return f"{round(count)} of {measurement.samples} items" if whole else f"{measurement.samples} items"


def remedy(check: Check) -> str:
    """What to do about a check that did not pass; empty for one that did."""
    limit = check.limit
    task = short(limit.task)
    match check.outcome:
        case Outcome.PASSED:
            return ""
        case Outcome.UNMEASURED:
            return _to_measure(limit)
        case Outcome.INCONCLUSIVE:
            if limit.confidence is None and check.corrected is not None:
                without = number(check.corrected.value, limit.at_least, limit.at_most)
                return (
                    f"Without the items' noise it is {without}, beyond the bound: more prompt pairs, or pairs that "
                    "differ less from each other, can decide it (docs/attribution.md)."
                )
            if check.interval is None:
                return "No interval exists at this confidence; look in the notes, or ask more items."
            return "The interval reaches over the bound: a suite with more items can decide it."
        case Outcome.FAILED:
            return mend(limit, task)


_LEFT = {
    RELEARN: "Taught a few facts of {task} again, the model knows others that it was not taught.",
    PROBE: "The answers to {task} can be read off its hidden states.",
    LENS: "The answers to {task} stand in its middle layers, whatever it then says.",
    DEPTH: "Its layers still carry the answers to {task}: base, going on from them, gives them.",
}


def mend(limit: Limit, task: str) -> str:
    """What to do about a broken limit; `task` is the task as it is to be named, or several."""
    precision = short(limit.precision)
    if limit.metric == "ptq_gap":
        return (
            f"Quantizing to {precision} brings {task} back. Unlearn with larger updates on fewer weights "
            f"(a magnitude floor), and do not release for {precision}."
        )
    if limit.metric == "above_chance_removed":
        return (
            f"Below the bounds the {precision} model still answers {task}; above them it answers less often than by "
            "chance, and to avoid the truth takes knowing it: aim at what a model that never saw it answers."
        )
    if limit.metric == "quantized_share":
        return f"Much of the {precision} model is not in 4 bits, so what it shows of permanence is no evidence."
    if limit.metric == "dtype_gap":
        return (
            f"Loaded in another dtype, which the notes name, the {precision} model knows {task}: unlearn in the dtype "
            "that the checkpoint declares, and look for what rounding switches on."
        )
    if limit.metric == "as_nc":
        return f"The edit moved much outside {task}'s circuit: broad damage rather than erasure; edit fewer weights."
    if limit.metric in _LEFT:
        return f"{_LEFT[limit.metric].format(task=task)} It is suppressed, not erased: unlearn by other means."
    mends = {
        Property.FORGETTING: f"The model still knows {task}: unlearn further, and watch retain_drop.",
        Property.PERMANENCE: f"The {precision} model still knows {task}: unlearn further, or do not release for it.",
        Property.RETENTION: f"Too much of {task} was lost: a weaker edit, fewer weights, or a stronger retain term.",
        Property.ERASURE: "The circuit still stands: the behaviour is suppressed, the knowledge is not erased.",
        Property.REPORTED: "The policy limits a number that is reported beside the properties: see its reason.",
    }
    return mends[limit.guards]


def _to_measure(limit: Limit) -> str:
    precision = short(limit.precision)
    if limit.metric == SPREAD:
        return f"Run check again with --calibration worst and --precisions that include {precision}."
    if limit.metric == "lineage":
        return f"Run check again with --artifact {precision}=PATH."
    if limit.task == WEIGHTS:
        return f"Run check again with --precisions that include {precision}."
    if limit.metric in _LEFT:
        return f"Run check again at {precision}; if it was tried, the notes say why it shows nothing."
    if limit.guards is Property.ERASURE:
        return f"Measure {precision}, and give {short(limit.task)} `pairs:` in the suite (docs/attribution.md)."
    measured = "" if limit.precision == FULL else f" with --precisions that include {precision}"
    return f"Run check again{measured}; if it was measured, the notes say why nothing could be derived."


def _count(run: Run, kind: Outcome, word: str) -> str:
    names = [short(check.id) for check in run.verdict.checks if check.outcome is kind]
    if not names:
        return ""
    named = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    return f"{len(names)} {word} ({named})"


def _side(value: float, bound: float) -> int:
    return 0 if value == bound else int(math.copysign(1, value - bound))
