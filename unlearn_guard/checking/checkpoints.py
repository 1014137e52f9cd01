"""The checkpoints of a run: sealed before they are opened, and an artifact held against the candidate."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from unlearn_guard.checking.gguf_artifact import open_gguf
from unlearn_guard.checking.progress import Stopwatch
from unlearn_guard.checking.request import Request, Settled
from unlearn_guard.errors import Defect, UsageError
from unlearn_guard.intake import (
    Intake,
    Outline,
    assert_comparable,
    assert_packages,
    assert_reads_alike,
    compare,
    open_checkpoint,
    with_parameters,
)
from unlearn_guard.quantizers.artifacts import assert_artifact
from unlearn_guard.quantizers.coverage import assert_quantizable, linear_shapes
from unlearn_guard.quantizers.gguf_mix import PRECISIONS
from unlearn_guard.quantizers.protocol import needs_adapter
from unlearn_guard.records import FULL, LayerLineage, lineage
from unlearn_guard.registry import precisions, quantizer
from unlearn_guard.runs.earlier import Earlier
from unlearn_guard.runs.lineage_file import name_of
from unlearn_guard.runs.store import default_root

Lineages = Mapping[str, tuple[LayerLineage, ...]]
"""By precision: what was found of each layer of a ready-made model."""

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


def assert_precisions(artifacts: Mapping[str, str], measured: Sequence[str]) -> None:
    """Refuse an artifact for a precision that is not measured, or that no one file has."""
    unused = [name for name in artifacts if name not in measured or name == FULL]
    if unused:
        raise UsageError(
            f"--artifact {unused[0]}={artifacts[unused[0]]}: {unused[0]} is not a quantized precision of this run",
            fix=f"Measured: {', '.join(measured)}.",
        )
    if alone := _on_adapters([*artifacts]):
        raise UsageError(
            f"--artifact {alone[0]}={artifacts[alone[0]]}: {alone[0]} is base's format and the adapter, not one file",
            fix="Leave it out: the guard quantizes base itself.",
        )


def assert_adapter(measured: Sequence[str], candidate: Intake | Outline) -> None:
    """Refuse precisions of an adapter that is on its base unmerged, where the candidate is none."""
    if (wrong := _on_adapters(measured)) and not candidate.adapter:
        raise UsageError(
            f"--precisions {', '.join(wrong)}: {candidate.location} is a whole model, not a LoRA adapter",
            fix="Leave it out, or give the adapter's directory as the candidate, and its base as --base.",
        )


def _on_adapters(names: Sequence[str]) -> list[str]:
    """Those of these precisions that only an adapter has; a name that nobody knows is told elsewhere."""
    known = precisions()
    return [name for name in names if name in known and needs_adapter(quantizer(name))]


def open_others(
    request: Request, settled: Settled, candidate: Intake, earlier: Earlier
) -> tuple[Intake, Mapping[str, Intake], Lineages, tuple[str, ...]]:
    """Base and the ready-made artifacts, each held against the candidate, with what was found of its layers."""
    base = candidate.on or open_sealed(settled.base)
    earlier.assert_same(base=base.checkpoint.digest)
    notes = [*(f"base: {note}" for note in base.notes), *assert_comparable(base, candidate).notes]
    assert_adapter(settled.precisions, candidate)
    for intake in (base, candidate):
        assert_quantizable(intake.checkpoint.path, intake.location, settled.precisions)
    for name in settled.precisions:
        quantizer(name).recipe(linear_shapes(base.checkpoint.path))  # a library that is missing is told now
    artifacts: dict[str, Intake] = {}
    lineages: dict[str, tuple[LayerLineage, ...]] = {}
    for name, path in request.artifacts.items():
        artifacts[name], shown, told = _open_artifact(name, path, base, candidate)
        notes += told
        if shown:
            lineages[name] = shown
    return base, artifacts, lineages, tuple(notes)


def _unproven(name: str, layers: tuple[LayerLineage, ...], artifact: Intake) -> tuple[str, ...]:
    """What to say where not all of it is shown to be the candidate's."""
    proven, of = lineage(layers)
    if proven == of:
        return ()
    return (
        f"{artifact.location}: {of - proven} of {of} layers are not shown to be made from the candidate and not from "
        f"base, which is on trust; weights/{name_of(name)} has what was found of each",
    )


def _open_artifact(
    name: str, path: str, base: Intake, candidate: Intake
) -> tuple[Intake, tuple[LayerLineage, ...], Sequence[str]]:
    """A ready-made quantized model that may be this candidate's, its layers' lineage, and what is to be said of it."""
    if name in PRECISIONS:
        artifact, told = open_gguf(path, name, candidate, base)
        return artifact, (), told
    artifact = open_sealed(path, precision=name)
    trust = assert_made_from(artifact, candidate)
    made, own = artifact.checkpoint, candidate.checkpoint
    shown = assert_artifact(name, made, own, artifact.location, base=base.checkpoint)
    trust = _unproven(name, shown, artifact) if shown else trust
    return artifact, shown, [*trust, *assert_reads_alike(base, artifact), *artifact.notes]


def open_retrained(request: Request, base: Intake, candidate: Intake, watch: Stopwatch) -> Intake | None:
    """The model that never saw the forget set: base's architecture and tokenizer, but neither base nor candidate."""
    if request.retrained is None:
        return None
    with watch.stage("open retrained"):
        retrained = open_sealed(request.retrained)
        if defects := compare(base, retrained).defects:
            raise UsageError(f"--retrained {retrained.location} cannot be compared with base", defects)
        for who, other in (("base", base), ("the candidate", candidate)):
            if not compare(other, retrained).changed:
                raise UsageError(
                    f"--retrained {retrained.location} has the weights of {who}",
                    fix="Give a model that was trained without the forget set: one compared with itself always agrees.",
                )
    return retrained
