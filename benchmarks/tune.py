"""The search for every method's hyperparameters on the embedded organism: as many tries for each, judged alike.

    python -m benchmarks.tune --work DIR [--jobs 2] [--only mansu,npo] [--tries 6] [--seeds 0,1] [--write PAGE]

A method's tries are the setting found by hand and then draws from its space, each judged by the whole policy with
every seed. A try that forgets goes before one that does not, as else the best would often be not to train; then comes
the one whose worst seed breaks fewer limits, then what breaks them by less, then what has more room under all. A try is
given up at the seed with which it falls behind the best so far in the first two.
What is in DIR already is not tried again: take a new one after a change of the code. `--write` puts the table between
the page's two marks.
"""

import argparse
import itertools
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import inf
from pathlib import Path

from benchmarks.methods import Row, ablate, base, between, found, table

Point = Mapping[str, float | str]
"""Some hyperparameters and their values."""


def one_of(key: str, *values: float | str) -> tuple[Point, ...]:
    """A hyperparameter's values to choose from."""
    return tuple({key: value} for value in values)


def margins(*pairs: tuple[float, float]) -> tuple[Point, ...]:
    """SimPO's `beta` and `gamma` to choose from together, as gamma / beta is the margin in nats that is asked for."""
    return tuple({"beta": beta, "gamma": gamma} for beta, gamma in pairs)


SPACES: Mapping[str, tuple[tuple[Point, ...], ...]] = {
    "mansu": (
        margins((1, 4), (1, 6), (4, 12), (4, 16)),
        one_of("retain", 5, 8, 12, 20),
        one_of("k", 5, 6),
        one_of("share", 0.2, 0.3, 0.4),
        one_of("tau", 0.7, 0.8, 0.9),
    ),
    "global_ga": (one_of("lr", 1e-4, 3e-4, 1e-3, 3e-3), one_of("steps", 10, 30, 60)),
    "surgical_ga": (one_of("lr", 1e-3, 3e-3, 1e-2), one_of("steps", 10, 30, 60)),
    "npo": (one_of("lr", 1e-3, 3e-3, 5e-3), one_of("retain", 1, 2.5, 5), one_of("beta", 0.05, 0.1, 0.3)),
    "simnpo": (
        one_of("lr", 1e-3, 3e-3, 5e-3),
        one_of("retain", 1, 2.5, 5),
        one_of("beta", 2.5, 4.5),
        one_of("gamma", 0, 1),
    ),
    "gu_simnpo": (
        one_of("lr", 3e-3, 1e-2),
        one_of("retain", 0.3, 1, 2.5, 5),
        one_of("beta", 2.5, 4.5),
        one_of("gamma", 0, 1),
    ),
    "lunar": (one_of("layer", 11, 16, 22), one_of("shift", 2, 4, 8), one_of("epochs", 8, 20)),
    "grad_diff": (one_of("lr", 1e-3, 3e-3, 5e-3), one_of("retain", 1, 2.5, 5, 10)),
    "rmu": (one_of("lr", 3e-3, 1e-2, 3e-2), one_of("alpha", 0.1, 0.3, 1), one_of("c", 20, 50, 100)),
    "sure": (
        one_of("lr", 3e-3, 1e-2),
        one_of("retain", 1, 2, 5),
        one_of("percentile", 90, 95),
        one_of("over", "npo", "simnpo"),
    ),
    "gu": (one_of("lr", 3e-4, 1e-3, 3e-3), one_of("retain", 0.3, 1, 5), one_of("steps", 30, 60, 150)),
    "dpo": (one_of("lr", 1e-3, 3e-3, 5e-3), one_of("retain", 1, 2.5, 5, 10), one_of("beta", 0.05, 0.1, 0.3)),
    "simpo": (
        one_of("lr", 1e-3, 3e-3, 5e-3),
        margins((1, 3), (1, 5), (4, 12), (4, 16)),
        one_of("retain", 5, 8, 12, 20),
    ),
    "undial": (one_of("lr", 1e-3, 3e-3), one_of("retain", 1, 2.5, 5), one_of("beta", 5, 10, 20)),
    "wga": (one_of("lr", 1e-3, 3e-3, 5e-3), one_of("retain", 1, 2, 5), one_of("beta", 0.5, 1, 2)),
}
"""What is drawn from, by method, one point of each: round the settings found by hand."""

