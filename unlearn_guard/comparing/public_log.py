"""The numbers of a public log of open-unlearning, and those of a run that may stand beside them.

Nothing is judged by them: they are another program's words about another model, or about this one.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_guard.errors import Defect, UsageError
from unlearn_guard.records import FULL, Measurement, Run

Where = tuple[str, str]
"""A metric of ours and a pattern that the whole name of its task fits."""

_ENDING = r"(_all)?(_chat|_llama2)?"


def _tofu(metric: str, task: str) -> Where:
    return metric, rf"tofu_{task}{_ENDING}"


_FORGET = r"forget\d\d"
_SETS = {"retain": "retain", "ra": "real_authors", "wf": "world_facts"}

COUNTERPARTS: Mapping[str, Where] = {
    "forget_quality": _tofu("forget_quality", f"{_FORGET}_truth_ratio"),
    **dict.fromkeys(
        ("forget_truth_ratio", "forget_Truth_Ratio"), _tofu("forget_truth_ratio", f"{_FORGET}_truth_ratio")
    ),
    "model_utility": ("model_utility", "suite"),
    "forget_Q_A_Prob": _tofu("prob", f"{_FORGET}_prob"),
    "forget_Q_A_ROUGE": _tofu("rougeL_recall", f"{_FORGET}_rouge"),
    "retain_Q_A_Prob": _tofu("prob", "retain_prob"),
    **{f"{short}_Q_A_Prob_normalised": _tofu("prob", f"{_SETS[short]}_prob") for short in ("ra", "wf")},
    **{f"{short}_Q_A_ROUGE": _tofu("rougeL_recall", f"{name}_rouge") for short, name in _SETS.items()},
    **{f"{short}_Truth_Ratio": _tofu("truth", f"{name}_truth") for short, name in _SETS.items()},
    **{name: _tofu(name, f"{_FORGET}_{name}") for name in ("extraction_strength", "exact_memorization")},
    **{
        f"mia_{name}": _tofu("mia_auc", f"{_FORGET}_mia_{name}")
        for name in ("loss", "zlib", "min_k", "min_k_plus_plus")
    },
    "mia_reference": _tofu("mia_reference", f"{_FORGET}_mia_loss"),
    "forget_verbmem_ROUGE": ("rougeL", "muse_(news|books)_verbmem"),
    "forget_knowmem_ROUGE": ("rougeL", "muse_(news|books)_knowmem_forget"),
    "retain_knowmem_ROUGE": ("rougeL", "muse_(news|books)_knowmem_retain"),
    "privleak": ("privleak", "muse_(news|books)_privleak"),
}
"""By open-unlearning's name, what of ours is worked out by the same formula (docs/published.md)."""

NONE = {
    "mia_gradnorm": "a quantized model has no gradient of its weights, so the guard has no such attack",
    **dict.fromkeys(
        ("forget_Q_A_gibberish", "forget_gibberish"),
        "a classifier from a model hub; the guard's `repetition` is another number",
    ),
    **dict.fromkeys(("ra_Q_A_Prob", "wf_Q_A_Prob"), "the guard has the one that is normalised by the wrong answers"),
}
"""Names that have no counterpart, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Public:
    """One number of a public log: `value` is None where its log has none; `items` where it lists them.

    `unread` is what stands in the place of a number, where it is none.
    """

    name: str
    value: float | None = None
    items: int | None = None
    unread: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A public number and the run's own of the same formula, with what has to be known of the two."""

    public: Public
    ours: Measurement
    note: str = ""

    @property
    def difference(self) -> float | None:
        """Ours less theirs."""
        return None if self.public.value is None else self.ours.value - self.public.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """What a log and a run have in common; `alone` are the log's other numbers, each with the reason."""

    beside: tuple[Beside, ...]
    alone: tuple[tuple[Public, str], ...]


