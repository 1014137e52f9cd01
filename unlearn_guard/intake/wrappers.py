"""Names that a training wrapper changed: transformers knows none of them on loading and fills in random weights."""

from collections.abc import Collection

from unlearn_guard.errors import Defect
from unlearn_guard.intake.defects import listed

_PARTS = (
    "module",  # DataParallel, DistributedDataParallel, DeepSpeed
    "_orig_mod",  # torch.compile
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "_forward_module",  # Lightning's strategies
)
_ADAPTED = ("base_model", "base_layer", "lora_A", "lora_B", "lora_magnitude_vector", "modules_to_save")
"""Parts of names that PEFT's models have until they are merged."""


def wrapping(names: Collection[str], own: Collection[str]) -> Defect | None:
    """The defect of tensors that stand under a wrapper's names, with the lines that give them back the model's own.

    `own` are the model's names: a part that one of them has is no wrapper's.
    """
    known = {part for name in own for part in name.split(".")}
    found = {part for name in names for part in name.split(".")} - known
    if wrappers := [part for part in _PARTS if part in found]:
        return Defect(
            where="tensors",
            found=f"{listed([f'{part}.' for part in wrappers])} in tensors' names, which a training wrapper put there",
            expected="the model's own names",
            fix=f"Strip it: {_stripping(wrappers, own)}. transformers would load random weights in their place.",
        )
    if adapted := [part for part in _ADAPTED if part in found]:
        fix = "Merge it: `model.merge_and_unload().save_pretrained(...)`, and judge what that wrote."
        what = f"{listed(adapted)} in tensors' names: a PEFT model that was saved before its adapter was merged"
        return Defect(where="tensors", found=what, expected="the model's own names", fix=fix)
    return None


def _stripping(parts: list[str], own: Collection[str]) -> str:
    """Python for one file of weights. Names are split at dots where the model's own would lose something else."""
    longest = sorted(parts, key=lambda part: -len(part))  # `module.` is the end of `_fsdp_wrapped_module.`
    kept = "name" + "".join(f".replace({f'{part}.'!r}, '')" for part in longest)
    if any(f"{part}." in name for part in parts for name in own):
        kept = f"'.'.join(part for part in name.split('.') if part not in {parts!r})"
    return (
        f"`state = {{{kept}: tensor for name, tensor in load_file('model.safetensors').items()}}`, then "
        "`save_file(state, 'model.safetensors', metadata={'format': 'pt'})` (each shard so, and the names in its index)"
    )
