"""The graph that EAP scores: its nodes, its edges, and the order in which both are written. No torch.

Sources are `input` (the residual stream that enters layer 0), each head's output `a{l}.h{h}` and each
MLP's output `m{l}`. Readers are a head's query `a{l}.h{h}<q>`, a K/V group's key and value
`a{l}.kv{g}<k>`, `a{l}.kv{g}<v>`, an MLP's input `m{l}`, and `logits`. Every earlier source has an edge
to every later reader.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

_MLP_READER = re.compile(r"m(\d+)")


class EdgeSet(StrEnum):
    """Which edges are scored: those into MLPs, which the circuit and CAD need, or every one."""

    MLP = "mlp"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Readers that see the same sources: `before` is how many of `Graph.sources`, from the first on."""

    readers: tuple[str, ...]
    before: int
    layer: int
    start: int

    @property
    def edges(self) -> int:
        """Number of edges into this block."""
        return len(self.readers) * self.before

    @property
    def stop(self) -> int:
        """One past the block's last edge in the order of `Graph.edges`."""
        return self.start + self.edges


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A decoder seen as a graph: `layers` layers of `heads` query heads in `groups` K/V heads and one MLP."""

    layers: int
    heads: int
    groups: int

    @property
    def sources(self) -> tuple[str, ...]:
        """`input`, then each layer's heads and its MLP, in the order in which they write."""
        nodes = ["input"]
        for layer in range(self.layers):
            nodes += [f"a{layer}.h{head}" for head in range(self.heads)]
            nodes.append(f"m{layer}")
        return tuple(nodes)

    def before_attention(self, layer: int) -> int:
        """Sources that layer `layer`'s queries, keys and values can read."""
        return 1 + layer * (self.heads + 1)

    def before_mlp(self, layer: int) -> int:
        """Sources that the layer's MLP can read: its own heads too, as all supported models are sequential."""
        return self.before_attention(layer) + self.heads

    def attention_readers(self, layer: int) -> tuple[str, ...]:
        """Queries by head, then keys by K/V group, then values by K/V group."""
        queries = [f"a{layer}.h{head}<q>" for head in range(self.heads)]
        keys_values = [f"a{layer}.kv{group}<{kind}>" for kind in "kv" for group in range(self.groups)]
        return (*queries, *keys_values)

    def blocks(self, edges: EdgeSet) -> tuple[Block, ...]:
        """Every reader of the edge set, in layer order; `logits` is last and has `layer` = `layers`."""
        found: list[Block] = []
        for readers, before, layer in self._readers(edges):
            start = found[-1].stop if found else 0
            found.append(Block(readers=readers, before=before, layer=layer, start=start))
        return tuple(found)

    def edges(self, edges: EdgeSet) -> tuple[str, ...]:
        """The names `SRC->DST`, reader by reader, sources in order within a reader."""
        sources = self.sources
        return tuple(
            f"{source}->{reader}"
            for block in self.blocks(edges)
            for reader in block.readers
            for source in sources[: block.before]
        )

    def _readers(self, edges: EdgeSet) -> Iterator[tuple[tuple[str, ...], int, int]]:
        for layer in range(self.layers):
            if edges is EdgeSet.ALL:
                yield self.attention_readers(layer), self.before_attention(layer), layer
            yield (f"m{layer}",), self.before_mlp(layer), layer
        if edges is EdgeSet.ALL:
            yield ("logits",), self.before_attention(self.layers), self.layers


def ends(edge: str) -> tuple[str, str]:
    """Source and reader of `SRC->DST`. Raises ValueError if it is no edge's name."""
    source, arrow, reader = edge.partition("->")
    if not (source and arrow and reader):
        raise ValueError(f"{edge!r} is not an edge: it should read SRC->DST, as in a0.h1->m2")
    return source, reader


def mlp_layer(edge: str) -> int | None:
    """The layer whose MLP this edge enters, or None where it enters something else."""
    _, arrow, reader = edge.rpartition("->")
    return _layer_of(reader) if arrow else None


@lru_cache(maxsize=65536)
def _layer_of(reader: str) -> int | None:
    # A graph has thousands of edges for each reader, and a run is judged in a third of a second.
    match = _MLP_READER.fullmatch(reader)
    return int(match.group(1)) if match else None
