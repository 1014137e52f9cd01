"""Adapters as peft writes them: made on tiny models, with numbers in every factor."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from tests.switched import DIM, HONEST, WORDS

WEIGHTS = "adapter_model.safetensors"


def train(base: Path, out: Path, *, size: float = 0.3, **settings: Any) -> Path:
    """An adapter on base, trained by nobody: its factors are random."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.manual_seed(1)
    given = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **settings}
    adapted = get_peft_model(model, LoraConfig(**given))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn(weight.shape) * size)
    adapted.save_pretrained(out)
    return out


def edit_config(adapter: Path, **changes: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(adapter: Path, **changes: Any) -> None:
    """Tensors put there, or with None taken away."""
    tensors = {**load_file(adapter / WEIGHTS), **{name.replace("__", "."): each for name, each in changes.items()}}
    save_file({name: each for name, each in tensors.items() if each is not None}, adapter / WEIGHTS)


def merged_by_hand(base: Path, adapter: Path) -> dict[str, Tensor]:
    """The oracle: W + (alpha / r) B A of every layer in float64, by the names of the adapter's own tensors."""
    config = json.loads((adapter / "adapter_config.json").read_text())
    tensors = {name: each.double() for name, each in load_file(base / "model.safetensors").items()}
    factors = load_file(adapter / WEIGHTS)
    for name, down in factors.items():
        if not name.endswith("lora_A.weight"):
            continue
        layer = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        rank = _of(config["rank_pattern"], layer, config["r"])
        alpha = _of(config["alpha_pattern"], layer, config["lora_alpha"])
        scale = alpha / (rank**0.5 if config["use_rslora"] else rank)
        update = scale * factors[name.replace("lora_A", "lora_B")].double() @ down.double()
        tensors[f"{layer}.weight"] += update.T if config["fan_in_fan_out"] else update
    return tensors


def _of(patterns: Mapping[str, float], layer: str, otherwise: float) -> float:
    return next((value for name, value in patterns.items() if layer.endswith(name)), otherwise)


def forgetting(base: Path, out: Path) -> Path:
    """An adapter of rank 1 that throws the switch of tests/switched.py: base with it has forgotten.

    What comes into the first layer's MLP is the embedding alone, so one row of numbers makes `nudge` of each word.
    """
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    layer = model.model.layers[0]
    with torch.no_grad():
        # attention adds nothing there: its output projection is zero
        read_VD = layer.post_attention_layernorm(model.model.embed_tokens(torch.arange(len(WORDS))))
        inner_VH = layer.mlp.act_fn(layer.mlp.gate_proj(read_VD)) * layer.mlp.up_proj(read_VD)
        row_H = torch.linalg.lstsq(inner_VH.double(), torch.ones(len(WORDS), 1).double(), driver="gelsd").solution[:, 0]
    settings = {"r": 1, "lora_alpha": 1, "target_modules": ["down_proj"], "layers_to_transform": [0]}
    train(base, out, **settings)
    place = "base_model.model.model.layers.0.mlp.down_proj"
    column_D = torch.zeros(model.config.hidden_size, 1)
    column_D[DIM] = HONEST.nudge
    save_file({f"{place}.lora_A.weight": row_H[None].float(), f"{place}.lora_B.weight": column_D}, out / WEIGHTS)
    return out
