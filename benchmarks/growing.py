"""The stages whose growth `benchmarks/growth.py` measures, on Llamas of a few million random weights.

What grows is counted so that linear work has the exponent 1: a wider model is counted by its weights, not its width.
Attribution's edges grow as the layers' square, so its layers are few enough for the forward passes to count.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_8b import drawn, made, train
from benchmarks.scaling import Shape
from benchmarks.scoring import Invented, make_tokenizer
from tests.oracles.made_scores import BASE, CANDIDATE, made_run, made_score, made_task, ones
from unlearn_guard.attribution.eap_ig import attribute
from unlearn_guard.attribution.prompts import Pair
from unlearn_guard.comparing.leaderboard import write_leaderboard
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.judging.derive import derive
from unlearn_guard.quantizers.drift import measure
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.records import Checkpoint, Role
from unlearn_guard.registry import quantizer
from unlearn_guard.runs.directory import write_run
from unlearn_guard.scoring.lm import GuardLM
from unlearn_guard.scoring.tokens import Tokens

Work = Callable[[], Any]
SMALL = Shape(name="small", vocabulary=2048, width=128, hidden=384, layers=2, heads=4, groups=2, size=32)
PLACEMENT = Placement(device_map="cpu", dtype=torch.float32)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Work at several sizes of what grows; `prepare` is not timed."""

    name: str
    axis: str
    prepare: Callable[[int, Path], Work]
    sizes: tuple[int, ...]
    units: Callable[[int], int] = field(default=lambda size: size)


def deep(size: int) -> Shape:
    return replace(SMALL, layers=size)


