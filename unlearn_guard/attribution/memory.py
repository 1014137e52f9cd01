"""What attribution needs in memory, from a model's config alone. No torch.

docs/attribution.md derives the counts; tests/attribution/test_memory.py holds them against what the allocator saw.
"""

from dataclasses import dataclass
from typing import Any

from unlearn_guard.attribution.graph import EdgeSet, Graph
from unlearn_guard.errors import UsageError

POSITION_BLOCK_BYTES = 1 << 20
"""What one layer's readers and heads may take when written out, or a quarter of its read weights, if that is more."""
LEAST_BUDGET = 12 << 20
"""The automatic choice of rows may always use this much: below, a model's own code and buffers weigh more."""
WEIGHTS_PER_BUDGET = 16
"""The automatic choice of rows may use one part in sixteen of the model's weights."""
_FP32 = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes beyond the model's weights, at the peak."""

    activations: int  # of the rows that run together: what enters each layer, and all of the layer that is replayed
    sources: int  # dA in projected form
    scores: int  # of the batch, on the CPU
    scratch: int  # one fp32 copy of o_proj and one gradient brought to the heads

    @property
    def total(self) -> int:
        """Peak bytes on the device."""
        return self.activations + self.sources + self.scratch


def memory(
    config: Any, *, tokens: int, rows: int, steps: int, edges: EdgeSet = EdgeSet.MLP, dtype_bytes: int = 2
) -> Memory:
    """Bytes beyond the weights for prompts of `tokens` tokens, with `attribute`'s `rows` and `steps`, and SDPA."""
    if min(tokens, rows, steps, dtype_bytes) < 1:
        raise UsageError("tokens, rows, steps and dtype_bytes are all at least 1")
    width, depth, heads = config.hidden_size, config.num_hidden_layers, config.num_attention_heads
    size = getattr(config, "head_dim", None) or width // heads
    batch = max(1, rows // steps)
    running = batch * min(steps, max(1, rows // batch))
    entered = (depth + 2) * width * dtype_bytes  # and what leaves the last layer, and its gradient
    norms = 2 * width * _FP32
    attention = 4 * heads * size * dtype_bytes  # q, the output, and k, v repeated to every head
    mlp = 3 * config.intermediate_size * dtype_bytes  # gate, act(gate), up, and later a gradient of each
    graph = Graph(layers=depth, heads=heads, groups=config.num_key_value_heads)
    reading = 0
    if edges is EdgeSet.ALL:
        attention += (heads + 2 * graph.groups) * size * dtype_bytes
        reading = _reading(graph, width, size, batch * tokens)
    running *= tokens
    activations = (entered + norms + attention) * running + max((2 * mlp + norms) * running, reading)
    written = _FP32 * batch * tokens * (width + depth * (heads * size + width))
    count = sum(block.edges for block in graph.blocks(edges))
    scratch = _FP32 * (width * heads * size + batch * tokens * (heads * size + width))
    return Memory(activations=activations, sources=written, scores=_FP32 * batch * count, scratch=scratch)


def _reading(graph: Graph, width: int, size: int, tokens: int) -> int:
    """Queries', keys' and values' weights in fp32, and what is written out of their readers at a time."""
    readers = graph.heads + 2 * graph.groups
    weights = _FP32 * readers * size * width
    block = min(_FP32 * tokens * width * (readers + graph.heads), max(POSITION_BLOCK_BYTES, weights // 4))
    return weights + max(weights, 3 * block // 2)


def rows_within(
    config: Any, budget: int, *, tokens: int, steps: int, edges: EdgeSet = EdgeSet.MLP, dtype_bytes: int = 2
) -> int:
    """The largest `rows`, in whole items while one fits, whose peak stays within `budget` bytes.

    Raises UsageError where not even one row fits.
    """

    def fits(rows: int) -> bool:
        found = memory(config, tokens=tokens, rows=rows, steps=steps, edges=edges, dtype_bytes=dtype_bytes)
        return found.total <= budget

    if not fits(1):
        raise UsageError(f"one prompt of {tokens} tokens needs more than {budget} bytes beyond the model; shorten it")
    low, high = 1, 2
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low if low < steps else low - low % steps


def automatic_rows(
    config: Any, weights: int, *, tokens: int, steps: int, edges: EdgeSet = EdgeSet.MLP, dtype_bytes: int = 2
) -> int:
    """Rows that cost a sixteenth of the weights' bytes at most, or 12 MiB, if that is more; 1 where none fit."""
    budget = max(LEAST_BUDGET, weights // WEIGHTS_PER_BUDGET)
    needed = memory(config, tokens=tokens, rows=1, steps=steps, edges=edges, dtype_bytes=dtype_bytes).total
    if needed > budget:
        return 1
    return rows_within(config, budget, tokens=tokens, steps=steps, edges=edges, dtype_bytes=dtype_bytes)
