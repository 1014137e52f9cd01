"""The one list of a checkpoint's parameters: each once, by the model's own name, wherever its bytes lie.

One model has many spellings on disk: a tied head stored or left out, buffers that older releases stored, experts one
by one or stacked, names with and without the base model's prefix, wrappers that renamed their parts. transformers
loads all of them, so what a file's tensor becomes is asked of transformers' own renaming and conversion rules. What
they leave over is a defect: transformers fills a tensor that is missing with random numbers and says so in a log
line, and such a model has forgotten, too.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.blueprint import Blueprint, blueprint
from unlearn_guard.intake.conversion import Part, assemble, targets
from unlearn_guard.intake.defects import gather, listed, refusal, shown
from unlearn_guard.intake.intake import Intake
from unlearn_guard.intake.updates import same_values
from unlearn_guard.intake.weights import Tensor
from unlearn_guard.intake.wrappers import wrapping
from unlearn_guard.records import StoredTensor

OLD_BUFFERS = re.compile(r"(^|\.)(rotary_emb\.inv_freq|position_ids)$")
"""Buffers that older releases stored and newer ones compute: never read, so harmless on disk."""


_OLD_MASKS = re.compile(r"(^|\.)(attn|attention|self_attn|self_attention)\.(bias|masked_bias|causal_mask)$")
"""Causal masks, and the number put where they hide, which GPT-2, GPT-Neo, GPT-J and CodeGen once stored a layer."""


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
    made: dict[str, list[StoredTensor]] = {}
    refused: set[str] = set()
    for name, parts in owners.items():
        told = len(defects)
        with gather(defects):
            for target, tensors in assemble(name, parts, plan).items():
                if target in made:
                    again = listed([part.tensor.name for part in parts])
                    raise refusal(f"tensor {shown(target)}", f"two tensors that become it, the second {again}", "one")
                made[target] = tensors
        if len(defects) > told:
            refused.update(targets(name, parts))
    parameters = [tensor for tensors in made.values() for tensor in tensors]
    return parameters, [*defects, *_absent({*made, *refused}, plan), *_untied(parameters, plan)]


def _owners(disk: Mapping[str, Tensor], plan: Blueprint) -> tuple[dict[str, list[Part]], list[Defect]]:
    """Which tensors on disk make which parameter, as transformers' loader would sort them; and what is left over."""
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, dot_natural_key, rename_source_key

    mapping = get_model_conversion_mapping(plan.model)
    renamings = [each for each in mapping if isinstance(each, WeightRenaming)]
    converters = [each for each in mapping if isinstance(each, WeightConverter)]
    known = {pattern: converter for converter in converters for pattern in converter.source_patterns}
    meta = plan.model.state_dict()
    prefix = plan.model.base_model_prefix
    owners: dict[str, list[Part]] = {}
    defects: list[Defect] = []
    for name in sorted(disk, key=dot_natural_key):
        own, pattern = rename_source_key(name, renamings, converters, prefix, meta)
        if own not in meta and name in meta:
            own, pattern = rename_source_key(name, [], [], base_model_prefix=prefix, meta_state_dict=meta)
        if own in meta:
            part = Part(tensor=disk[name], converter=known.get(pattern or ""), pattern=pattern or name, renamed=own)
            owners.setdefault(own, []).append(part)
        elif not _old_buffer(disk[name]) and not any(each.search(own) or each.search(name) for each in plan.ignorable):
            extra = f"a tensor of shape {list(disk[name].shape)} in {disk[name].file.name}"
            defects.append(Defect(where=f"tensor {shown(name)}", found=extra, expected="no such tensor"))
    return owners, defects


def _old_buffer(tensor: Tensor) -> bool:
    mask = tensor.shape == () or tensor.shape[:2] == (1, 1)
    return bool(OLD_BUFFERS.search(tensor.name) or (mask and _OLD_MASKS.search(tensor.name)))


def _absent(owners: Collection[str], plan: Blueprint) -> Iterator[Defect]:
    for name, shape in sorted(plan.shapes.items()):
        if name in owners or any(each.search(name) for each in plan.optional):
            continue
        partners = {plan.tied.get(name), *(tied for tied, source in plan.tied.items() if source == name)}
        # tied to one that is tied itself, or two that are tied to a third
        partners |= {tied for tied, source in plan.tied.items() if source == plan.tied.get(name)}
        if not partners & {*owners}:
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
