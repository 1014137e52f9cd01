"""Edge scores with their items kept, and the file that holds their mean. No torch."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unlearn_guard.attribution.graph import ends, mlp_layer
from unlearn_guard.errors import Defect, UsageError
from unlearn_guard.records import EdgeScores

METRIC = "logit(target) - mean logit(wrong)"
"""What every score is a share of, at the prompt's last position."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemScores:
    """EAP-IG scores of each prompt pair: `scores_NE` [items, edges], the metric on either prompt [items]."""

    edges: tuple[str, ...]
    scores_NE: NDArray[np.float32]
    clean_N: Floats
    corrupted_N: Floats
    steps: int

    def __post_init__(self) -> None:
        if self.scores_NE.shape != (len(self.clean_N), len(self.edges)) or not len(self.clean_N):
            raise ValueError(f"{self.scores_NE.shape} scores for {len(self.clean_N)} items, {len(self.edges)} edges")
        if len(set(self.edges)) != len(self.edges):
            raise ValueError("an edge is scored twice")

    @property
    def items(self) -> int:
        """Number of prompt pairs."""
        return len(self.clean_N)

    def mean_E(self) -> Floats:
        """Score of each edge, mean over items, fp64."""
        mean: Floats = self.scores_NE.mean(axis=0, dtype=np.float64)
        return mean

    def edge_scores(self, *, subject: str, task: str) -> EdgeScores:
        """The record that the other stages read: `subject` is the model's digest, `task` whose pairs these are."""
        scores = tuple(self.mean_E().tolist())
        return EdgeScores(subject=subject, task=task, edges=self.edges, scores=scores, steps=self.steps)


def write_scores(path: Path, scores: ItemScores, *, subject: str, task: str) -> None:
    """Write `SCORES.json`, whole or not at all. Floats are written so that they read back bit for bit."""
    mean = scores.mean_E().tolist()
    held = {
        "schema": "unlearn-guard.scores/1",
        "subject": subject,
        "task": task,
        "metric": METRIC,
        "steps": scores.steps,
        "items": scores.items,
        "clean_metric": float(scores.clean_N.mean()),
        "corrupted_metric": float(scores.corrupted_N.mean()),
        "mlp_mass_by_layer": {
            str(each.layer): each.mlp for each in layer_masses(scores.edge_scores(subject=subject, task=task))
        },
        "edges": dict(zip(scores.edges, mean, strict=True)),
    }
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        json.dump(held, file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def read_scores(path: Path) -> EdgeScores:
    """Read `SCORES.json`. Raises UsageError with every field that is not what it should be."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_duplicates)
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as edge scores: {error}") from error
    defects = _defects(held)
    if defects:
        raise UsageError(f"{path} does not hold edge scores", defects)
    edges: Mapping[str, float] = held["edges"]
    return EdgeScores(
        subject=held["subject"],
        task=held["task"],
        edges=tuple(edges),
        scores=tuple(map(float, edges.values())),
        steps=held["steps"],
    )


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _defects(held: object) -> list[Defect]:
    if not isinstance(held, dict):
        return [Defect(where="top level", found=type(held).__name__, expected="an object")]
    wanted = (("subject", str), ("task", str), ("metric", str), ("steps", int), ("items", int), ("edges", dict))
    defects = [
        Defect(where=name, found=type(held.get(name)).__name__, expected=kind.__name__)
        for name, kind in wanted
        if type(held.get(name)) is not kind
    ]
    if held.get("metric") not in (None, METRIC):
        defects.append(Defect(where="metric", found=repr(held["metric"]), expected=repr(METRIC)))
    edges = held.get("edges")
    for name, score in edges.items() if isinstance(edges, dict) else ():
        if "->" not in name or type(score) not in (int, float) or not math.isfinite(score):
            defects.append(Defect(where=f"edges: {name!r}", found=repr(score), expected="SRC->DST: a finite number"))
    if isinstance(edges, dict) and not edges:
        defects.append(Defect(where="edges", found="none", expected="at least one"))
    return defects


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMass:
    """One layer's share of the attribution: the sum of |score| over edges into its MLP, and over all edges into it."""

    layer: int
    mlp: float
    attention: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The heaviest edges, heaviest first, and each layer's mass, in layer order. What `attribute` prints."""

    edges: tuple[tuple[str, float], ...]
    layers: tuple[LayerMass, ...]
    total: float


def table(scores: EdgeScores, heaviest: int = 20) -> Table:
    """The heaviest edges by |score| and the mass by layer. Edges into `logits` count in `total` alone."""
    ranked = sorted(zip(scores.edges, scores.scores, strict=True), key=lambda pair: (-abs(pair[1]), pair[0]))
    return Table(edges=tuple(ranked[:heaviest]), layers=layer_masses(scores), total=math.fsum(map(abs, scores.scores)))


def layer_masses(scores: EdgeScores) -> tuple[LayerMass, ...]:
    """Sum of |score| over the edges into each layer, by what they enter."""
    mlp: dict[int, list[float]] = {}
    attention: dict[int, list[float]] = {}
    for edge, score in zip(scores.edges, scores.scores, strict=True):
        layer = mlp_layer(edge)
        if layer is not None:
            mlp.setdefault(layer, []).append(abs(score))
        elif (reader := ends(edge)[1]) != "logits":
            attention.setdefault(int(reader[1:].partition(".")[0]), []).append(abs(score))
    return tuple(
        LayerMass(layer=layer, mlp=math.fsum(mlp.get(layer, ())), attention=math.fsum(attention.get(layer, ())))
        for layer in sorted(mlp.keys() | attention.keys())
    )
