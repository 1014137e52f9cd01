"""`--precisions all`: every precision that this machine can measure this model at, and why it cannot the others."""

from pathlib import Path

from unlearn_guard.errors import GuardError
from unlearn_guard.registry import precisions, quantizer


def possible(checkpoint: Path | None, *, adapter: bool = False) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names, `full` first, and a note for each that is left out: a limit on one of those stays unmeasured.

    Every name, where the checkpoint is not there yet. `adapter`: whether the candidate is one.
    """
    if checkpoint is None:
        return tuple(precisions()), ()
    found, left_out = [], []
    for name in precisions():
        reason = why_not(name, checkpoint, adapter=adapter)
        if reason is None:
            found.append(name)
        else:
            left_out.append(f"{name} was not measured: {reason}")
    return tuple(found), tuple(left_out)


NO_ADAPTER = "base in this format lies under a LoRA adapter, and this candidate is a whole model"


def why_not(name: str, checkpoint: Path, *, adapter: bool = False) -> str | None:
    """Why a model cannot be measured at a precision here; None where it can."""
    from unlearn_guard.quantizers.coverage import linear_shapes, refusals
    from unlearn_guard.quantizers.protocol import needs_adapter

    if not adapter and needs_adapter(quantizer(name)):
        return NO_ADAPTER
    if defects := refusals(checkpoint, name):
        return "; ".join(f"{each.where}: {each.found}; expected {each.expected}" for each in defects)
    try:
        quantizer(name).recipe(linear_shapes(checkpoint))
    except GuardError as error:
        return f"{error.summary} {error.fix or ''}".strip()
    return None
