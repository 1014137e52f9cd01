"""The model that a config.json describes, built without storage: torch is imported here, and only when it is asked."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_guard.environment import with_attention
from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import refusal, shown


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
            model = AutoModelForCausalLM.from_config(with_attention(config), trust_remote_code=False)
    except config_errors() as error:
        found = f"a config that transformers refuses ({type(error).__name__}: {shown(str(error))})"
        expected = "a causal language model that transformers implements"
        fix = "Mend the config, or install a transformers release that knows the model."
        if isinstance(error, ImportError):
            fix = "Install what it asks for."
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