def wide(size: int) -> Shape:
    """Heads of 32, so that more of them make it wider."""
    return replace(SMALL, width=size, hidden=3 * size, heads=size // 32, groups=size // 64)


def worded(size: int) -> Shape:
    return replace(SMALL, vocabulary=size)


def scoring(shape: Shape, items: int) -> Work:
    asked = Invented(shape.vocabulary).requests("worded", items)
    lm = GuardLM(made(shape, "cpu"), Tokens(make_tokenizer(shape.vocabulary)), batch_size=16, precision="full")
    return lambda: lm.loglikelihood(asked, disable_tqdm=True)


def attributing(shape: Shape, pairs: int) -> Work:
    model, ids = made(shape, "cpu"), drawn(shape, 2 * pairs, 40)
    both = [
        Pair(clean=one, corrupted=other, target=5, wrong=(6, 7, 8), where="drawn")
        for one, other in zip(ids[::2], ids[1::2], strict=True)
    ]
    return lambda: attribute(model, both, steps=2)


def unlearning(shape: Shape, steps: int) -> Work:
    model = made(shape, "cpu")
    return lambda: train(model, shape, steps)


def _saved(shape: Shape, folder: Path) -> tuple[Checkpoint, Checkpoint]:
    """A model and itself with an update of a hundredth."""
    model = made(shape, "cpu")
    model.save_pretrained(folder / "base")
    with torch.no_grad():
        for each in model.parameters():
            each.add_(torch.randn_like(each) * each.std() / 100)
    model.save_pretrained(folder / "candidate")
    return Checkpoint(path=folder / "base", digest="0" * 64), Checkpoint(path=folder / "candidate", digest="1" * 64)


def opening(shape: Shape, folder: Path) -> Work:
    base, _ = _saved(shape, folder)
    return lambda: open_checkpoint(base.path, seal_in=folder / "sealed", tokenizer=False)


def weighing(shape: Shape, folder: Path) -> Work:
    base, candidate = _saved(shape, folder)
    return lambda: measure(base, candidate, lambda _: None, "cpu")


def quantizing(name: str, shape: Shape, folder: Path) -> Work:
    base, _ = _saved(shape, folder)
    maker, places = quantizer(name), count()

    def quantize() -> None:
        out = folder / f"{name}-{next(places)}"
        out.mkdir()
        maker.quantize(base, Calibration(texts=()), out, PLACEMENT)

    return quantize


def judging(items: int, formats: Sequence[str]) -> Work:
    task = made_task(items)
    known, lost = ones(items * 9 // 10, items), ones(items // 5, items)
    scores = [made_score(task, known, BASE), *(made_score(task, lost, precision=each) for each in ("full", *formats))]
    return lambda: derive(scores, base=BASE, candidate=CANDIDATE, seed=0)


def ranking(methods: int, folder: Path) -> Work:
    for number in range(methods):
        subject = f"sha256:{number}"
        run, scores = made_run(scores=_of(subject), subject=subject)
        write_run(
            replace(run, candidate=replace(run.candidate, method=f"method{number}")), scores, folder / f"{number}"
        )
    return lambda: write_leaderboard([folder], folder.with_name(f"{folder.name}-site"))


def _of(subject: str) -> tuple[Any, ...]:
    forget, kept = made_task(100), made_task(60, "retain_task", Role.RETAIN)
    return (
        made_score(forget, ones(90, 100), BASE),
        *(made_score(forget, ones(20, 100), subject, precision) for precision in ("full", "nf4")),
        *(made_score(kept, ones(57, 60), each) for each in (BASE, subject)),
    )


def formats(size: int) -> list[str]:
    return [f"format{number}" for number in range(size)]


DEEP, WIDE, WORDS = (2, 4, 8, 16), (128, 192, 256, 384), (4096, 8192, 16384, 32768)
HEAD = "vocabulary"
WEIGHTS = "weights, by width"
LAYERS = "layers"


def _weights(size: int) -> int:
    return wide(size).parameters


STAGES = (
    Stage(name="score", axis="items", prepare=lambda n, _: scoring(SMALL, n), sizes=(50, 100, 200, 400)),
    Stage(name="score", axis=LAYERS, prepare=lambda n, _: scoring(deep(n), 50), sizes=DEEP),
    Stage(name="score", axis=WEIGHTS, prepare=lambda n, _: scoring(wide(n), 50), sizes=WIDE, units=_weights),
    Stage(name="score", axis=HEAD, prepare=lambda n, _: scoring(worded(n), 50), sizes=WORDS),
    Stage(name="attribute", axis="pairs", prepare=lambda n, _: attributing(SMALL, n), sizes=(4, 8, 16, 32)),
    Stage(name="attribute", axis=LAYERS, prepare=lambda n, _: attributing(deep(n), 4), sizes=DEEP),
    Stage(name="attribute", axis=WEIGHTS, prepare=lambda n, _: attributing(wide(n), 4), sizes=WIDE, units=_weights),
    Stage(name="attribute", axis=HEAD, prepare=lambda n, _: attributing(worded(n), 4), sizes=WORDS),
    Stage(name="unlearn", axis="steps", prepare=lambda n, _: unlearning(SMALL, n), sizes=(1, 2, 4, 8)),
    Stage(name="unlearn", axis=LAYERS, prepare=lambda n, _: unlearning(deep(n), 1), sizes=DEEP),
    Stage(name="unlearn", axis=WEIGHTS, prepare=lambda n, _: unlearning(wide(n), 1), sizes=WIDE, units=_weights),
    Stage(name="unlearn", axis=HEAD, prepare=lambda n, _: unlearning(worded(n), 1), sizes=WORDS),
    Stage(name="open", axis=LAYERS, prepare=lambda n, folder: opening(deep(n), folder), sizes=DEEP),
    Stage(name="open", axis=WEIGHTS, prepare=lambda n, folder: opening(wide(n), folder), sizes=WIDE, units=_weights),
    Stage(name="compare", axis=LAYERS, prepare=lambda n, folder: weighing(deep(n), folder), sizes=DEEP),
    Stage(
        name="compare", axis=WEIGHTS, prepare=lambda n, folder: weighing(wide(n), folder), sizes=WIDE, units=_weights
    ),
    Stage(name="nf4", axis=LAYERS, prepare=lambda n, folder: quantizing("nf4", deep(n), folder), sizes=DEEP),
    Stage(name="rtn4", axis=LAYERS, prepare=lambda n, folder: quantizing("rtn4", deep(n), folder), sizes=DEEP),
    Stage(name="judge", axis="items", prepare=lambda n, _: judging(n, formats(2)), sizes=(500, 1000, 2000, 4000)),
    Stage(name="judge", axis="formats", prepare=lambda n, _: judging(200, formats(n)), sizes=(2, 4, 8, 16)),
    Stage(name="leaderboard", axis="methods", prepare=ranking, sizes=(4, 8, 16, 32)),
)
