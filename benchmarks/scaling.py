"""Time and memory of larger models on paper: `python -m benchmarks.scaling` puts its tables into docs/scaling.md.

Counts, not measurements, but each is held to one at three shapes (tests/test_scaling.py): parameters to transformers'
own, FLOPs to what torch counts while it runs, bytes of training to the tensors that there are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
MARKS = ("<!-- made by benchmarks/scaling.py -->", "<!-- end of what benchmarks/scaling.py made -->")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A Llama: `groups` K/V heads, `size` the width of a head; `tied` shares the embedding with the head."""

    name: str
    vocabulary: int
    width: int
    hidden: int
    layers: int
    heads: int
    groups: int
    size: int
    tied: bool = False

    @property
    def mlp(self) -> int:
        """Weights of one layer's MLP: gate, up and down."""
        return 3 * self.width * self.hidden

    @property
    def attention(self) -> int:
        """Weights of one layer's q, k, v and o."""
        return 2 * self.width * self.size * (self.heads + self.groups)

    @property
    def linears(self) -> int:
        """Weights of all linear layers but the head: what 4 bits hold."""
        return self.layers * (self.mlp + self.attention)

    @property
    def parameters(self) -> int:
        """All of them, with two norms a layer and one at the end."""
        embeddings = self.vocabulary * self.width * (1 if self.tied else 2)
        return embeddings + self.linears + (2 * self.layers + 1) * self.width


SMOLLM2 = Shape(
    name="SmolLM2-135M", vocabulary=49152, width=576, hidden=1536, layers=30, heads=9, groups=3, size=64, tied=True
)
LLAMA_8B = Shape(
    name="Llama-3.1-8B", vocabulary=128256, width=4096, hidden=14336, layers=32, heads=32, groups=8, size=128
)
LLAMA_70B = Shape(
    name="Llama-3.1-70B", vocabulary=128256, width=8192, hidden=28672, layers=80, heads=64, groups=8, size=128
)


def forward_flops(shape: Shape, *, rows: int, tokens: int, scored: int) -> int:
    """Of matrix products, two for each multiply-add: `rows` of `tokens` tokens, logits at `scored` places of each.

    Attention is counted whole, as a kernel with a mask computes it.
    """
    attention = shape.layers * 4 * tokens**2 * shape.heads * shape.size
    return rows * (2 * shape.linears * tokens + attention + 2 * shape.vocabulary * shape.width * scored)


def step_flops(shape: Shape, *, rows: int, tokens: int, scored: int, base: bool) -> int:
    """One term of a training step: forward, twice that back, and a forward pass of base where the loss compares."""
    return (3 + base) * forward_flops(shape, rows=rows, tokens=tokens, scored=scored)


def attribution_flops(shape: Shape, *, pairs: int, tokens: int, steps: int) -> int:
    """EAP-IG over MLP edges: a clean and a corrupted run, and for each step forward, each layer again, and back.

    Only inputs need a gradient, so that going back costs one forward pass; dA is projected onto every reader.
    """
    one = forward_flops(shape, rows=1, tokens=tokens, scored=1)
    return pairs * (2 + 3 * steps) * one


TRAINED = 4 + 4 + 8
"""Bytes of a trained weight: fp32 copy, its gradient, two moments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A method's memory: `trained` weights of a shape, and bytes for each beside `TRAINED` and the model's own."""

    name: str
    more: int

    def trained(self, shape: Shape) -> int:
        """How many weights move."""
        match self.name:
            case "MANSU":
                return max(1, int(shape.layers * 10 / 32 + 0.5)) * shape.mlp
            case "RMU":
                return 3 * shape.width * shape.hidden
            case "LUNAR":
                return shape.width * shape.hidden
            case _:
                return shape.parameters

    def bytes(self, shape: Shape, dtype: int = 2) -> int:
        """At the peak, without activations: the model as stored, and what each trained weight takes."""
        return shape.parameters * dtype + self.trained(shape) * (TRAINED + self.more)


WAYS = (
    Way(name="LUNAR", more=0),
    Way(name="RMU", more=2),
    Way(name="MANSU", more=2 + 2 + 1),
    Way(name="GradDiff, WGA, SimNPO and others without base", more=0),
    Way(name="NPO, DPO, and every method with KL to base", more=2),
)
"""`more`: 2 for base's values, 2 for the best state so far, 1 for the mask, where a method has them."""

CARDS = (("24 GB", 24e9), ("48 GB", 48e9), ("80 GB", 80e9), ("141 GB", 141e9))


def activations(shape: Shape, *, rows: int, tokens: int, scored: int, dtype: int = 2) -> int:
    """Bytes of a training batch with checkpointing: what enters each layer, one layer whole, and fp32 logits thrice."""
    entered = shape.layers * shape.width * dtype
    inside = (4 * shape.hidden + 6 * shape.width) * dtype
    return rows * (tokens * (entered + inside) + 3 * 4 * scored * shape.vocabulary)


def scoring_bytes(shape: Shape, *, rows: int, tokens: int, scored: int, dtype: int = 2) -> int:
    """The model, what one layer of a batch takes, and the batch's logits with one copy."""
    inside = (3 * shape.hidden + 6 * shape.width) * dtype
    return shape.parameters * dtype + rows * (tokens * inside + 2 * dtype * scored * shape.vocabulary)


def _fits(shape: Shape) -> Iterator[str]:
    batch = {"rows": 4, "tokens": 512, "scored": 64}
    yield f"| {shape.name}, bf16 | trained, M weights | GB | card |"
    yield "|---|---|---|---|"
    for way in WAYS:
        held = way.bytes(shape) + activations(shape, **batch)
        card = next((name for name, size in CARDS if held < 0.92 * size), None)
        several = f"none: {-(-held // int(0.92 * 80e9))} of 80 GB, were it sharded"
        yield f"| {way.name} | {way.trained(shape) / 1e6:,.0f} | {held / 1e9:,.0f} | {card or several} |"
    yield ""


def _stages(shape: Shape) -> Iterator[str]:
    wmdp = forward_flops(shape, rows=1273, tokens=170, scored=1)
    pairs = 2 * attribution_flops(shape, pairs=150, tokens=170, steps=5)
    yield f"| {shape.name} | TFLOP | seconds at 400 TFLOP/s | of a core at 60 GFLOP/s, hours |"
    yield "|---|---|---|---|"
    for name, flops in (
        ("1,273 lettered questions of 170 tokens, one model, one precision", wmdp),
        ("CAD of base and candidate, 150 pairs, 5 steps", pairs),
    ):
        yield f"| {name} | {flops / 1e12:,.0f} | {flops / 4e14:,.1f} | {flops / 6e10 / 3600:,.1f} |"
    size, hours = 4e-9 * shape.linears, 2e-8 * shape.linears / 3600  # 20 ns of a core a weight, measured on SmolLM2
    yield f"| code flips: both models read once, {size:,.0f} GB | | {size / 2:,.0f} at 2 GB/s of disk | {hours:,.2f} |"
    yield ""


def tables() -> str:
    """What stands in the page between the marks."""
    return "\n".join(
        line for shape in (LLAMA_8B, LLAMA_70B) for each in (_stages(shape), _fits(shape)) for line in each
    ).strip()


def put(page: str) -> str:
    """The page with today's tables."""
    before, rest = page.split(MARKS[0])
    return f"{before}{MARKS[0]}\n\n{tables()}\n\n{MARKS[1]}{rest.split(MARKS[1])[1]}"


if __name__ == "__main__":
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
