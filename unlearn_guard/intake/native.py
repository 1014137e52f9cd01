"""What the installed transformers itself implements: asked only where a config alone cannot say what is harmless.

transformers is imported by the first question: it takes a second and brings torch along, and most configs
raise none. Only its classes' defaults are built here, never anything from a checkpoint.
"""

import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any


def implements(config: Mapping[str, Any]) -> bool:
    """Whether transformers has a causal language model of its own for this config (or this part of one)."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return config.get("model_type") in _strings(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def has_vocabulary(config: Mapping[str, Any]) -> bool:
    """Whether the class of this config has a vocabulary of a default size: published configs may leave it out."""
    return implements(config) and any(hasattr(each, "vocab_size") for each in _defaults(str(config["model_type"])))


def private_keys(document: Mapping[str, Any]) -> frozenset[str]:
    """The underscored keys that the classes named anywhere in this config write themselves, or keep behind a property.

    Those that every config of transformers has (which attention is used, what is saved as code) are not among them.
    """
    found: set[str] = set()
    for model_type in _model_types(document):
        found |= _own_keys(model_type)
    return frozenset(found)


def _strings(names: Mapping[Any, Any]) -> frozenset[str]:
    return frozenset(str(name) for name in names)


def _model_types(document: Mapping[str, Any]) -> frozenset[str]:
    from transformers import CONFIG_MAPPING

    named: set[str] = set()
    stack: list[Any] = [document]
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            if isinstance(value.get("model_type"), str):
                named.add(value["model_type"])
            stack += value.values()
        elif isinstance(value, list):
            stack += value
    return frozenset(named & _strings(CONFIG_MAPPING))


@cache
def _own_keys(model_type: str) -> frozenset[str]:
    from transformers import CONFIG_MAPPING, PreTrainedConfig

    everywhere = {*vars(PreTrainedConfig()), *vars(PreTrainedConfig), *PreTrainedConfig.__dataclass_fields__}
    found: set[str] = set()
    for kind in {CONFIG_MAPPING[model_type], *(type(each) for each in _defaults(model_type))}:
        properties = {name for name, member in inspect.getmembers_static(kind) if isinstance(member, property)}
        backed = {f"_{name}" for name in properties if not name.startswith("_")}
        found |= backed | set(kind.__dataclass_fields__)
    found |= {key for each in _defaults(model_type) for key in vars(each)}
    return frozenset(key for key in found - everywhere if key.startswith("_"))


def _defaults(model_type: str) -> tuple[Any, ...]:
    """The class with its defaults, and the configs nested in it; none where it cannot be built without values."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    try:
        return tuple(_nested(CONFIG_MAPPING[model_type]()))
    except (StrictDataclassError, ValueError, TypeError):
        return ()  # its fields and properties then speak alone


def _nested(config: Any) -> Iterator[Any]:
    from transformers import PreTrainedConfig

    yield config
    for value in vars(config).values():
        if isinstance(value, PreTrainedConfig):
            yield from _nested(value)
