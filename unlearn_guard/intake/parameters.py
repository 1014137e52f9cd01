"""The one list of a checkpoint's parameters: each once, by the model's own name, wherever its bytes lie.

One model has many spellings on disk: a tied head stored or left out, buffers that older releases stored, experts one
by one or stacked, names with and without the base model's prefix, wrappers that renamed their parts. transformers
loads all of them, so what a file's tensor becomes is asked of transformers' own renaming and conversion rules, with
numbered rows in the place of weights. What they leave over is a defect: transformers fills a tensor that is missing
with random numbers and says so in a log line, and such a model has forgotten, too.

This is the only file of intake that imports torch, and only when it is called.
"""

import bisect
import copy
import inspect
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import gather, listed, refusal, shown
from unlearn_guard.intake.intake import Intake
from unlearn_guard.intake.updates import same_values
from unlearn_guard.intake.weights import Tensor
from unlearn_guard.intake.wrappers import wrapping
from unlearn_guard.records import Span, StoredTensor

OLD_BUFFERS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|position_ids)$")
"""Buffers that older releases stored and newer ones compute: never read, so harmless on disk."""


_OLD_MASKS = re.compile(r"(^|\.)(attn|attention|self_attn|self_attention)\.(bias|masked_bias|causal_mask)$")
"""Causal masks, and the number put where they hide, which GPT-2, GPT-Neo, GPT-J and CodeGen once stored a layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """The model that a config describes, without storage (torch's meta device).

    `shapes` are its parameters and saved buffers by their own names, `tied` gives the source of each name that
    shares another's tensor, `ignorable` are patterns of what the model class skips in a file, `optional` of what it
    does without.
    """

    model: Any
    shapes: Mapping[str, tuple[int, ...]]
    tied: Mapping[str, str]
    ignorable: tuple[re.Pattern[str], ...]
    optional: tuple[re.Pattern[str], ...]


def blueprint(config_dir: Path) -> Blueprint:
    """The model of a directory's config.json. Costs the import of torch and about 0.1 s.

    Call it after `open_checkpoint` has passed the config. Raises CheckpointError where transformers has no such
    language model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(str(config_dir), trust_remote_code=False, local_files_only=True)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except config_errors() as error:
        found = f"a config that transformers refuses ({type(error).__name__}: {shown(str(error))})"
        expected = "a causal language model that transformers implements"
        fix = "Mend the config, or install a transformers release that knows the model."
        if isinstance(error, ImportError):
            fix = "Install what it asks for, or delete the key that does: without `_attn_implementation` any will do."
        defect = Defect(where="config.json", found=found, expected=expected, fix=fix)
        raise CheckpointError("No model can be built from config.json", [defect]) from error
    _assert_one_way_to_count(model)
    return Blueprint(
        model=model,
        shapes={name: tuple(tensor.shape) for name, tensor in model.state_dict().items()},
        tied=dict(model.all_tied_weights_keys),
        ignorable=_patterns(model._keys_to_ignore_on_load_unexpected),
        optional=_patterns(model._keys_to_ignore_on_load_missing),
    )


def _assert_one_way_to_count(model: Any) -> None:
    """Refuse RoBERTa and its kin: forward counts positions from the padding id, `generate` from 0."""
    for module in model.modules():
        taken = inspect.signature(module.forward).parameters
        if hasattr(module, "create_position_ids_from_input_ids") and "position_ids" in taken:
            found = f"{type(model).__name__}, which counts positions from 0 in generate() and from another id elsewhere"
            raise refusal("config.json: model_type", found, "a language model that computes one thing")


def config_errors() -> tuple[type[Exception], ...]:
    """What transformers raises on a config it does not like; it has no class of its own for that."""
    from huggingface_hub.errors import StrictDataclassError

    plain = (ValueError, TypeError, LookupError, AttributeError, ImportError, ArithmeticError, RuntimeError, OSError)
    return (*plain, AssertionError, StrictDataclassError)


def _patterns(found: Any) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(pattern) for pattern in sorted(found or ()))


