"""A LoRA adapter put on a model by peft itself, as whoever serves it does, and merged into it.

peft loads what it finds by name, leaves what it does not find at random, and lets a tensor too many replace base's own,
all without an error. So what an adapter has to hold is first asked of peft on a model without storage.
"""

import importlib.metadata
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from unlearn_guard.environment import with_attention
from unlearn_guard.errors import CheckpointError, MeasurementError, UsageError
from unlearn_guard.quantizers.layers import load_model
from unlearn_guard.quantizers.protocol import Placement

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ASKED = 24
"""Token ids that the unmerged and the merged model are asked."""

_CLOSE = 1e-3
"""Of the largest logit, in float32: what rounding makes of summing in another order stays well below."""


def peft_version() -> str:
    """Of the library that puts adapters on models."""
    return importlib.metadata.version("peft")


def expected_shapes(adapter: Path, base: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """The tensors of an adapter on a base, by its config alone; and which of its modules share a weight with another.

    Raises CheckpointError where peft does not take the config on this base.
    """
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base, trust_remote_code=False, local_files_only=True)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(with_attention(config), trust_remote_code=False)
    ties = dict(model.all_tied_weights_keys)
    try:
        with warnings.catch_warnings(action="ignore"):
            adapted = get_peft_model(model, PeftConfig.from_pretrained(str(adapter)), low_cpu_mem_usage=True)
            state = get_peft_model_state_dict(adapted, save_embedding_layers=False)
    except (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, RuntimeError) as error:
        text = " ".join(str(error).split())[:400]
        raise CheckpointError(
            f"adapter_config.json: peft cannot put this adapter on the base: {text}",
            fix="Name the base that it was trained on.",
        ) from error
    shared = {**ties, **{source: tied for tied, source in ties.items()}}
    moved = {f"{name}.weight" for name in _adapted(adapted.base_model.model)}
    tied = {name.removesuffix(".weight"): shared[name].removesuffix(".weight") for name in sorted(moved & set(shared))}
    return {name: tuple(each.shape) for name, each in state.items()}, tied


def put_on(model: "PreTrainedModel", adapter: Path) -> Any:
    """Peft's model of this model and adapter, the adapter in its own dtype or in float32 where that is a half."""
    from peft import PeftModel

    with warnings.catch_warnings(action="ignore"):
        adapted = PeftModel.from_pretrained(model, str(adapter), local_files_only=True, torch_device="cpu")
    if not _adapted(adapted.base_model.model):
        raise MeasurementError(f"{adapter}: peft put the adapter on no layer")
    return adapted.eval()


def merged(base: Path, adapter: Path) -> "PreTrainedModel":
    """Base in float32 with the adapter merged into it.

    Raises UsageError where the merged model does not answer as the unmerged one: what is judged is what is served.
    """
    adapted = put_on(load_model(base, Placement(device_map="cpu", dtype=torch.float32)), adapter)
    before = _logits(adapted)
    model: PreTrainedModel = adapted.merge_and_unload(safe_merge=True)
    after = _logits(model)
    apart = (before - after).abs().max().item() / max(1.0, before.abs().max().item())
    if not apart <= _CLOSE:  # NaN too
        raise UsageError(
            f"{adapter}: unmerged it answers otherwise than merged: logits differ by {apart:.2g} of the largest",
            fix="Merge it yourself, serve the merged model, and check that.",
        )
    return model


def _logits(model: Any) -> Tensor:
    rows = model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(rows, (1, _ASKED), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits: Tensor = model(input_ids=ids).logits
    return logits


def _adapted(model: Any) -> Mapping[str, Any]:
    """The layers that an adapter is on, by name."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return {name: module for name, module in model.named_modules() if isinstance(module, BaseTunerLayer)}
