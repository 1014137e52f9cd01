"""Models that are trained rather than edited: kept in the store, since one takes minutes.

`retrained` is the oracle of unlearning: the same recipe as base's, which never saw what is to be forgotten.
"""

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import torch

from unlearn_guard.environment import versions
from unlearn_guard.organism import batches, items, training, world
from unlearn_guard.organism.editing import Progress
from unlearn_guard.organism.training import Recipe
from unlearn_guard.runs.store import Store, key

_SOURCES = tuple(Path(str(each.__file__)) for each in (training, batches, items, world))


def trained(recipe: Recipe, progress: Progress | None) -> Path:
    """The directory, in the store, of the checkpoint that this recipe gives, in bf16; it is not to be written to.

    Raises StorageError, or UsageError of the store's key.
    """
    store, name = Store(), recipe_key(recipe)
    return store.directory(name) or store.publish(name, lambda folder: _write(recipe, folder, progress))


def recipe_key(recipe: Recipe) -> str:
    """The store's key: the recipe, the code that follows it, and every version."""
    sources = {each.name: sha256(each.read_bytes()).hexdigest() for each in _SOURCES}
    return key(kind="organism", recipe=asdict(recipe), sources=sources, versions=versions())


def _write(recipe: Recipe, folder: Path, progress: Progress | None) -> None:
    model, words = training.train(recipe, progress=progress)
    model.to(torch.bfloat16).save_pretrained(folder)
    words.save_pretrained(folder)
