"""The items' noise is taken off CAD again, and the interval says how far that can be trusted."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.attribution.noisy_scores import EDGES, IN_M1, NOISES, SHAPES, WHERE, cell, issue_scores, item_scores
from tests.oracles.made_scores import CANDIDATE, made_limit
from unlearn_guard.attribution import noise
from unlearn_guard.attribution.cad import corrected, measure
from unlearn_guard.judging.gate import judge
from unlearn_guard.records import Outcome

ALL = np.ones(1, dtype=bool)


def sums(*scores):
    return noise.absolute_sums(np.array(scores, dtype=np.float64)[:, None], ALL)[0]


def test_worked_by_hand():
    """Items -1, 0, 1: mean 0, variance of the mean 1/3. That noise alone shows sqrt(2/3 / pi): 0 - 2 / (3 pi) is left.

    Without the first item: mean 1/2, variance of it 1/4.
    """
    found = sums(-1.0, 0.0, 1.0)
    assert found.plain.tolist() == [0.0, 0.5, 0.0, 0.5]
    assert found.noisier[0] == pytest.approx(math.sqrt(2 / 3 / math.pi))
    assert found.squares[0] == pytest.approx(-2 / (3 * math.pi))
    # E|N(1/2, 1/4)| = 1/2 sqrt(2/pi) e^(-1/2) + 1/2 erf(1/sqrt 2)
    by_hand = 0.5 * math.sqrt(2 / math.pi) * math.exp(-0.5) + 0.5 * math.erf(math.sqrt(0.5))
    assert found.noisier[1] == pytest.approx(by_hand)
    assert noise.student(49, 0.975) == pytest.approx(2.009575)


def test_an_interval_worked_by_hand():
    """Corrected 0.5 with the square's error 0.05, plain 0.6; t(2) at .95 is 2.919986, so the square is within .146."""
    made = noise.Estimate(items=3, plain=0.6, plain_error=0.1, square=0.25, square_error=0.05)
    low, high = math.sqrt(0.25 - 2.919986 * 0.05), math.sqrt(0.25 + 2.919986 * 0.05)
    found = made.intervals[0]
    assert made.corrected == 0.5
    assert found.low == pytest.approx(0.5 - math.hypot(0.5 - low, math.sqrt(2) * 0.1))
    assert found.high == pytest.approx(0.5 + math.hypot(high - 0.5, 0.1))


