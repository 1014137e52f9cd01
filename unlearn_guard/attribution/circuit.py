"""The circuit: which MLPs, or which edges, carry the attribution. No torch."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from unlearn_guard.attribution.graph import mlp_layer
from unlearn_guard.attribution.scores import layer_masses
from unlearn_guard.errors import UsageError
from unlearn_guard.records import EdgeScores

DEFAULT_SHARE = 10 / 32
"""The paper takes 10 of 32 MLPs; other depths take as large a share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """MLP sublayers, heaviest first, each with its total incoming |score|, and their share of all MLPs' mass."""

    layers: tuple[int, ...]
    masses: tuple[float, ...]
    share: float

    def holds(self, edge: str) -> bool:
        """True for an edge of E(C): one that enters an MLP of the circuit."""
        return mlp_layer(edge) in self.layers


def default_size(depth: int) -> int:
    """10 of 32 scaled to the depth, at least 1; halves round up."""
    return max(1, math.floor(depth * DEFAULT_SHARE + 0.5))


def mlp_circuit(scores: EdgeScores, k: int | None = None) -> Circuit:
    """The k MLPs with the largest sum of |score| over incoming edges; ties go to the earlier layer.

    Source: arXiv 2605.15138, Section 4, Phase 1. Raises UsageError where there are fewer than k MLPs or no
    mass to rank by.
    """
    found = {mass.layer: mass.mlp for mass in layer_masses(scores) if mass.mlp > 0}
    depth = len({layer for edge in scores.edges if (layer := mlp_layer(edge)) is not None})
    size = default_size(depth) if k is None else k
    if not found or not 1 <= size <= depth:
        raise UsageError(f"a circuit of {size} MLPs cannot be had from {depth}, of which {len(found)} have attribution")
    masses = {layer: found.get(layer, 0.0) for layer in range(depth)}
    ranked = sorted(masses, key=lambda layer: (-masses[layer], layer))[:size]
    share = math.fsum(masses[layer] for layer in ranked) / math.fsum(masses.values())
    return Circuit(layers=tuple(ranked), masses=tuple(masses[layer] for layer in ranked), share=share)


def edge_circuit(scores: EdgeScores, n: int) -> tuple[str, ...]:
    """The n edges with the largest |score|, heaviest first; ties go to the earlier name."""
    if not 1 <= n <= len(scores.edges):
        raise UsageError(f"a circuit of {n} edges cannot be had from {len(scores.edges)}")
    ranked = sorted(zip(scores.edges, scores.scores, strict=True), key=lambda pair: (-abs(pair[1]), pair[0]))
    return tuple(edge for edge, _ in ranked[:n])


def share_of_mass(scores: EdgeScores, edges: Collection[str]) -> float:
    """Share of the sum of |score| that these edges hold. Raises UsageError where there is no mass."""
    total = math.fsum(map(abs, scores.scores))
    if total == 0:
        raise UsageError("every edge score is zero: there is no attribution to share")
    wanted = set(edges)
    held = (abs(score) for edge, score in zip(scores.edges, scores.scores, strict=True) if edge in wanted)
    return math.fsum(held) / total
