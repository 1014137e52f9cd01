"""Made edge scores whose true CAD is known, and how often an interval holds it.

`python -m tests.attribution.noisy_scores 40` prints the table of docs/log/2026-11-27-cad-noise.md.
"""

import itertools
import sys

import numpy as np

from unlearn_guard.attribution.cad import corrected, measure
from unlearn_guard.attribution.circuit import Circuit
from unlearn_guard.attribution.scores import ItemScores

EDGES = tuple(f"a{i}.h{j}->m1" for i in range(2) for j in range(200))
OUTSIDE = tuple(edge.replace("m1", "m0") for edge in EDGES)
IN_M1 = Circuit(layers=(1,), masses=(1.0,), share=0.5)
WHERE = {"subject": "sha", "precision": "full", "task": "forget"}
NOISES = (1, 3, 6, 10)
SHAPES = {
    "exponential": lambda rng, n: rng.exponential(size=n),
    "normal": lambda rng, n: rng.normal(size=n),
    "alike": lambda rng, n: np.ones(n),
    "lognormal": lambda rng, n: rng.lognormal(0, 1.5, n) * rng.choice([-1, 1], n),
    "sparse": lambda rng, n: rng.normal(size=n) * (rng.random(n) < 0.2),
}


def item_scores(scores_NE, edges=EDGES):
    items = len(scores_NE)
    return ItemScores(
        edges=edges,
        scores_NE=scores_NE.astype(np.float32),
        clean_N=np.ones(items),
        corrupted_N=np.zeros(items),
        steps=5,
    )


def issue_scores(rng, noise, true=0.5, shape="exponential", candidate_noise=None, items=50, outside=None):
    """Base's items are scores with `noise` times the mean score; the candidate's are 1 - `true` of that, drawn anew.

    With `outside` as many edges of the same kind lie outside the circuit and change by that share.
    """
    shares = [np.full(len(EDGES), true)] + ([] if outside is None else [np.full(len(OUTSIDE), outside)])
    change_E = np.concatenate(shares)
    score_E = SHAPES[shape](rng, len(change_E))
    deviation = noise * np.abs(score_E).mean()
    left = np.abs(1 - change_E) if candidate_noise is None else candidate_noise
    drawn = rng.normal(size=(2, items, len(change_E)))
    edges = EDGES if outside is None else EDGES + OUTSIDE
    base, candidate = score_E + deviation * drawn[0], (1 - change_E) * score_E + left * deviation * drawn[1]
    return item_scores(base, edges), item_scores(candidate, edges)


def cell(noise, trials, level=0.95, seed=7, **made):
    """Coverage of the interval, its mean width, the mean value and corrected value, the noise ratio, trials without."""
    rng = np.random.default_rng(seed)
    true, held, widths, rows, without = made.get("true", 0.5), 0, [], [], 0
    for _ in range(trials):
        pair = issue_scores(rng, noise, **made)
        plain, (better, *_, ratio) = measure(*pair, IN_M1, **WHERE)[0], corrected(*pair, IN_M1, **WHERE)
        rows.append((plain.value, better.value, ratio.value))
        interval = plain.interval(level)
        if interval is None:
            without += 1
            continue
        held += interval.low <= true <= interval.high
        widths.append(interval.high - interval.low)
    return held / max(1, trials - without), float(np.mean(widths or [0])), *np.mean(rows, axis=0), without


if __name__ == "__main__":
    for true, shape, noise in itertools.product((0.5, 0.8, 1.2, 0.05, 0.0), SHAPES, (None, 1.0)):
        found = [cell(each, int(sys.argv[1]), true=true, shape=shape, candidate_noise=noise) for each in NOISES]
        cells = [f"{v:.2f} -> {c:.2f}, {h:.2f} / {w:.2f}{f' ({o} without)' if o else ''}" for h, w, v, c, _, o in found]
        print(f"| {true} | {shape} | {'less' if noise is None else 'as much'} | {' | '.join(cells)} |", flush=True)
