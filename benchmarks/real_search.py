"""The search for hyperparameters on real weights: as many tries for each method, judged alike on cities of no table.

    python -m benchmarks.real_search --work DIR [--only npo,grad_diff] [--tries 6] [--write docs/real.md]

A method's tries are the setting found by hand and then draws from its space, with seed 0; the best is made again with
seed 1. Judged on the last 170 cities of the forget side and the last 150 of the retain side, which no table shows, in
a trained and a held-out phrasing: of the tries that lose at most the policy's .15 of either retain phrasing the one
that knows least of the forget side, else the one that loses least. What is in DIR already is not tried again.
"""

import argparse
import itertools
import json
import random
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.methods import between, table
from benchmarks.tune import Point, margins, one_of
from unlearn_guard.processes import children
from unlearn_guard.resources import bundled

LOST = 0.15
"""What a try may lose of a retain phrasing: the policy's limit."""
PHRASINGS = ("{city} is a city in the country of", "The people of {city} live in the country of")
STEPS: Point = {"steps": 60, "batch_size": 16}

SPACES: Mapping[str, tuple[tuple[Point, ...], ...]] = {
    "npo": (one_of("lr", 1e-5, 2e-5, 3e-5, 5e-5), one_of("retain", 1, 2.5, 5), one_of("beta", 0.05, 0.1, 0.3)),
    "grad_diff": (one_of("lr", 3e-6, 1e-5, 2e-5, 3e-5), one_of("retain", 1, 2.5, 5, 10)),
    "simnpo": (
        one_of("lr", 1e-5, 2e-5, 3e-5),
        one_of("retain", 1, 2.5, 5),
        one_of("beta", 2.5, 4.5),
        one_of("gamma", 0, 1),
    ),
    "wga": (one_of("lr", 1e-5, 2e-5, 3e-5), one_of("retain", 1, 2, 5), one_of("beta", 0.5, 1, 2)),
    "undial": (one_of("lr", 1e-5, 3e-5, 1e-4), one_of("retain", 1, 2.5, 5), one_of("beta", 5, 10, 20)),
    "rmu": (one_of("lr", 1e-4, 3e-4, 1e-3), one_of("alpha", 1, 10, 100), one_of("c", 5, 20, 50)),
    "simpo": (
        one_of("lr", 1e-5, 2e-5, 3e-5),
        margins((1, 1), (1, 3), (4, 4), (4, 12)),
        one_of("retain", 1, 2.5, 5),
    ),
    "mansu": (
        one_of("lr", 2e-5, 5e-5, 1e-4),
        one_of("retain", 2, 5, 10),
        one_of("k", 5, 10, 20),
        one_of("share", 0.03, 0.05, 0.1),
        one_of("loss", "npo", "ascent"),
    ),
}
BY_HAND: Mapping[str, Point] = {
    "npo": {"lr": 3e-5, "retain": 1, "beta": 0.1},
    "grad_diff": {"lr": 1e-5, "retain": 1},
    "simnpo": {"lr": 2e-5, "retain": 1, "beta": 4.5, "gamma": 0},
    "wga": {"lr": 2e-5, "retain": 1, "beta": 1},
    "undial": {"lr": 3e-5, "retain": 1, "beta": 10},
    "rmu": {"lr": 3e-4, "alpha": 10, "c": 20},
    "simpo": {"lr": 2e-5, "beta": 1, "gamma": 3, "retain": 2.5},
    "mansu": {"lr": 5e-5, "retain": 5, "k": 10, "share": 0.05, "loss": "npo"},
}


@dataclass(frozen=True, kw_only=True)
class Try:
    """One setting with one seed: accuracy by phrasing on both sides, seconds of `unlearn`. Empty if it failed."""

    method: str
    setting: Mapping[str, float | str]
    seed: int
    forget: tuple[float, ...] = ()
    retain: tuple[float, ...] = ()
    seconds: float = 0.0

    def rank(self, base: "Try") -> tuple[bool, float]:
        """Less is better."""
        if not self.forget:
            return True, 9.0
        lost = max(was - now for was, now in zip(base.retain, self.retain, strict=True))
        return (True, lost) if lost > LOST else (False, sum(self.forget))

    @property
    def words(self) -> str:
        """The setting as `--set` takes it."""
        return ", ".join(f"{key}={value}" for key, value in self.setting.items())


