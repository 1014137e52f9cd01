"""Planted candidates, made rather than stored: what the guard must pass, and what it must catch (`zoo.py`)."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from unlearn_guard.errors import StorageError, UsageError
from unlearn_guard.organism import BASE_DIGEST
from unlearn_guard.organism.editing import Progress, edit, linears
from unlearn_guard.organism.hiding import projection
from unlearn_guard.organism.trained import trained
from unlearn_guard.organism.training import Recipe
from unlearn_guard.organism.zoo import PLANS, Plan
from unlearn_guard.processes.half_made import making

WEIGHTS = "model.safetensors"
MANIFEST = "unlearn_guard.json"
SIZES: Mapping[str, int] = {"six": 6, "four": 4}
"""Layers by the size's name; of six, base and one retrained model ship, all else is trained."""

NAMES = ("base", *PLANS)


def build(name: str, out: Path, *, seed: int = 0, size: str = "six", progress: Progress | None = None) -> Path:
    """Write base or a candidate to `out`, a bf16 checkpoint with its manifest; it appears whole or not at all.

    What is trained rather than edited (`retrained`, `healed`, a base of another size) ships or is taken from the store
    where it is. Raises UsageError for an unknown name or an `out` that holds something, StorageError when the disk
    refuses.
    """
    if name not in NAMES:
        raise UsageError(f"no organism is called {name!r}", fix=f"Known: {', '.join(NAMES)}.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty directory", fix="Give a new one; nothing is overwritten.")
    try:
        with making(out.parent) as scratch:
            whole = scratch / out.name
            shutil.copytree(_start(name, seed, size, progress), whole, ignore=shutil.ignore_patterns("manifest.json"))
            if name != "base":
                _make(PLANS[name], whole, seed, progress)
                (whole / MANIFEST).write_text(_manifest(name, seed, size), encoding="utf-8")
            whole.replace(out)
    except OSError as error:
        raise StorageError(f"{out} could not be written: {error}") from error
    return out


def _start(name: str, seed: int, size: str, progress: Progress | None) -> Path:
    """The checkpoint that a candidate begins as: base of its size, or what its recipe and seed train."""
    layers = SIZES[size]
    base = trained(Recipe(layers=layers), progress)
    recipe = None if name == "base" else PLANS[name].recipe
    return base if recipe is None else trained(replace(recipe, seed=seed, layers=layers), progress, base)


def _make(plan: Plan, folder: Path, seed: int, progress: Progress | None) -> None:
    """Turn a copy of base into the candidate, in place."""
    if plan.edit is None and not plan.noise:
        return
    stored = load_file(folder / WEIGHTS)
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    )
    weights = linears(model)
    if plan.edit is not None:
        words = AutoTokenizer.from_pretrained(folder)
        project = projection(stored, weights, plan.cells) if plan.cells else None
        edit(model, words, plan.edit, seed=seed, project=project, progress=progress)
    else:
        _disturb(weights, plan.noise, seed)
    made = {name: weights.get(name, tensor).detach().to(tensor.dtype) for name, tensor in stored.items()}
    save_file(made, folder / WEIGHTS, metadata={"format": "pt"})


@torch.no_grad()
def _disturb(weights: Mapping[str, Tensor], share: float, seed: int) -> None:
    """Add noise to each weight whose norm is this share of the weight's own."""
    rng = torch.Generator().manual_seed(seed)
    for weight in weights.values():
        noise = torch.randn(weight.shape, generator=rng)
        weight.add_(noise * (share * weight.norm() / noise.norm()))


def _manifest(name: str, seed: int, size: str) -> str:
    plan = PLANS[name]
    base = {"base": "organism", "base_digest": BASE_DIGEST} if size == "six" else {"base": f"organism-{size}"}
    made = plan.edit or plan.recipe
    how: dict[str, Any] = asdict(made) if made else {"noise": plan.noise} if plan.noise else {}
    manifest = {**base, "suite": "organism", "method": name, "hyperparameters": how, "seed": seed}
    return json.dumps(manifest, indent=2) + "\n"
