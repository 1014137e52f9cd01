"""What is measured on the weights themselves: where an edit lies on base's grid, and how much is in a format's bits."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from unlearn_guard.checking.bench import Bench
from unlearn_guard.checking.checkpoints import Lineages
from unlearn_guard.intake import Intake
from unlearn_guard.quantizers.coverage import coverage
from unlearn_guard.quantizers.drift import measure
from unlearn_guard.quantizers.share import quantized_share, stored_bytes
from unlearn_guard.records import FULL, WEIGHTS, LayerDrift, LayerLineage, Measurement, Run, lineage
from unlearn_guard.registry import quantizer
from unlearn_guard.runs.drift_file import write_drift
from unlearn_guard.runs.lineage_file import write_lineage
from unlearn_guard.runs.store import key as store_key


def weigh(
    bench: Bench, candidate: Intake, precisions: Sequence[str], artifacts: Mapping[str, Intake], lineages: Lineages
) -> tuple[Measurement, ...]:
    """The candidate's update on base's NF4 grid, and the share in its bits of each quantized candidate of this run.

    And of each ready-made one the share of layers that are shown to be the candidate's.
    """
    with bench.watch.stage("compare weights", "nf4"):
        drift = _drift(bench, candidate)
        shares = [
            _share(bench, candidate, precision, artifacts.get(precision))
            for precision in precisions
            if precision != FULL
        ]
    proven = [_lineage(candidate, precision, layers) for precision, layers in lineages.items()]
    return (*drift, *(share for share in shares if share is not None), *proven)


def write_weights(folder: Path, drift: Sequence[LayerDrift], lineages: Lineages, run: Run) -> None:
    """The evidence behind these numbers, by layer."""
    write_drift(folder, drift, base=run.base.digest, candidate=run.candidate.digest)
    for precision, layers in lineages.items():
        digests = {"candidate": run.candidate.digest, "artifact": run.artifacts[precision].digest}
        write_lineage(folder, precision, layers, **digests)


def _lineage(candidate: Intake, precision: str, layers: tuple[LayerLineage, ...]) -> Measurement:
    proven, of = lineage(layers)
    return Measurement(
        subject=candidate.checkpoint.digest,
        precision=precision,
        task=WEIGHTS,
        metric="lineage",
        value=proven / of,
        samples=of,
    )


def _drift(bench: Bench, candidate: Intake) -> tuple[Measurement, ...]:
    """Over all layers that NF4 quantizes."""
    units = coverage(bench.base.checkpoint.path).units
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        bench.watch.advance(done, len(units))

    device = "cpu" if bench.placement.device_map == "cpu" else "cuda"
    counts = measure(bench.base.checkpoint, candidate.checkpoint, advance, device)
    bench.drift = counts.layers
    numbers = (
        ("code_flip_rate", counts.code_flip_rate, counts.weights),
        ("update_to_bin", counts.update_to_bin, counts.changed),
        ("floor_survival", counts.floor_survival, counts.changed),
    )
    if counts.update_to_bin is not None and not math.isfinite(counts.update_to_bin):
        bench.notes.append("update_to_bin: most changed weights lie in blocks that are zero in base and have no bins")
    return tuple(
        Measurement(
            subject=candidate.checkpoint.digest,
            precision="nf4",
            task=WEIGHTS,
            metric=name,
            value=value,
            samples=count,
        )
        for name, value, count in numbers
        if value is not None and math.isfinite(value)
    )


def _share(bench: Bench, candidate: Intake, precision: str, artifact: Intake | None) -> Measurement | None:
    """By what was written, whoever wrote it; None where that cannot be read as tensors."""
    recipe, digest = bench.recipe(precision, candidate, artifact), candidate.checkpoint.digest
    key = store_key(kind="stored_bytes", model=digest, recipe=recipe, engine=bench.engine())
    files = _files(bench, key)
    if files is None:
        made = artifact.checkpoint if artifact else bench.quantized(quantizer(precision), candidate)
        files = stored_bytes(made.path)
        bench.store.put_json(key, files)
    counted = quantized_share(files, coverage(candidate.checkpoint.path), quantizer(precision).bits)
    if not counted:
        return None
    packed, weights = counted
    return Measurement(
        subject=digest,
        precision=precision,
        task=WEIGHTS,
        metric="quantized_share",
        value=packed / weights,
        samples=weights,
    )


def _files(bench: Bench, key: str) -> dict[str, int] | None:
    """The stored sizes of a quantized model's tensors; what cannot be sizes is thrown away."""
    held = bench.store.get_json(key)
    if held is None or (isinstance(held, dict) and all(type(size) is int and size >= 0 for size in held.values())):
        return held
    bench.store.discard(key)
    return None