def test_noise_that_is_there_twice_is_what_half_of_the_items_show():
    """Against halves drawn one by one, and leaving out against leaving out."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=30) + 3 * rng.normal(size=(20, 30))
    found = noise.absolute_sums(scores, np.ones(30, dtype=bool))[0]
    halves = []
    for _ in range(3000):
        half = rng.permutation(20)[:10]
        halves.append(sum(abs(sum(scores[n, edge] for n in half) / 10) for edge in range(30)))
    assert found.noisier[0] == pytest.approx(np.mean(halves), rel=0.02)
    for item in range(20):
        rest = noise.absolute_sums(np.delete(scores, item, axis=0), np.ones(30, dtype=bool))[0]
        assert found.plain[1 + item] == pytest.approx(rest.plain[0])
        assert found.noisier[1 + item] == pytest.approx(rest.noisier[0])


def test_blocks_of_edges_add_up(monkeypatch):
    scores, inside = np.random.default_rng(2).normal(size=(6, 11)), np.arange(11) % 3 == 0
    whole = noise.absolute_sums(scores, inside)
    monkeypatch.setattr(noise, "_BLOCK_BYTES", 8 * 7 * 4)
    for one, other in zip(whole, noise.absolute_sums(scores, inside), strict=True):
        np.testing.assert_allclose(one.squares, other.squares)


@pytest.mark.parametrize("shape", SHAPES)
def test_without_noise_it_is_the_paper_s(shape):
    pair = issue_scores(np.random.default_rng(3), 0.0, true=0.7, shape=shape, outside=0.1)
    for plain, better in zip(measure(*pair, IN_M1, **WHERE), corrected(*pair, IN_M1, **WHERE), strict=False):
        assert better.metric == plain.metric + "_corrected"
        assert better.value == pytest.approx(plain.value, abs=1e-9)
        assert plain.interval(0.95).high - plain.interval(0.95).low < 1e-6


def test_scale_and_order_of_items_change_nothing():
    base, candidate = issue_scores(np.random.default_rng(4), 3.0, outside=0.2)
    order = np.random.default_rng(0).permutation(base.items)
    other = [item_scores(each.scores_NE[order] * 8, each.edges) for each in (base, candidate)]
    for one, two in zip(corrected(base, candidate, IN_M1, **WHERE), corrected(*other, IN_M1, **WHERE), strict=True):
        assert one.value == pytest.approx(two.value, rel=1e-6)
        assert [each.low for each in one.intervals] == pytest.approx([each.low for each in two.intervals], rel=1e-5)


def test_noise_that_base_and_candidate_share_is_no_doubt():
    """A candidate whose every item lost half of every score has CAD .5, however the items differ."""
    base, _ = issue_scores(np.random.default_rng(4), 10.0)
    found = measure(base, item_scores(base.scores_NE / 2), IN_M1, **WHERE)[0].interval(0.90)
    assert (found.low, found.high) == (pytest.approx(0.5), pytest.approx(0.5))


def test_base_with_itself_is_0_and_known_to_be():
    base, _ = issue_scores(np.random.default_rng(4), 10.0)
    first, *_ = corrected(base, base, IN_M1, **WHERE)
    assert (first.value, first.interval(0.95).high) == (0.0, 0.0)


@given(
    st.integers(3, 60), st.floats(0, 5), st.floats(0, 1), st.floats(-1, 5), st.floats(0, 3),
)  # fmt: skip
def test_an_interval_holds_the_value_as_computed_and_the_corrected_one(items, plain, error, square, square_error):
    made = noise.Estimate(items=items, plain=plain, plain_error=error, square=square, square_error=square_error)
    widest = None
    for found in made.intervals:
        assert 0 <= found.low <= min(plain, made.corrected)
        assert max(plain, made.corrected) <= found.high
        assert widest is None or (found.low <= widest.low and found.high >= widest.high)
        widest = found


def test_a_base_that_is_noise_alone_has_no_interval_and_next_to_no_corrected_value():
    rng = np.random.default_rng(11)
    shape = (50, len(EDGES))
    base, candidate = item_scores(rng.normal(size=shape)), item_scores(rng.normal(size=shape))
    plain, (better, *_, ratio) = measure(base, candidate, IN_M1, **WHERE)[0], corrected(base, candidate, IN_M1, **WHERE)
    assert plain.value > 1.2
    assert plain.interval(0.99) is None
    assert math.isfinite(better.value)
    assert ratio.value > 10


@pytest.mark.parametrize(
    "rows",
    [
        [(1.0, 2.0, 0.5), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0)],
        # Every item is like every other, and nearly all of it cancels.
        [(5.0, -5.0, 0.01), (-5.0, 5.0, 0.01), (5.0, -5.0, 0.01), (-5.0, 5.0, 0.01)],
        [(1e-30, 0.0, 0.0)] * 3,
    ],
)
def test_scores_of_a_single_item_or_that_cancel_are_measured_without_an_error(rows):
    edges = EDGES[:3]
    base, candidate = item_scores(np.array(rows), edges), item_scores(np.array(rows) / 4, edges)
    plain, better = measure(base, candidate, IN_M1, **WHERE)[0], corrected(base, candidate, IN_M1, **WHERE)
    assert plain.value == pytest.approx(0.75)
    assert all(math.isfinite(each.value) for each in better)
    assert better[0].value <= 0.75 + 1e-6


@pytest.mark.parametrize("noise_level", NOISES)
def test_the_interval_holds_the_true_cad_of_the_issue_s_simulation(noise_level):
    """50 items, true CAD .50. Before, the intervals held it in 0 of 40 trials at every level of noise."""
    held, width, plain, better, ratio, without = cell(noise_level, 8)
    assert held >= 0.9
    assert without == 0
    assert better == pytest.approx(0.5, abs=0.1)
    assert plain - 0.5 > 3 * abs(better - 0.5) or plain < 0.55
    assert ratio == pytest.approx(noise_level, rel=0.25)
    assert width < 0.12 * noise_level + 0.05


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "true", "noise_level", "candidate_noise"),
    list(itertools.product(SHAPES, (0.0, 0.05, 0.5, 0.8, 1.2), NOISES, (None, 1.0))),
)
def test_the_interval_holds_the_true_cad_whatever_the_scores_look_like(shape, true, noise_level, candidate_noise):
    held, *_ = cell(noise_level, 40, true=true, shape=shape, candidate_noise=candidate_noise)
    assert held >= 0.9


@pytest.mark.parametrize("noise_level", [1, 6])
def test_so_do_the_intervals_of_as_c_and_as_nc(noise_level):
    held = np.zeros(2)
    for seed in range(8):
        made = {"true": 0.8, "outside": 0.1, "candidate_noise": 1.0}
        without = measure(*issue_scores(np.random.default_rng(seed), 0.0, **made), IN_M1, **WHERE)[1:]
        found = measure(*issue_scores(np.random.default_rng(seed), noise_level, **made), IN_M1, **WHERE)[1:]
        intervals = [each.interval(0.95) for each in found]
        held += [each.low <= true.value <= each.high for each, true in zip(intervals, without, strict=True)]
    assert held.tolist() == [8, 8]


def test_the_simulation_tells_a_correction_that_is_none(monkeypatch):
    """Mutations: nothing is taken off; the correction is not doubted where most edges carry nothing."""
    monkeypatch.setattr(noise.Sums, "squares", property(lambda self: self.plain**2))
    assert cell(3, 4)[0] == 0.0
    monkeypatch.undo()
    monkeypatch.setattr(noise, "_BEYOND", 0.0)
    assert cell(1, 8, shape="sparse", candidate_noise=1.0)[0] < 0.5
    monkeypatch.undo()
    assert cell(1, 8, shape="sparse", candidate_noise=1.0)[0] >= 0.9


@pytest.mark.parametrize("noise_level", NOISES)
@pytest.mark.parametrize("confidence", [None, 0.95])
def test_no_limit_certifies_a_circuit_that_is_half_intact(noise_level, confidence):
    limit = made_limit("cad", at_least=0.80, confidence=confidence)
    where = {"subject": CANDIDATE, "precision": limit.precision, "task": limit.task}
    rng = np.random.default_rng(9)
    for _ in range(4):
        pair = issue_scores(rng, noise_level)
        found = [*measure(*pair, IN_M1, **where), *corrected(*pair, IN_M1, **where)]
        (check,) = judge([limit], found, candidate=CANDIDATE, complete=True).checks
        assert check.outcome in (Outcome.FAILED, Outcome.INCONCLUSIVE)


@pytest.mark.parametrize("confidence", [None, 0.95])
def test_a_circuit_that_is_gone_passes_where_the_noise_allows(confidence):
    limit = made_limit("cad", at_least=0.80, confidence=confidence)
    where = {"subject": CANDIDATE, "precision": limit.precision, "task": limit.task}
    pair = issue_scores(np.random.default_rng(9), 3, true=1.14, candidate_noise=1.0)
    found = [*measure(*pair, IN_M1, **where), *corrected(*pair, IN_M1, **where)]
    assert judge([limit], found, candidate=CANDIDATE, complete=True).passed


def test_fifty_items_and_five_thousand_edges_take_less_than_a_second():
    rng = np.random.default_rng(0)
    edges = tuple(f"e{i}->m{i % 2}" for i in range(5000))
    base, candidate = (item_scores(rng.normal(1, 3, size=(50, 5000)), edges) for _ in range(2))
    start = time.process_time()
    measure(base, candidate, IN_M1, **WHERE)
    corrected(base, candidate, IN_M1, **WHERE)
    assert time.process_time() - start < 1.0
