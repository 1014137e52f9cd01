"""A calibration as JSON and as Markdown, and the page that shows it between two marks."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_guard.calibrating.outcomes import (
    PROPERTIES,
    Judged,
    Rate,
    caught_by,
    confusion,
    false_alarms,
    false_passes,
)
from unlearn_guard.calibrating.separating import as_json as separations_json
from unlearn_guard.errors import UsageError
from unlearn_guard.records import RESIDUES

if TYPE_CHECKING:
    from unlearn_guard.calibrating.calibrate import Calibration

MARKS = ("<!-- calibration -->", "<!-- end of calibration -->")
SCHEMA = "unlearn-guard.calibration/1"
_WORDS = {"passed": "passed", "incomplete": "not established", "failed": "failed"}
_NAMED = 3  # broken limits that a row names


def as_json(made: "Calibration") -> dict[str, Any]:
    """Every candidate by every policy, rates with their intervals, and what separates."""
    return {
        "schema": SCHEMA,
        "policies": {policy: _policy_json(judged) for policy, judged in made.judged.items()},
        "separations": separations_json(made.separations),
        "failed": dict(made.failed),
        "seconds": dict(made.seconds),
    }


def _policy_json(judged: Sequence[Judged]) -> dict[str, Any]:
    return {
        "false_passes": _rate_json(false_passes(judged)),
        "false_alarms": _rate_json(false_alarms(judged)),
        "properties": {
            each.value: dict(zip(("caught", "false_alarms"), map(_rate_json, caught_by(judged, each)), strict=True))
            for each in PROPERTIES
        },
        "candidates": {
            each.title: {
                "knows": each.truth.knows,
                "keeps": each.truth.keeps,
                "verdict": each.verdict.word,
                "broken": list(each.broken()),
                "open": list(each.open()),
            }
            for each in judged
        },
    }


def _rate_json(rate: Rate) -> dict[str, Any]:
    return {"count": rate.count, "of": rate.of, "interval": list(rate.interval) if rate.interval else None}


def page(made: "Calibration") -> str:
    """The tables: verdicts by truth, properties, each candidate, and what separates."""
    return "\n".join([*verdicts(made), "", *_properties(made), "", *_candidates(made), "", *_separations(made), ""])


def verdicts(made: "Calibration") -> Iterator[str]:
    """One row a policy: what those that deserve a PASS got, and those that do not."""
    yield "| policy | deserve a PASS: passed / not established / failed | do not: passed / not established / failed |"
    yield "|---|---|---|"
    for policy, judged in made.judged.items():
        counts = confusion(judged)
        cells = (" / ".join(str(counts[deserves, word]) for word in _WORDS) for deserves in (True, False))
        yield f"| `{policy}` | {' | '.join(cells)} |"
    yield ""
    for policy, judged in made.judged.items():
        yield f"- `{policy}`: false passes {_told(false_passes(judged))}; false alarms {_told(false_alarms(judged))}."


def _told(rate: Rate) -> str:
    if rate.interval is None:
        return "none asked"
    low, high = rate.interval
    return f"{rate.count} of {rate.of} (95 %: {low:.2f} to {high:.2f})"


def _properties(made: "Calibration") -> Iterator[str]:
    yield "| policy | property | faults that its limits caught | deserving that they turned away |"
    yield "|---|---|---|---|"
    for policy, judged in made.judged.items():
        for each in PROPERTIES:
            caught, alarms = caught_by(judged, each)
            yield f"| `{policy}` | {each.value} | {_told(caught)} | {_told(alarms)} |"


def _candidates(made: "Calibration") -> Iterator[str]:
    policies = list(made.judged)
    yield f"| candidate | knows | keeps | {' | '.join(f'`{each}`' for each in policies)} | what the last one says |"
    yield f"|---|---|---|{'---|' * (len(policies) + 1)}"
    for row in zip(*made.judged.values(), strict=True):
        first, last = row[0], row[-1]
        told = [_WORDS[each.verdict.word] for each in row]
        yield (
            f"| {first.title} | {_yes(first.truth.knows)} | {_yes(first.truth.keeps)} | {' | '.join(told)} "
            f"| {_reasons(last)} |"
        )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _reasons(judged: Judged) -> str:
    """The first limits that were broken, else the first that were left open."""
    ids = judged.broken() or judged.open()
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(f"`{each}`" for each in ids[:_NAMED]) + more


def _separations(made: "Calibration") -> Iterator[str]:
    """What a policy limits and what looks inside, best first; all else is in the JSON."""
    checks = [check for judged in made.judged.values() for each in judged for check in each.verdict.checks]
    telling = {check.limit.metric for check in checks} | set(RESIDUES)
    found = [each for each in made.separations if each.metric in telling]
    yield "| measurement | AUC (95 %) | those that know | those that do not |"
    yield "|---|---|---|---|"
    for each in found:
        low, high = each.interval
        yield (
            f"| `{each.id}` | {each.auc:.3f} ({low:.2f} to {high:.2f}) | {_range(each.knowing)} "
            f"| {_range(each.ignorant)} |"
        )


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}"


def put_between(file: Path, text: str) -> None:
    """Replace what stands in the page between the two marks. UsageError where they are not there, once each."""
    content = file.read_text(encoding="utf-8")
    if any(content.count(mark) != 1 for mark in MARKS) or content.index(MARKS[0]) > content.index(MARKS[1]):
        raise UsageError(f"{file} has not once {MARKS[0]} and, below it, {MARKS[1]}", fix="Put both lines there.")
    before, rest = content.split(MARKS[0])
    file.write_text(f"{before}{MARKS[0]}\n\n{text.strip()}\n\n{MARKS[1]}{rest.split(MARKS[1])[1]}", encoding="utf-8")


def summary(made: Mapping[str, Sequence[Judged]]) -> Iterator[str]:
    """What is printed: per policy, how often it was wrong."""
    for policy, judged in made.items():
        yield f"{policy}: false passes {_told(false_passes(judged))}; false alarms {_told(false_alarms(judged))}"
        for each in judged:
            if each.verdict.passed and not each.truth.deserves:
                yield f"  passed, and should not: {each.title}"
            if each.truth.deserves and not each.verdict.passed:
                yield f"  {_WORDS[each.verdict.word]}, and deserves a PASS: {each.title} ({_reasons(each)})"
