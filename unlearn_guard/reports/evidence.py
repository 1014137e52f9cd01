"""All that a report may show of one run, as values: the run itself and what was read beside it."""

from dataclasses import dataclass

from unlearn_guard.records import LayerDrift, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item that changed between two precisions: `prompt` is a hash; the rest is empty unless asked for."""

    prompt: str
    id: str = ""
    target: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """The candidate's answers to one task at a quantized precision, against its own in full precision.

    `back` are the items answered better than in full precision, `lost` those answered worse. `right` and
    `wrong` count the others by whether more than half of the item's score was reached.
    """

    task: str
    precision: str
    back: tuple[Item, ...]
    lost: tuple[Item, ...]
    right: int
    wrong: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Masses:
    """Attribution by layer of one model on one task: the sum of |score| over edges into each layer's MLP."""

    task: str
    precision: str
    side: str
    by_layer: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A finished run, the digest of its run.json, where it lies, and what its other files say.

    `signed` is who signed a statement of this very run, in words; None where no statement was shown.
    """

    run: Run
    digest: str
    directory: str
    flips: tuple[Flips, ...] = ()
    masses: tuple[Masses, ...] = ()
    drift: tuple[LayerDrift, ...] = ()
    signed: str | None = None
