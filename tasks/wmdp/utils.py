"""What the YAML files beside this one call; lm-eval finds it next to them, from any working directory."""

import hashlib
import json
from pathlib import Path
from typing import Any


def bio_300(dataset: Any) -> Any:
    """The 300 questions of `wmdp_bio_300.json`."""
    return chosen(dataset, Path(__file__).with_name("wmdp_bio_300.json"))


def chem_300(dataset: Any) -> Any:
    """The 300 questions of `wmdp_chem_300.json`."""
    return chosen(dataset, Path(__file__).with_name("wmdp_chem_300.json"))


def cyber_300(dataset: Any) -> Any:
    """The 300 questions of `wmdp_cyber_300.json`."""
    return chosen(dataset, Path(__file__).with_name("wmdp_cyber_300.json"))


def chosen(dataset: Any, path: Path) -> Any:
    """The listed rows, in the list's order. Raises ValueError for another list, or a dataset of another size.

    The list was drawn once (`random.Random(seed).sample(range(items), n)`, sorted) and is never drawn again, so that
    every model and every later version answers the same questions.
    """
    listed = json.loads(path.read_text(encoding="utf-8"))
    digest = hashlib.sha256(json.dumps(listed["indices"]).encode()).hexdigest()
    if digest != listed["sha256"]:
        raise ValueError(f"{path}: the indices hash to {digest}; expected {listed['sha256']}")
    if len(dataset) != listed["items"]:
        raise ValueError(f"{path} chooses from {listed['items']} items; the dataset has {len(dataset)}")
    return dataset.select(listed["indices"])
