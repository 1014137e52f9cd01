"""Time, peak memory and FLOP/s of each stage on a model of Llama-3.1-8B's shape: `python -m benchmarks.gpu_8b`.

Random weights made in place, questions of WMDP's length and number, pairs for CAD, an update for code flips, and steps
of MANSU's training. Without a GPU a small shape and few items, and the same table. FLOPs are benchmarks/scaling.py's.

    python -m benchmarks.gpu_8b [--items 1273] [--pairs 150] [--batch-size 32] [--layers 32] [--keep]
"""

import argparse
import gc
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from benchmarks.ledger import keep, peak
from benchmarks.llama import random_llama
from benchmarks.scaling import LLAMA_8B, Shape, attribution_flops, forward_flops, step_flops
from benchmarks.scoring import Invented, make_tokenizer
from unlearn_guard.attribution.eap_ig import attribute
from unlearn_guard.attribution.prompts import Pair
from unlearn_guard.quantizers.drift import PIECE
from unlearn_guard.quantizers.tally import Ratios, Tally
from unlearn_guard.scoring.lm import GuardLM
from unlearn_guard.scoring.tokens import Tokens
from unlearn_guard.unlearning.corpora import Corpora, Text
from unlearn_guard.unlearning.family import Start, retain_term
from unlearn_guard.unlearning.loop import Training, fit
from unlearn_guard.unlearning.losses import ascent
from unlearn_guard.unlearning.tensors import mlps

TOKENS = 148
SMALL = Shape(name="small", vocabulary=4096, width=128, hidden=384, layers=4, heads=4, groups=2, size=32)


class Table:
    """Stages as they end: seconds, peak bytes since the last, FLOPs where they are known."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.rows: dict[str, dict[str, float]] = {}
        print(f"{'stage':34}{'seconds':>10}{'peak GB':>10}{'TFLOP':>12}{'TFLOP/s':>10}", flush=True)

    def time(self, stage: str, work: Callable[[], Any], flops: int = 0) -> Any:
        gc.collect()
        cuda = self.device == "cuda"
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        begin = time.perf_counter()
        value = work()
        if cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
        held = torch.cuda.max_memory_allocated() if cuda else peak()
        self.rows[stage] = {"seconds": seconds, "peak": held, "flops": flops, "rate": flops / seconds}
        told = f"{flops / 1e12:12.3f}{flops / seconds / 1e12:10.3f}" if flops else ""
        print(f"{stage:34}{seconds:10.2f}{held / 1e9:10.2f}{told}", flush=True)
        return value


def made(shape: Shape, device: str) -> Any:
    with torch.device(device):
        model = random_llama(
            vocabulary=shape.vocabulary,
            width=shape.width,
            hidden=shape.hidden,
            layers=shape.layers,
            heads=shape.heads,
            groups=shape.groups,
            dtype=torch.bfloat16 if device == "cuda" else torch.float32,
        )
    return model.to(device)


def flips(model: Any, shape: Shape) -> float:
    """Of every linear weight against itself with an update of a hundredth: a share of codes."""
    device = next(model.parameters()).device
    tally = Tally(Ratios(device))
    for name, weight in model.named_parameters():
        if weight.dim() == 2 and ".layers." in name:
            for piece in weight.detach().view(-1).split(PIECE):
                tally.add(piece, piece + (piece.float() / 100 * torch.randn_like(piece.float())).to(piece.dtype))
    found = tally.drift("all")
    assert found.weights == shape.linears
    return found.flipped / found.weights


def drawn(shape: Shape, count: int, length: int) -> list[tuple[int, ...]]:
    ids = torch.randint(16, shape.vocabulary, (count, length), generator=torch.Generator().manual_seed(0))
    return [tuple(each) for each in ids.tolist()]


def train(model: Any, shape: Shape, steps: int) -> None:
    """Steps of MANSU's training: the MLPs of ten layers of 32, ascent, KL to base."""
    texts = tuple(Text(ids=ids, start=TOKENS // 2) for ids in drawn(shape, 16, TOKENS))
    corpora = Corpora(forget=texts[:8], retain=texts[8:])
    layers = tuple(range(max(1, round(shape.layers * 10 / 32))))
    start = Start(model=model, corpora=corpora, trained=mlps(model, layers))
    fit(
        model,
        corpora,
        Training(steps=steps, batch_size=4, checkpointing=True),
        trained=start.trained,
        forget=lambda asked: ascent(start.score(asked)),
        retain=retain_term(start, "kl"),
        seed=0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int)
    parser.add_argument("--pairs", type=int)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = LLAMA_8B if device == "cuda" else SMALL
    shape = replace(shape, layers=given.layers or shape.layers)
    items, pairs = (given.items or (1273 if device == "cuda" else 40), given.pairs or (150 if device == "cuda" else 4))
    print(f"{shape.name}, {shape.parameters / 1e9:.3f} B weights, {items} questions, {pairs} pairs, on {device}")
    table = Table(device)
    model = table.time("make the model", lambda: made(shape, device))
    tokens = Tokens(make_tokenizer(shape.vocabulary))
    asked = Invented(shape.vocabulary).requests("lettered", items)
    lm = GuardLM(model, tokens, batch_size=given.batch_size, precision="full")
    lm.loglikelihood(asked[: 4 * given.batch_size])
    flops = forward_flops(shape, rows=items, tokens=TOKENS + 2, scored=1)
    table.time(f"score {items} questions", lambda: lm.loglikelihood(asked), flops)
    ids = drawn(shape, 2 * pairs, TOKENS)
    both = [
        Pair(clean=one, corrupted=other, target=5, wrong=(6, 7, 8), where="drawn")
        for one, other in zip(ids[::2], ids[1::2], strict=True)
    ]
    flops = attribution_flops(shape, pairs=pairs, tokens=TOKENS, steps=5)
    table.time(f"attribute {pairs} pairs", lambda: attribute(model, both, steps=5), flops)
    table.time("code flips", lambda: flips(model, shape))
    flops = given.steps * (
        step_flops(shape, rows=4, tokens=TOKENS, scored=TOKENS // 2, base=False)
        + step_flops(shape, rows=4, tokens=TOKENS, scored=TOKENS // 2, base=True)
    )
    table.time(f"{given.steps} steps of MANSU's training", lambda: train(model, shape, given.steps), flops)
    if given.keep:
        print(keep("gpu_8b" if device == "cuda" else "gpu_8b_small", {"shape": shape.name, "stages": table.rows}))


if __name__ == "__main__":
    main()
