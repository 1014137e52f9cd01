"""A policy does what `plan --power` says of it, on fewer runs than `benchmarks/power.py` makes."""

import pytest

from benchmarks.power import Candidate, items_of, share_that_passes
from tests.oracles.made_scores import made_limit
from unlearn_guard.judging.power import Assumed

MARGIN = 0.05
LIMITS = (
    made_limit("ptq_gap", task="lettered", precision="nf4", at_most=MARGIN, confidence=0.95),
    made_limit("ptq_gap", task="stated", precision="nf4", at_most=MARGIN, confidence=0.95),
    made_limit("above_chance_removed", task="lettered", at_least=0.5, at_most=1.1, confidence=0.95),
)


@pytest.mark.parametrize("discordance", [0.14, 0.02])
def test_an_honest_candidate_passes_and_one_of_twice_the_margin_does_not(discordance):
    items = items_of(LIMITS, Assumed(discordance=discordance))
    runs = range(60)
    # With a true share of .90 fewer than 48 of 60 pass in 1 % of all draws; with .05 more than 8 in 1 %.
    assert share_that_passes(LIMITS, items, Candidate(gap=0.0, discordance=discordance), runs) >= 48 / 60
    assert share_that_passes(LIMITS, items, Candidate(gap=2 * MARGIN, discordance=discordance), runs) <= 8 / 60


def test_with_a_quarter_of_the_items_it_does_not():
    items = {task: count // 4 for task, count in items_of(LIMITS, Assumed()).items()}
    assert share_that_passes(LIMITS, items, Candidate(gap=0.0, discordance=0.14), range(30)) < 0.75
