"""The checkpoints of a run: sealed before they are opened, and an artifact held against the candidate."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from unlearn_guard.errors import Defect, UsageError
from unlearn_guard.intake import Intake, assert_packages, open_checkpoint, with_parameters
from unlearn_guard.records import FULL
from unlearn_guard.runs.store import default_root

SEALED = "sealed"
"""The folder of the store that holds the sealed copies, by the digest of their files."""


def open_sealed(location: str | Path, *, precision: str = FULL, tokenizer: bool = True) -> Intake:
    """A checkpoint copied into the store and opened there, so that what is loaded is what was hashed.

    One in full precision has its parameters listed. Raises CheckpointError, and PluginError for a tokenizer that
    needs a package which is not installed.
    """
    intake = open_checkpoint(location, precision=precision, seal_in=default_root() / SEALED, tokenizer=tokenizer)
    assert_packages(intake.checkpoint.path)
    return with_parameters(intake) if precision == FULL else intake


def assert_made_from(artifact: Intake, candidate: Intake) -> tuple[str, ...]:
    """Refuse an artifact whose embeddings or head are not the candidate's, where they can be compared.

    Quantizers leave both alone. Where they changed the dtype nothing can be said, and the note says that.
    """
    theirs = {tensor.name: tensor for tensor in artifact.tensors}
    shared = [
        (tensor, theirs[tensor.name])
        for tensor in candidate.tensors
        if tensor.name in theirs and ("embed" in tensor.name or "lm_head" in tensor.name)
    ]
    comparable = [(ours, other) for ours, other in shared if ours.dtype == other.dtype]
    defects = [
        Defect(where=ours.name, found="other values than the candidate's", expected="the candidate's own tensor")
        for ours, other in comparable
        if ours.digest != other.digest
    ]
    if defects:
        raise UsageError(f"{artifact.location} was not made from {candidate.location}", defects)
    if not comparable:
        return (
            f"nothing in {artifact.location} can be compared with the candidate: that it was made from it is on trust",
        )
    return ()


def assert_precisions(artifacts: Mapping[str, str], precisions: Sequence[str]) -> None:
    """Refuse an artifact for a precision that is not measured."""
    unused = [name for name in artifacts if name not in precisions or name == FULL]
    if unused:
        raise UsageError(
            f"--artifact {unused[0]}={artifacts[unused[0]]}: {unused[0]} is not a quantized precision of this run",
            fix=f"Measured: {', '.join(precisions)}.",
        )