BY_HAND: Mapping[str, Point] = {
    "mansu": {"beta": 4, "gamma": 16, "retain": 8, "k": 5, "share": 0.3, "tau": 0.8},
    "global_ga": {"lr": 1e-3, "steps": 30},
    "surgical_ga": {"lr": 3e-3, "steps": 30},
    "npo": {"lr": 3e-3, "retain": 5, "beta": 0.1},
    "simnpo": {"lr": 3e-3, "retain": 1, "beta": 4.5, "gamma": 0},
    "gu_simnpo": {"lr": 1e-2, "retain": 1, "beta": 4.5, "gamma": 0},
    "lunar": {"layer": 11, "shift": 8, "epochs": 8},
    "grad_diff": {"lr": 3e-3, "retain": 5},
    "rmu": {"lr": 1e-2, "alpha": 0.3, "c": 100},
    "sure": {"lr": 1e-2, "retain": 2, "percentile": 95, "over": "npo"},
    "gu": {"lr": 1e-3, "retain": 1, "steps": 60},
    "dpo": {"lr": 1e-3, "retain": 5, "beta": 0.1},
    "simpo": {"lr": 3e-3, "beta": 1, "gamma": 3, "retain": 5},
    "undial": {"lr": 3e-3, "retain": 1, "beta": 10},
    "wga": {"lr": 3e-3, "retain": 2, "beta": 1},
}
"""The first try of each: where the searches by hand of docs/log/ ended."""


@dataclass(frozen=True, slots=True, order=True)
class Score:
    """How a try was judged, less is better.

    Forgetting limits broken in full precision; limits broken, and by how much in sum; minus the least relative room.
    """

    unforgotten: float = inf
    broken: float = inf
    short: float = inf
    cramped: float = inf

    @property
    def behind(self) -> tuple[float, float]:
        """What a try is given up by."""
        return self.unforgotten, self.broken


@dataclass(frozen=True, slots=True)
class Try:
    """One setting of a method and what its seeds came to, in their order; fewer than asked where it was given up."""

    row: Row
    seeds: tuple[Score, ...]
    asked: int

    @property
    def score(self) -> Score:
        """The worst seed's, each figure for itself; the worst of all where a seed is missing."""
        if len(self.seeds) < self.asked:
            return Score()
        return Score(*(max(getattr(each, name) for each in self.seeds) for name in Score.__slots__))


def judged(run: Mapping[str, object]) -> Score:
    """A run's score. A limit of 0 has no relative room and counts for the other figures alone."""
    checks = run["checks"]
    assert isinstance(checks, list)
    room = [check["margin"] / abs(limit) for check in checks if (limit := _limit(check))]
    broken = [check for check in checks if check["outcome"] != "passed"]
    kept = [check for check in broken if (check["metric"], check["precision"]) == ("forget_drop", "full")]
    return Score(len(kept), len(broken), sum(abs(check["margin"]) for check in broken), -min(room))


def _limit(check: Mapping[str, float | None]) -> float:
    limit = check["at_least"] if check["at_most"] is None else check["at_most"]
    assert limit is not None
    return limit


def draws(name: str, tries: int) -> Iterator[Row]:
    """What to try: the setting found by hand, then others of the space in an order drawn by the method's name."""
    points = [dict(itertools.chain(*(part.items() for part in parts))) for parts in itertools.product(*SPACES[name])]
    random.Random(name).shuffle(points)
    others = (point for point in points if point != BY_HAND[name])
    for point in itertools.islice(itertools.chain([BY_HAND[name]], others), tries):
        settings = tuple(f"{key}={value}" for key, value in point.items())
        yield Row(", ".join(settings), name, settings)


def search(rows: list[Row], seeds: tuple[int, ...], work: Path, jobs: int) -> list[Try]:
    """Every try of a method, in their order."""
    made: list[Try] = []
    for row in rows:
        scores: list[Score] = []
        best = min((one.score.behind for one in made), default=Score().behind)
        for seed in seeds:
            if "error" in found(row, work, seed):
                ablate(row, work, jobs, seed)
            run = found(row, work, seed).get("run")
            scores.append(judged(run) if isinstance(run, dict) else Score())
            if scores[-1].behind > best:
                break
        made.append(Try(row, tuple(scores), len(seeds)))
        print(f"{row.method} | {row.label} | {line(made[-1])}", flush=True)
    return made


def line(one: Try) -> str:
    """What each seed came to, in words."""
    return " · ".join(_words(each) for each in one.seeds)


def _words(score: Score) -> str:
    if score == Score():
        return "failed"
    if score.unforgotten:
        return f"{score.broken:.0f} broken, not forgotten"
    return f"{score.broken:.0f} broken" if score.broken else f"held, room {-score.cramped:.2f}"


def markdown(made: Mapping[str, list[Try]]) -> str:
    """One table of all tries, the best of each method in bold."""
    rows = []
    for name, tries in made.items():
        best = min(tries, key=lambda each: each.score)
        for each in tries:
            label = f"**{each.row.label}**" if each is best else each.row.label
            rows.append([name, label, line(each)])
    return table(["method", "setting", "limits, by seed"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--tries", type=int, default=6)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    base(given.work)
    methods = [name for name in SPACES if not given.only or name in given.only.split(",")]
    seeds = tuple(int(each) for each in given.seeds.split(","))
    drawn = {name: list(draws(name, given.tries)) for name in methods}
    with ThreadPoolExecutor(given.jobs) as pool:
        tried = pool.map(lambda name: search(drawn[name], seeds, given.work, given.jobs), methods)
        made = dict(zip(methods, tried, strict=True))
    print(markdown(made))
    if given.write:
        between(given.write, "python -m benchmarks.tune", markdown(made))


if __name__ == "__main__":
    main()
