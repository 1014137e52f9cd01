"""How a candidate differs from its base: in what must not differ, in what may, and in the tensors that were edited."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.config import sections
from unlearn_guard.intake.defects import shown
from unlearn_guard.intake.expected import resolved_config
from unlearn_guard.intake.intake import Intake
from unlearn_guard.intake.opening import HISTORY
from unlearn_guard.intake.updates import same_values
from unlearn_guard.intake.weights import Tensor

NOT_SHAPING = (
    *HISTORY,
    "transformers_version",
    "dtype",
    "torch_dtype",
    "use_cache",
    "_attn_implementation",
    "_num_labels",
    "quantization_config",
    "compression_config",
    "id2label",
    "label2id",
)
"""Keys of config.json that shape no weight and no answer beyond rounding."""

_BEHAVIOUR = (
    "add_bos_token",
    "add_eos_token",
    "add_prefix_space",
    "bos_token",
    "eos_token",
    "unk_token",
    "do_lower_case",
    "legacy",
    "use_default_system_prompt",
)
_ABSENT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Candidate against base. `defects` forbid a comparison, `template` forbids it unless allowed, `notes` do not.

    `changed` names the tensors whose values differ, of `tensors` that both have.
    """

    defects: tuple[Defect, ...]
    template: Defect | None
    changed: tuple[str, ...]
    tensors: int
    notes: tuple[str, ...]


def compare(base: Intake, candidate: Intake) -> Difference:
    """Everything in which the two differ. Tensors in another dtype are compared by value, at the coarser dtype."""
    ours, theirs = ({tensor.name: tensor for tensor in each.tensors} for each in (base, candidate))
    shared = sorted(set(ours) & set(theirs))
    alike = [name for name in shared if ours[name].shape == theirs[name].shape]
    changed = tuple(name for name in alike if not same_values(ours[name], theirs[name]))
    tokenizer, notes = _tokenizers(base, candidate)
    return Difference(
        defects=(*_configs(base, candidate), *_tensors(ours, theirs), *tokenizer),
        template=_template(base, candidate),
        changed=changed,
        tensors=len(shared),
        notes=(*notes, *_dtypes([(ours[name], theirs[name]) for name in alike])),
    )


def assert_comparable(base: Intake, candidate: Intake, *, allow_template: bool = False) -> Difference:
    """The difference, or CheckpointError: another architecture, size, tokenizer or template, or no edit at all."""
    difference = compare(base, candidate)
    defects = list(difference.defects)
    if difference.template is not None and not allow_template:
        defects.append(difference.template)
    pair = f"{shown(candidate.location)} and its base {shown(base.location)}"
    if defects:
        fix = "Give the base that this candidate was made from."
        raise CheckpointError(f"{pair} cannot be compared", defects, fix=fix)
    if not difference.changed:
        fix = "Was the edited model saved to another directory?"
        raise CheckpointError(f"nothing was unlearned: every tensor equals base's ({pair})", fix=fix)
    return difference


def _configs(base: Intake, candidate: Intake) -> list[Defect]:
    ours, theirs = _shaping(base.config), _shaping(candidate.config)
    if ours != theirs:
        # releases of transformers spell one model differently; only then is the 0.5 s import worth it
        filled = resolved_config(base.config), resolved_config(candidate.config)
        if filled[0] is not None and filled[1] is not None:
            ours, theirs = _shaping(filled[0]), _shaping(filled[1])
    defects = []
    for key in sorted(set(ours) | set(theirs)):
        left, right = ours.get(key, _ABSENT), theirs.get(key, _ABSENT)
        if left != right or type(left) is not type(right):
            found = "nothing" if right is _ABSENT else shown(right)
            expected = f"base's {'nothing' if left is _ABSENT else shown(left)}"
            defects.append(Defect(where=key, found=found, expected=expected))
    return defects


def _shaping(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves of a config by their path, without the keys that shape nothing and without nulls (absent means null)."""
    return {
        f"{path}: {key}": value
        for path, section in sections(config)
        if not set(path.split(": ")) & set(NOT_SHAPING)
        for key, value in section.items()
        if key not in NOT_SHAPING and value is not None and not isinstance(value, Mapping)
    }


def _tensors(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[Defect]:
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


def _tokenizers(base: Intake, candidate: Intake) -> tuple[list[Defect], list[str]]:
    if base.tokenizer_digest == candidate.tokenizer_digest:
        return [], []
    ours, theirs = base.tokenizer, candidate.tokenizer
    defects = []
    fix = "Copy base's tokenizer files: both must see the same token ids."
    if ours.vocabulary != theirs.vocabulary or (ours.vocabulary is None and ours.sources != theirs.sources):
        found = f"other tokens or rules ({theirs.size or 'unknown'} ids; base has {ours.size or 'unknown'})"
        defects.append(Defect(where="tokenizer", found=found, expected="base's tokenizer", fix=fix))
    for key in _BEHAVIOUR:
        left, right = ours.settings.get(key), theirs.settings.get(key)
        if _token(left) != _token(right) and (left or right):
            where = f"tokenizer_config.json: {key}"
            defects.append(Defect(where=where, found=shown(right), expected=f"base's {shown(left)}", fix=fix))
    notes = [] if defects else ["the tokenizer files differ from base's in bytes, not in tokens or rules"]
    return defects, notes


def _token(value: Any) -> Any:
    # older files write a special token as an object, newer ones as its text
    return value.get("content") if isinstance(value, Mapping) else value or None


def _template(base: Intake, candidate: Intake) -> Defect | None:
    if base.template == candidate.template:
        return None
    names = [
        "none" if each is None else f"one of {len(each)} characters" for each in (candidate.template, base.template)
    ]
    found = names[0] if names[0] != names[1] else f"another {names[0]}"
    fix = "Copy base's template, or allow another one explicitly."
    return Defect(where="chat template", found=found, expected=f"base's ({names[1]})", fix=fix)


def _dtypes(pairs: list[tuple[Tensor, Tensor]]) -> list[str]:
    kinds: dict[tuple[str, str], int] = {}
    for left, right in pairs:
        if left.dtype != right.dtype:
            kinds[left.dtype, right.dtype] = kinds.get((left.dtype, right.dtype), 0) + 1
    return [f"{count} tensors are {right}, base's are {left}" for (left, right), count in sorted(kinds.items())]
