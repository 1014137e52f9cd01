"""Models that are trained rather than edited: shipped, or kept in the store, since one takes minutes.

`retrained` is the oracle of unlearning: the same recipe as base's, which never saw what is to be forgotten. `healed` is
base under noise that takes most of every weight, trained on what is to stay (Lee et al. 2025, arXiv 2506.06278).
"""

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import load_file

from unlearn_guard.environment import versions
from unlearn_guard.organism import base_path, batches, items, retrained_path, training, world
from unlearn_guard.organism.editing import Progress
from unlearn_guard.organism.training import Recipe
from unlearn_guard.runs.store import Store, key

_SOURCES = tuple(Path(str(each.__file__)) for each in (training, batches, items, world))


_SHIPPED = {Recipe(): base_path, Recipe(domains=world.KEPT): retrained_path}


def trained(recipe: Recipe, progress: Progress | None, base: Path | None = None) -> Path:
    """The directory of the checkpoint that this recipe gives, in bf16; it is not to be written to.

    What ships is taken as it is, anything else from the store, where it is put when it was trained.

    `base` is the checkpoint that a recipe begins from which does not draw all of its weights.

    Raises StorageError, or UsageError of the store's key.
    """
    if recipe in _SHIPPED:
        return _SHIPPED[recipe]()
    store, name = Store(), recipe_key(recipe)
    return store.directory(name) or store.publish(name, lambda folder: _write(recipe, folder, progress, base))


def recipe_key(recipe: Recipe) -> str:
    """The store's key: the recipe, the code that follows it, and every version."""
    sources = {each.name: sha256(each.read_bytes()).hexdigest() for each in _SOURCES}
    return key(kind="organism", recipe=asdict(recipe), sources=sources, versions=versions())


def _write(recipe: Recipe, folder: Path, progress: Progress | None, base: Path | None) -> None:
    weights = None if base is None else load_file(base / "model.safetensors")
    model, words = training.train(recipe, progress=progress, base=weights)
    model.to(torch.bfloat16).save_pretrained(folder)
    words.save_pretrained(folder)