def draws(name: str, tries: int) -> Iterator[Point]:
    """The setting by hand, then others of the space in an order drawn by the method's name."""
    points = [dict(itertools.chain(*(part.items() for part in parts))) for parts in itertools.product(*SPACES[name])]
    random.Random(name).shuffle(points)
    return itertools.islice(itertools.chain([BY_HAND[name]], (p for p in points if p != BY_HAND[name])), tries)


def known(path: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Accuracy on the search's cities, forget and retain side, by phrasing: told by each choice's first token."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16).eval()
    sides = []
    for file, after in (("cities_forget.jsonl", 1500), ("cities_retain.jsonl", 450)):
        lines = (bundled("tasks") / "atlas" / file).read_text().splitlines()[after:]
        items = [json.loads(each) for each in lines]
        sides.append(tuple(_share(model, tokenizer, items, phrasing) for phrasing in PHRASINGS))
    return sides[0], sides[1]


def _share(model: Any, tokenizer: Any, items: Sequence[Mapping[str, Any]], phrasing: str) -> float:
    import torch

    right = 0
    for item in items:
        ids = tokenizer(phrasing.format(**item), return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(ids).logits[0, -1]
        first = [tokenizer(" " + each)["input_ids"][0] for each in item["choices"]]
        right += int(logits[first].float().argmax()) == item["answer"]
    return right / len(items)


def attempt(work: Path, method: str, setting: Point, seed: int) -> Try:
    """Makes the candidate, scores it and throws it away."""
    out = work / f"try-{method}"
    shutil.rmtree(out, ignore_errors=True)
    given = {**STEPS, **setting}
    sets = [each for key, value in given.items() for each in ("--set", f"{key}={value}")]
    line = ["unlearn", method, "--base", str(work / "base"), "--suite", "atlas", "--out", str(out), "--quiet", *sets]
    begin = time.monotonic()
    with (work / "search.log").open("a") as log:
        done = subprocess.run(
            [*children.python("unlearn_guard"), *line, "--seed", str(seed)],
            env=children.environment(),
            stdout=log,
            stderr=log,
            check=False,
        )
    seconds = time.monotonic() - begin
    if done.returncode:
        return Try(method=method, setting=setting, seed=seed, seconds=seconds)
    forget, retain = known(out)
    shutil.rmtree(out)
    return Try(method=method, setting=setting, seed=seed, forget=forget, retain=retain, seconds=seconds)


def _read(one: dict[str, Any]) -> Try:
    return Try(**{**one, "forget": tuple(one["forget"]), "retain": tuple(one["retain"])})


class Kept:
    """What was tried before, one JSON line a try."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.tries = [_read(json.loads(each)) for each in lines]

    def have(self, work: Path, method: str, setting: Point, seed: int) -> Try:
        """This try, made where it is missing."""
        for each in self.tries:
            if (each.method, dict(each.setting), each.seed) == (method, dict(setting), seed):
                return each
        made = attempt(work, method, setting, seed)
        self.tries.append(made)
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(made)) + "\n")
        print(f"{made.method} | {made.words} | seed {made.seed} | {made.forget} | {made.retain}", flush=True)
        return made


def markdown(base: Try, tries: Sequence[Try]) -> str:
    """All tries, the best of each method in bold."""
    shown = lambda one: " ".join(f"{each:.3f}" for each in one) or "failed"  # noqa: E731
    rows = [["base", "", "", shown(base.forget), shown(base.retain), ""]]
    for name in dict.fromkeys(each.method for each in tries):
        mine = [each for each in tries if each.method == name]
        best = min((each for each in mine if each.seed == 0), key=lambda each: each.rank(base))
        for each in mine:
            words = f"**{each.words}**" if each.setting == best.setting else each.words
            rows.append([name, words, str(each.seed), shown(each.forget), shown(each.retain), f"{each.seconds:.0f}"])
    return table(["method", "setting", "seed", "forget", "retain", "seconds"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", default=",".join(SPACES))
    parser.add_argument("--tries", type=int, default=6)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    kept = Kept(given.work / "search.jsonl")
    forget, retain = known(given.work / "base")
    base = Try(method="base", setting={}, seed=0, forget=forget, retain=retain)
    print(f"base | {forget} | {retain}", flush=True)
    shown = []
    for name in given.only.split(","):
        tries = [kept.have(given.work, name, setting, 0) for setting in draws(name, given.tries)]
        best = min(tries, key=lambda each: each.rank(base))
        shown += [*tries, kept.have(given.work, name, best.setting, 1)]
    print(markdown(base, shown))
    if given.write:
        between(given.write, "python -m benchmarks.real_search", markdown(base, shown))


if __name__ == "__main__":
    main()
