"""What attribution needs in memory, from a model's config alone. No torch.

docs/attribution.md derives the counts; tests/attribution/test_memory.py holds them against what the allocator saw.
"""

from dataclasses import dataclass
from typing import Any

from unlearn_guard.attribution.graph import EdgeSet, Graph
from unlearn_guard.errors import UsageError

_FP32 = 4
TRANSIENTS = 1.0
"""Sublayer-sized temporaries of the backward pass, in units of one layer's saved activations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes beyond the model's weights, at the peak."""

    activations: int  # what autograd keeps for the rows that run together, and one layer's temporaries
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
    norms = 2 * width * _FP32
    attention = 4 * heads * size * dtype_bytes  # q, the output, and k, v repeated to every head
    mlp = 3 * config.intermediate_size * dtype_bytes
    kept = (norms + attention + mlp) * running * tokens
    if edges is EdgeSet.ALL:
        kept += (heads + 2 * config.num_key_value_heads) * size * dtype_bytes * running * tokens
    written = _FP32 * batch * tokens * (width + depth * (heads * size + width))
    graph = Graph(layers=depth, heads=heads, groups=config.num_key_value_heads)
    count = sum(block.edges for block in graph.blocks(edges))
    scratch = _FP32 * (width * heads * size + batch * tokens * (heads * size + width))
    return Memory(
        activations=int(kept * (depth + TRANSIENTS)), sources=written, scores=_FP32 * batch * count, scratch=scratch
    )


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
