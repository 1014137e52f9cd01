"""What edge scores and weight counts say, derived anew from the files of a run directory. No torch."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from unlearn_guard.errors import Defect, GuardError, RunDirectoryError
from unlearn_guard.records import FULL, RATIO_OCTAVES, TIED, WEIGHTS, LayerDrift, Run, lineage
from unlearn_guard.runs.directory import ATTRIBUTION
from unlearn_guard.runs.directory import WEIGHTS as WEIGHTS_FOLDER
from unlearn_guard.runs.drift_file import NAME, read_drift
from unlearn_guard.runs.lineage_file import name_of, read_lineage

Key = tuple[str, str, str, str]

NOT_DERIVED = frozenset(
    {
        *("truncated", "activation_shift_c", "activation_shift_nc", "quantized_share", "update_to_bin"),
        *("cad_corrected", "as_c_corrected", "as_nc_corrected", "noise_ratio"),
        *("activation_shift_c_corrected", "activation_shift_nc_corrected"),
    }
)
"""Metrics that no file of a run directory gives again: they are read off models, weights, packed files and items."""

NEWER = frozenset({TIED})
"""Metrics that earlier versions did not derive: a run without any of one is one of theirs, and a limit on it is then
unmeasured."""

DIVERGENCES = ("cad", "as_c", "as_nc")


def from_files(directory: Path, run: Run, files: Collection[str]) -> Mapping[Key, float]:
    """The values that the files beside run.json give, by (subject, metric, task, precision).

    Raises RunDirectoryError where such a file is not what its name says, or contradicts a measurement.
    """
    parts = (_divergences, _drift, _lineages)
    return {key: value for part in parts for key, value in part(directory, run, files)}


def _divergences(directory: Path, run: Run, files: Collection[str]) -> Iterator[tuple[Key, float]]:
    """Of each task and precision that the run has a divergence of, from the edge scores of both sides."""
    asked = {(each.task, each.precision) for each in run.measurements if each.metric in DIVERGENCES}
    if not asked:
        return
    from unlearn_guard.attribution import cad
    from unlearn_guard.attribution.circuit import mlp_circuit
    from unlearn_guard.attribution.scores import read_scores

    for task, precision in sorted(asked):
        names = [f"{ATTRIBUTION}/{task}.{FULL}.base.json", f"{ATTRIBUTION}/{task}.{precision}.candidate.json"]
        if any(name not in files for name in names):
            continue
        try:
            base, candidate = (read_scores(directory / name) for name in names)
            values = cad.divergences(base, candidate, mlp_circuit(base))
        except GuardError as error:
            raise _refused(directory, names[1], str(error), "edge scores that can be compared with base's") from error
        for name, scores, digest in zip(names, (base, candidate), (run.base.digest, run.candidate.digest), strict=True):
            if (scores.subject, scores.task) != (digest, task):
                raise _refused(directory, name, f"scores of {scores.subject} on {scores.task}", f"{digest} on {task}")
        for metric, value in zip(DIVERGENCES, values, strict=True):
            yield (run.candidate.digest, metric, task, precision), value


def _drift(directory: Path, run: Run, files: Collection[str]) -> Iterator[tuple[Key, float]]:
    """The shares that the counts by layer add up to."""
    name = f"{WEIGHTS_FOLDER}/{NAME}"
    if name not in files:
        return
    layers = read_drift(directory / name, base=run.base.digest, candidate=run.candidate.digest)
    weights, changed = sum(each.weights for each in layers), sum(each.changed for each in layers)
    shares = (
        ("code_flip_rate", sum(each.flipped for each in layers), weights),
        ("floor_survival", sum(each.survived for each in layers), changed),
    )
    for metric, count, of in shares:
        if of:
            yield (run.candidate.digest, metric, WEIGHTS, "nf4"), count / of
    _assert_octave(directory, run, layers, changed)


def _lineages(directory: Path, run: Run, files: Collection[str]) -> Iterator[tuple[Key, float]]:
    """The share of each artifact's layers that are shown to be the candidate's."""
    for precision, artifact in run.artifacts.items():
        name = f"{WEIGHTS_FOLDER}/{name_of(precision)}"
        if name in files:
            digests = {"candidate": run.candidate.digest, "artifact": artifact.digest}
            proven, of = lineage(read_lineage(directory / name, **digests))
            yield (run.candidate.digest, "lineage", WEIGHTS, precision), proven / of


def _assert_octave(directory: Path, run: Run, layers: Collection[LayerDrift], changed: int) -> None:
    """Refuse an `update_to_bin` outside the power of two that holds the median; the counts give it no closer."""
    written = next((each.value for each in run.measurements if each.metric == "update_to_bin"), None)
    if written is None or not changed:
        return
    octaves = [sum(counts) for counts in zip(*(each.ratios for each in layers), strict=True)]
    below = [sum(octaves[: place + 1]) for place in range(len(octaves))]
    place = next(place for place, count in enumerate(below) if count > (changed - 1) // 2)
    low, high = 2.0 ** (place + RATIO_OCTAVES[0]), 2.0 ** (place + 1 + RATIO_OCTAVES[0])
    if (written < low and place > 0) or (written >= high and place < len(octaves) - 1):
        raise _refused(
            directory, "run.json: measurements (update_to_bin)", repr(written), f"{low:g} to {high:g}, by the counts"
        )


def _refused(directory: Path, where: str, found: str, expected: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"{directory} contradicts itself: it was edited, damaged, or derived by another version",
        [Defect(where=where, found=found, expected=expected)],
        fix="Run the check again: answers that are stored are not asked again.",
    )
