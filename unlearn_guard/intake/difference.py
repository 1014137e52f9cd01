"""How a candidate differs from its base: in what must not differ, in what may, and in the tensors that were edited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.answering import compare_generation
from unlearn_guard.intake.computed import compare_configs
from unlearn_guard.intake.defects import shown
from unlearn_guard.intake.deployed import compare_tokenizers
from unlearn_guard.intake.intake import Intake
from unlearn_guard.intake.updates import same_values
from unlearn_guard.records import StoredTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Candidate against base. `defects` forbid a comparison, `notes` do not.

    `changed` names the parameters whose values differ, of `tensors` that both have.
    """

    defects: tuple[Defect, ...]
    changed: tuple[str, ...]
    tensors: int
    notes: tuple[str, ...]


def compare(base: Intake, candidate: Intake) -> Difference:
    """Everything in which the two differ, parameter by parameter: both went through `with_parameters`.

    Parameters in another dtype are compared by value, at the coarser dtype.
    """
    ours, theirs = ({each.name: each for each in side.checkpoint.tensors} for side in (base, candidate))
    if not ours or not theirs:
        raise ValueError("a checkpoint whose parameters were not listed cannot be compared")
    shared = sorted(set(ours) & set(theirs))
    alike = [name for name in shared if ours[name].shape == theirs[name].shape]
    digests = _digests(base), _digests(candidate)
    changed = [
        name
        for name in alike
        if _known(digests[0], ours[name]) != _known(digests[1], theirs[name])
        and not same_values(ours[name], theirs[name])
    ]
    parts = [compare_configs(base, candidate), compare_tokenizers(base, candidate), compare_generation(base, candidate)]
    return Difference(
        # The config's first: what differs there explains the tensors.
        defects=(*(defect for defects, _ in parts for defect in defects), *_tensors(ours, theirs)),
        changed=tuple(changed),
        tensors=len(shared),
        notes=(
            *(note for _, notes in parts for note in notes),
            *_dtypes([(ours[name], theirs[name]) for name in alike]),
        ),
    )


def assert_comparable(base: Intake, candidate: Intake) -> Difference:
    """The difference, or CheckpointError: another architecture, size, tokenizer, template or ending, or no edit."""
    difference = compare(base, candidate)
    pair = f"{shown(candidate.location)} and its base {shown(base.location)}"
    if difference.defects:
        fix = "Give the base that this candidate was made from."
        raise CheckpointError(
            f"{pair} cannot be compared{_in_all(difference.defects)}", difference.defects[:_TOLD], fix=fix
        )
    if not difference.changed:
        fix = "Was the edited model saved to another directory?"
        raise CheckpointError(f"nothing was unlearned: every tensor equals base's ({pair})", fix=fix)
    return difference


_TOLD = 24
"""Defects that are told one by one: where hundreds of tensors differ, each says the same."""


def _in_all(defects: Sequence[Defect]) -> str:
    return f": {len(defects)} differences, of which" if len(defects) > _TOLD else ""


def assert_reads_alike(base: Intake, artifact: Intake) -> tuple[str, ...]:
    """Notes on how a quantized artifact's own config, tokenizer and endings differ from base's.

    Whoever deploys the artifact loads these with it: CheckpointError where ids or answers would differ.
    """
    parts = (
        compare_configs(base, artifact),
        compare_tokenizers(base, artifact),
        compare_generation(base, artifact),
    )
    if defects := [defect for found, _ in parts for defect in found]:
        raise CheckpointError(f"{shown(artifact.location)} computes, reads or ends texts otherwise than base", defects)
    return tuple(note for _, notes in parts for note in notes)


def _digests(intake: Intake) -> Mapping[tuple[object, int, int], str]:
    return {(each.file, each.start, each.stop): each.digest for each in intake.tensors}


def _known(digests: Mapping[tuple[object, int, int], str], tensor: StoredTensor) -> Sequence[object]:
    """The digests of the tensors on disk that make this one; where it is made otherwise, something equal to nothing."""
    found = [digests.get((span.file, span.start, span.stop)) for span in tensor.spans]
    return [tensor] if None in found else [tensor.shape, *found]


def _tensors(ours: Mapping[str, StoredTensor], theirs: Mapping[str, StoredTensor]) -> list[Defect]:
    defects = []
    for name in sorted(set(ours) | set(theirs)):
        where = f"tensor {shown(name)}"
        if name not in theirs:
            defects.append(Defect(where=where, found="nothing", expected=f"base's shape {list(ours[name].shape)}"))
        elif name not in ours:
            found = f"shape {list(theirs[name].shape)}"
            defects.append(Defect(where=where, found=found, expected="nothing, as in base"))
        elif ours[name].shape != theirs[name].shape:
            found, expected = f"shape {list(theirs[name].shape)}", f"base's shape {list(ours[name].shape)}"
            defects.append(Defect(where=where, found=found, expected=expected))
    return defects


def _dtypes(pairs: list[tuple[StoredTensor, StoredTensor]]) -> list[str]:
    kinds: dict[tuple[str, str], int] = {}
    for left, right in pairs:
        if left.dtype != right.dtype:
            kinds[left.dtype, right.dtype] = kinds.get((left.dtype, right.dtype), 0) + 1
    return [f"{count} tensors are {right}, base's are {left}" for (left, right), count in sorted(kinds.items())]