def with_parameters(intake: Intake, model: Blueprint | None = None) -> Intake:
    """The intake with `checkpoint.tensors` filled in; `model` where the config's blueprint is already there.

    Raises CheckpointError with every tensor that is missing, left over or of another shape, and where a tied tensor
    is stored with other values than the one it is tied to (which of them is used depends on the release of
    transformers).
    """
    plan = model or blueprint(intake.checkpoint.path)
    parameters, defects = _resolve(intake, plan)
    if defects:
        fix = "Save the model again with `save_pretrained`, or correct config.json."
        summary = f"{shown(intake.location)}: its tensors are not those its config.json implies"
        raise CheckpointError(summary, defects, fix=fix)
    kept = tuple(each for each in parameters if each.name not in plan.tied or plan.tied[each.name] not in plan.shapes)
    copies = tuple(replace(each, name=plan.tied[each.name]) for each in parameters if each.name in plan.tied)
    known = {each.name for each in kept}
    moved = tuple(each for each in copies if each.name not in known)  # only the tied name is stored
    return replace(
        intake,
        checkpoint=replace(intake.checkpoint, tensors=(*kept, *moved)),
        copies=tuple(each for each in copies if each.name in known),
    )


def _resolve(intake: Intake, plan: Blueprint) -> tuple[list[StoredTensor], list[Defect]]:
    disk = {tensor.name: tensor for tensor in intake.tensors}
    if (wrapped := wrapping(disk, plan.shapes)) is not None:
        return [], [wrapped]
    owners, defects = _owners(disk, plan)
    parameters: list[StoredTensor] = []
    for name, parts in owners.items():
        with gather(defects):
            parameters += _assemble(name, parts, plan)
    return parameters, [*defects, *_absent(owners, plan), *_untied(parameters, plan)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A tensor on disk that becomes a parameter, alone or with others by one of transformers' converters."""

    tensor: Tensor
    converter: Any
    pattern: str
    renamed: str


def _owners(disk: Mapping[str, Tensor], plan: Blueprint) -> tuple[dict[str, list[_Part]], list[Defect]]:
    """Which tensors on disk make which parameter, as transformers' loader would sort them; and what is left over."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

    mapping = get_model_conversion_mapping(plan.model)
    renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
    converters = [each for each in mapping if isinstance(each, WeightConverter)]
    known = {pattern: converter for converter in converters for pattern in converter.source_patterns}
    meta = plan.model.state_dict()
    prefix = plan.model.base_model_prefix
    owners: dict[str, list[_Part]] = {}
    defects: list[Defect] = []
    for name in sorted(disk, key=dot_natural_key):
        own, pattern = rename_source_key(name, renamings, converters, prefix, meta)
        if own not in meta and name in meta:
            own, pattern = rename_source_key(name, [], [], base_model_prefix=prefix, meta_state_dict=meta)
        if own in meta:
            part = _Part(tensor=disk[name], converter=known.get(pattern or ""), pattern=pattern or name, renamed=own)
            owners.setdefault(own, []).append(part)
        elif not _old_buffer(disk[name]) and not any(each.search(own) or each.search(name) for each in plan.ignorable):
            extra = f"a tensor of shape {list(disk[name].shape)} in {disk[name].file.name}"
            defects.append(Defect(where=f"tensor {shown(name)}", found=extra, expected="no such tensor"))
    return owners, defects


def _old_buffer(tensor: Tensor) -> bool:
    mask = tensor.shape == () or tensor.shape[:2] == (1, 1)
    return bool(OLD_BUFFERS.search(tensor.name) or (mask and _OLD_MASKS.search(tensor.name)))


def _assemble(name: str, parts: Sequence[_Part], plan: Blueprint) -> list[StoredTensor]:
    """The parameter that these tensors make. Raises CheckpointError where they make none."""
    first, shape = parts[0].tensor, plan.shapes[name]
    if parts[0].converter is None:
        if len(parts) > 1:
            names = listed([each.tensor.name for each in parts])
            raise refusal(f"tensor {shown(name)}", f"{len(parts)} tensors that become it: {names}", "one")
        if first.shape != shape:
            raise refusal(f"tensor {shown(first.name)}", f"shape {list(first.shape)}", f"shape {list(shape)}")
        return [_whole(name, first)]
    if len({each.tensor.dtype for each in parts}) > 1:
        kinds = ", ".join(sorted({each.tensor.dtype for each in parts}))
        raise refusal(f"tensor {shown(name)}", f"parts of different dtypes ({kinds})", "one dtype")
    return _converted(name, parts, plan)


def _whole(name: str, tensor: Tensor) -> StoredTensor:
    spans = (Span(file=tensor.file, start=tensor.start, stop=tensor.stop),)
    return StoredTensor(name=name, dtype=tensor.dtype, shape=tensor.shape, spans=spans)


def _converted(name: str, parts: Sequence[_Part], plan: Blueprint) -> list[StoredTensor]:
    """One parameter made of several tensors, as spans of their rows.

    Where a converter does more than put rows in another order (a transposition), no span says where its bytes are:
    the parts then stand under names of their own, `PARAMETER|NAME ON DISK`, and are compared one by one.
    """
    _assert_shape(name, parts, plan)
    starts, count, numbers = [], 0, []
    for part in parts:
        *outer, width = part.tensor.shape or (1,)
        rows = math.prod(outer) if width else 0
        numbers.append(_numbers(count, (*outer, 1) if width else (0,)))
        starts.append(count)
        count += rows
    found = _convert(name, parts, plan, numbers)
    widths = {part.tensor.shape[-1:] for part in parts}
    if found is None or len(widths) > 1 or (*found.shape[:-1], *next(iter(widths))) != plan.shapes[name]:
        return [_whole(f"{name}|{part.tensor.name}", part.tensor) for part in parts]
    spans = tuple(_spans(found.reshape(-1).tolist(), [part.tensor for part in parts], starts))
    return [StoredTensor(name=name, dtype=parts[0].tensor.dtype, shape=plan.shapes[name], spans=spans)]


def _assert_shape(name: str, parts: Sequence[_Part], plan: Blueprint) -> None:
    import torch

    found = _convert(name, parts, plan, [torch.empty(part.tensor.shape, device="meta") for part in parts])
    shape = None if found is None else tuple(found.shape)
    if shape != plan.shapes[name]:
        made = "fit no conversion of transformers" if shape is None else f"make shape {list(shape)}"
        names = listed([each.tensor.name for each in parts], most=4)
        where, expected = f"tensor {shown(name)}", f"shape {list(plan.shapes[name])}"
        raise refusal(where, f"{len(parts)} parts that {made}: {names}", expected)


def _convert(name: str, parts: Sequence[_Part], plan: Blueprint, values: Sequence[Any]) -> Any:
    """What transformers' converter makes of these values in the place of the parts; None where it refuses them."""
    converter = copy.deepcopy(parts[0].converter)
    for part, value in zip(parts, values, strict=True):
        converter.add_tensor(part.renamed, part.tensor.name, part.pattern, value)
    try:
        made = converter.convert(name, model=plan.model, config=plan.model.config)
    except config_errors():
        return None
    found = made.get(name)
    return found[0] if isinstance(found, list) else found


def _numbers(start: int, shape: tuple[int, ...]) -> Any:
    """Whole numbers from `start`, in row-major order."""
    import torch

    return torch.arange(start, start + math.prod(shape)).reshape(shape)


def _spans(rows: list[int], tensors: Sequence[Tensor], starts: Sequence[int]) -> Iterator[Span]:
    """Runs of neighbouring rows of one tensor, as bytes."""
    begin = 0
    while begin < len(rows):
        which = bisect.bisect_right(starts, rows[begin]) - 1
        tensor, first = tensors[which], rows[begin] - starts[which]
        last = starts[which + 1] if which + 1 < len(starts) else None
        end = begin + 1
        while end < len(rows) and rows[end] == rows[end - 1] + 1 and rows[end] != last:
            end += 1
        width = (tensor.stop - tensor.start) * tensor.shape[-1] // tensor.elements
        start = tensor.start + first * width
        yield Span(file=tensor.file, start=start, stop=start + (end - begin) * width)
        begin = end


def _absent(owners: Mapping[str, object], plan: Blueprint) -> Iterator[Defect]:
    for name, shape in sorted(plan.shapes.items()):
        if name in owners or any(each.search(name) for each in plan.optional):
            continue
        partners = {plan.tied.get(name), *(tied for tied, source in plan.tied.items() if source == name)}
        # tied to one that is tied itself, or two that are tied to a third
        partners |= {tied for tied, source in plan.tied.items() if source == plan.tied.get(name)}
        if not partners & set(owners):
            yield Defect(where=f"tensor {shown(name)}", found="nothing", expected=f"shape {list(shape)}")


def _untied(parameters: Sequence[StoredTensor], plan: Blueprint) -> Iterator[Defect]:
    found = {each.name: each for each in parameters}
    for name, source in plan.tied.items():
        if (
            name in found
            and source in found
            and not (found[name].dtype == found[source].dtype and same_values(found[name], found[source]))
        ):
            other = f"other values than {shown(source)}, to which config.json ties it"
            fix = "Leave it out, or set tie_word_embeddings to false."
            yield Defect(where=f"tensor {shown(name)}", found=other, expected="the same bytes", fix=fix)
