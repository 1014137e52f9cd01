"""adapter_config.json: what of it shapes a plain LoRA adapter, and everything in it that would make it another thing.

peft takes some forty fields; a handful say where the low-rank products go and how they are scaled. Any other one that
is set changes what is computed, or which weights are loaded, in ways that a merge does not keep or that servers do
not share, so it is refused by name. A field that peft has since got may be there as long as it says nothing.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import shown

CONFIG = "adapter_config.json"
MERGE = "Merge it with the library that made it, `model.merge_and_unload().save_pretrained(DIR)`, and check DIR."

_PLAIN_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""How an adapter's weights were begun, where base's own weights stay as they are."""

_READ: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "r": (lambda value: _whole(value), "a rank, a whole number from 1"),
    "lora_alpha": (lambda value: _number(value), "a finite number"),
    "target_modules": (lambda value: _names(value), "names of base's modules, or one pattern of them"),
    "exclude_modules": (lambda value: not value or _names(value), "names, one pattern, or null"),
    "rank_pattern": (lambda value: _table(value, _whole), "an object from names to ranks"),
    "alpha_pattern": (lambda value: _table(value, _number), "an object from names to finite numbers"),
    "layers_to_transform": (lambda value: value is None or _layers(value), "numbers of layers, or null"),
    "layers_pattern": (lambda value: not value or _names(value), "names, or null"),
    "use_rslora": (lambda value: isinstance(value, bool), "true or false"),
    "fan_in_fan_out": (lambda value: isinstance(value, bool), "true or false"),
}
"""What says where the products go and how they are scaled."""

_SETS = ("target_modules", "exclude_modules")
"""Lists whose order means nothing; peft itself writes it differently each time."""

_NEEDED = ("peft_type", "r", "target_modules")

_HISTORY = frozenset(
    {
        *("peft_version", "base_model_name_or_path", "revision", "inference_mode", "lora_dropout", "megatron_core"),
        *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "runtime_config"),
    }
)
"""What is not read once an adapter is trained: of the ways to begin one, that in `init_lora_weights` decides."""

_ONLY: Mapping[str, tuple[Callable[[Any], bool], str, str]] = {
    "peft_type": (lambda value: value == "LORA", "'LORA': no other kind of adapter is a sum with base's weights", ""),
    "task_type": (lambda value: value in (None, "CAUSAL_LM"), "'CAUSAL_LM': others put a head on the model", ""),
    "bias": (lambda value: value == "none", "'none': biases that an adapter holds replace base's", MERGE),
    "init_lora_weights": (
        lambda value: value in _PLAIN_STARTS and type(value) in (bool, str, type(None)),
        "a start that leaves base's weights as they are: true, false, 'gaussian', 'eva' or 'orthogonal'",
        "Save it as plain LoRA (`save_pretrained(..., path_initial_model_for_weight_conversion=...)`), or merge it.",
    ),
    "auto_mapping": (lambda value: _own_class(value), "null, or a class of transformers' own", "Delete the field."),
}
"""Fields with one meaning that can be judged: whether a value has it, what it is, what to do otherwise."""


def read_settings(document: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that decide what the adapter adds to base, by peft's names; those that are left out by its defaults.

    Raises CheckpointError with every field that makes it something other than a plain LoRA adapter.
    """
    defects = [
        Defect(where=CONFIG, found=f"no {name}", expected="an adapter as peft's save_pretrained writes it")
        for name in _NEEDED
        if name not in document
    ]
    settings: dict[str, Any] = {}
    for name, value in document.items():
        where = f"{CONFIG}: {name if name in _READ or name in _ONLY else shown(name)}"
        if name in _READ:
            holds, expected = _READ[name]
            if not holds(value):
                defects.append(Defect(where=where, found=shown(value), expected=expected))
            settings[name] = sorted(value) if name in _SETS and isinstance(value, list) and holds(value) else value
        elif name in _ONLY:
            sound, expected, fix = _ONLY[name]
            if not sound(value):
                defects.append(Defect(where=where, found=shown(value), expected=expected, fix=fix))
        elif name not in _HISTORY and value:
            expected = "nothing: only the low-rank products of plain LoRA can be judged"
            defects.append(Defect(where=where, found=shown(value), expected=expected, fix=MERGE))
    if defects:
        raise CheckpointError(f"{CONFIG} describes no plain LoRA adapter", defects)
    return settings


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 1


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _names(value: Any) -> bool:
    return bool(value) and (
        isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))
    )


def _layers(value: Any) -> bool:
    each = value if isinstance(value, list) else [value]
    return bool(each) and all(type(number) is int and number >= 0 for number in each)


def _table(value: Any, holds: Callable[[Any], bool]) -> bool:
    return value is None or (isinstance(value, dict) and all(holds(each) for each in value.values()))


def _own_class(value: Any) -> bool:
    """Whether nothing is named that AutoPeftModel would import from elsewhere."""
    if value is None:
        return True
    library = value.get("parent_library") if isinstance(value, dict) else None
    return isinstance(library, str) and library.split(".")[0] == "transformers"