def read_log(path: Path) -> tuple[Public, ...]:
    """The numbers of TOFU_EVAL.json, MUSE_EVAL.json or a *_SUMMARY.json, in the file's order.

    Raises UsageError, naming the file, where it cannot be read, is no JSON, or holds no number in either form.
    """
    try:
        held = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {error}", fix=_EXPECTED) from error
    if not isinstance(held, dict) or not held:
        kind = "an empty object" if held == {} else f"a {type(held).__name__}"
        raise UsageError(f"{path} holds {kind}; expected metrics by name", fix=_EXPECTED)
    found = tuple(_number(str(name), entry) for name, entry in held.items())
    if all(each.unread for each in found):
        defects = [
            Defect(where=f"{path}: {each.name[:80]}", found=each.unread, expected=_NUMBER) for each in found[:10]
        ]
        raise UsageError(f"{path} is no log of open-unlearning", defects, fix=_EXPECTED)
    return found


_NUMBER = "a number, or an object with `agg_value`"
_EXPECTED = "Give open-unlearning's TOFU_EVAL.json, MUSE_EVAL.json, or a *_SUMMARY.json beside it."


def _number(name: str, entry: Any) -> Public:
    """Of a summary's entry the number, of an evaluation's its aggregate and how many items that has."""
    items = None
    if isinstance(entry, dict):
        if "agg_value" not in entry:
            return Public(name=name, unread=f"an object of {', '.join(map(str, entry))[:80] or 'nothing'}")
        by_item = entry.get("value_by_index")
        items = len(by_item) if isinstance(by_item, dict) else None
        entry = entry["agg_value"]
    if entry is None:
        return Public(name=name, items=items)
    if isinstance(entry, bool) or not isinstance(entry, int | float):
        return Public(name=name, items=items, unread=repr(entry)[:60])
    # An aggregate of nothing is NaN there.
    finite = math.isfinite(entry) if isinstance(entry, float) else abs(entry) < 10**300
    return Public(name=name, value=float(entry) if finite else None, items=items)


def pair(log: Sequence[Public], run: Run) -> Pairing:
    """Each public number beside the candidate's own in full precision, or the reason why there is none."""
    beside: list[Beside] = []
    alone: list[tuple[Public, str]] = []
    for public in log:
        own = [] if public.unread else list(_own(public.name, run))
        beside += [Beside(public=public, ours=each, note=_note(public, each)) for each in own]
        if not own:
            alone.append((public, _reason(public)))
    return Pairing(beside=tuple(beside), alone=tuple(alone))


def _own(name: str, run: Run) -> Iterator[Measurement]:
    metric, task = COUNTERPARTS.get(name) or _of_lm_eval(name)
    for each in run.measurements:
        of_it = (each.subject, each.precision, each.metric) == (run.candidate.digest, FULL, metric)
        if of_it and re.fullmatch(task, each.task):
            yield each


def _of_lm_eval(name: str) -> Where:
    """Of LMEval_SUMMARY.json: `wmdp_bio/acc` is `acc` of `wmdp_bio`."""
    task, _, metric = name.partition("/")
    return metric, re.escape(task)


def _reason(public: Public) -> str:
    if public.unread:
        return f"{public.unread}, which is no number"
    if public.name in NONE:
        return NONE[public.name]
    metric, task = COUNTERPARTS.get(public.name) or _of_lm_eval(public.name)
    return f"this run has no {metric} of {_readable(task)}" if metric else "the guard has no such number"


def _readable(task: str) -> str:
    """A pattern of `COUNTERPARTS` for a person."""
    return task.replace(_ENDING, "").replace(_FORGET, "forgetNN").replace("(news|books)", "news|books")


def _note(public: Public, ours: Measurement) -> str:
    """What keeps the two apart although the formula is the same."""
    told = []
    if public.value is None:
        told.append("no number there")
    if public.items is not None and public.items != ours.samples:
        told.append(f"{public.items} items there, {ours.samples} here")
    if ours.task.startswith("tofu_") and not re.search(r"_(chat|llama2)(_|$)", ours.task):
        told.append("asked here in words of no public table")
    return "; ".join(told)
