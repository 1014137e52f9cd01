"""What each metric needs of a suite, and is missing here."""

from collections.abc import Callable, Mapping

from unlearn_guard.authoring.findings import BaseFindings
from unlearn_guard.judging.metrics import METRICS, SPREAD, Asks, Metric, Where
from unlearn_guard.records import (
    FORGET_QUALITY,
    MIA,
    MIA_REFERENCE,
    MODEL_UTILITY,
    PRIVLEAK,
    REPETITION,
    RESIDUES,
    Phrasing,
)
from unlearn_guard.scoring.suites import Suite


def unmeasured(suite: Suite, base: BaseFindings | None) -> Mapping[str, str]:
    """Of every metric that this suite cannot give the reason, and of `gptq`, `awq` and `unlearn`."""
    reasons = {name: _missing(metric, suite, base) for name, metric in METRICS.items()}
    if suite.calibration is None:
        reasons["gptq, awq"] = "the suite names no `calibration`"
    if suite.unlearn is None:
        reasons["unlearn"] = "the suite names no corpora (`unlearn`): give --corpora DIR"
    return {name: why for name, why in reasons.items() if why}


def _missing(metric: Metric, suite: Suite, base: BaseFindings | None) -> str:
    if own := _OWN.get(metric.name):
        return own(suite)
    if metric.asks in (Asks.WEIGHTS, Asks.ALL, Asks.LIKELIEST, Asks.WRITTEN):
        return ""
    if metric.where is Where.DENSE and metric.name != "dtype_gap":
        return _circuit(suite, base)
    if metric.asks is Asks.FORGET and base is not None and not base.known:
        return "base knows none of the forget tasks"
    return ""


def _circuit(suite: Suite, base: BaseFindings | None) -> str:
    if not any(spec.pairs for spec in suite.forget):
        return "no forget task names `pairs`"
    if base is not None and not any(each.usable and not each.defects for each in base.pairs):
        return "no forget task has enough usable pairs"
    return ""


def _probe(suite: Suite, measure: str, more: str = "") -> str:
    named = any(spec.measure == measure for spec in suite.probe)
    return more if named else f"the suite has no probe with `measure: {measure}`"


def _utility(suite: Suite) -> str:
    named = any(spec.measure == MODEL_UTILITY for spec in suite.retain)
    return "" if named else f"no retain task says `measure: {MODEL_UTILITY}`"


def _retrained(suite: Suite) -> str:
    return _probe(suite, FORGET_QUALITY, "only with `check --retrained PATH`")


def _held_out(suite: Suite) -> str:
    named = any(spec.phrasing is Phrasing.HELD_OUT for spec in suite.forget)
    return "" if named else "no forget task says `phrasing: held_out`"


def _words(suite: Suite) -> str:
    """Of lettered and ranked choices lm-eval's accuracies are counted, and of nothing that is written."""
    written = any(not spec.metric.startswith("acc") for spec in suite.tasks)
    return "" if written else "no task is answered in words"


def _inside(suite: Suite) -> str:
    """Whether a task can be tried is known once it is rendered; the notes of a run say it."""
    return "only with `check --measure`, or where a policy limits it" if suite.forget else ""


_OWN: Mapping[str, Callable[[Suite], str]] = {
    PRIVLEAK: lambda suite: _probe(suite, PRIVLEAK),
    MIA: lambda suite: _probe(suite, MIA),
    MIA_REFERENCE: lambda suite: _probe(suite, MIA, "only with `check --retrained PATH`"),
    FORGET_QUALITY: _retrained,
    "forget_truth_ratio": _retrained,
    MODEL_UTILITY: _utility,
    REPETITION: _words,
    "paraphrase_recovery": _held_out,
    SPREAD: lambda _: "only with `check --calibration worst`",
    "lineage": lambda _: "only with `check --artifact`",
    **dict.fromkeys(RESIDUES, _inside),
}
