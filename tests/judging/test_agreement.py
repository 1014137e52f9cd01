"""When two sets of answers differ by more than noise: by hand, by enumeration, by simulation."""

import itertools
import math
import random

import pytest

from unlearn_guard.judging.agreement import (
    LEVEL,
    NOISE_LEAST,
    NOISE_MOST,
    NOISE_UNKNOWN,
    UNEXPLAINED,
    agreements,
    flip_chance,
    noise_of,
    power,
    tail,
    within_bounds,
)
from unlearn_guard.records import Outcome, Paired, Role, Sample


def by_enumeration(chances, count):
    """The slow oracle: every way in which the events can happen or not."""
    total = 0.0
    for ways in itertools.product((0, 1), repeat=len(chances)):
        if sum(ways) >= count:
            total += math.prod(p if way else 1 - p for p, way in zip(chances, ways, strict=True))
    return total


def test_the_tail_by_hand():
    assert tail([0.5, 0.5], 1) == 0.75
    assert tail([0.5, 0.5], 2) == 0.25
    assert tail([0.1, 0.2], 2) == pytest.approx(0.02)
    assert tail([0.1], 0) == 1.0
    assert tail([0.1], 2) == 0.0
    assert tail([], 0) == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_the_tail_is_that_of_every_way_counted(seed):
    draw = random.Random(seed)
    chances = [draw.random() ** 3 for _ in range(9)]
    for count in range(11):
        assert tail(chances, count) == pytest.approx(by_enumeration(chances, count), abs=1e-12)


def test_what_noise_alone_turns_round_by_hand():
    # A margin of one standard deviation: Phi(-1) = .158655, and one item in a hundred for what no margin explains.
    assert flip_chance((-1.0, -1.1), 0.1) == pytest.approx(UNEXPLAINED + 0.158655, abs=1e-6)
    assert flip_chance((-1.0, -1.0), 0.1) == pytest.approx(UNEXPLAINED + 0.5)
    assert flip_chance((-1.0, -5.0, -math.inf), 0.1) == pytest.approx(UNEXPLAINED)
    assert flip_chance((-1.0, -1.0, -1.0, -1.0), 0.1) == 1.0


def sample(name, *nats):
    return Sample(id=name, prompt="p", target="0", correct=1.0, loglikelihoods=nats)


def test_the_noise_is_how_far_margins_moved():
    # The margin of the two likeliest goes from 1 to 1.3 and from 2 to 1.6: sqrt((.09 + .16) / 2) = .353553.
    first = sample("a", -1.0, -2.0, -9.0), sample("a", -1.0, -2.3, -1.0)
    second = sample("b", -3.0, -1.0), sample("b", -2.6, -1.0)
    assert noise_of([first, second]) == pytest.approx(math.sqrt(0.125))
    assert noise_of([]) is None
    assert [within_bounds(each) for each in (None, 0.0, 0.03, 9.0)] == [NOISE_UNKNOWN, NOISE_LEAST, 0.03, NOISE_MOST]


def paired(count, differing, *, missing=0, task="t", role=Role.FORGET, margin=3.0):
    served = [1] * differing + [None] * missing + [0] * (count - differing - missing)
    return [
        Paired(task=task, role=role, item=f"{task}-{number}", nats=(-1.0, -1.0 - margin), served=each)
        for number, each in enumerate(served)
    ]


def outcome(items):
    return agreements(items, noise=0.05)[3]


def test_the_same_answers_agree_and_others_differ():
    assert outcome(paired(160, 0)) is Outcome.PASSED
    assert outcome(paired(160, 3)) is Outcome.PASSED
    assert outcome(paired(160, 20)) is Outcome.FAILED
    # 1.6 of 160 are expected: 7 or more in one of 100 / 2 tests have probability .0011, 6 have .006.
    assert [outcome(paired(160, count)) for count in (6, 7)] == [Outcome.PASSED, Outcome.FAILED]


def test_items_that_were_not_compared_count_as_differing_before_it_passes():
    assert outcome(paired(160, 0, missing=6)) is Outcome.PASSED
    assert outcome(paired(160, 0, missing=7)) is Outcome.INCONCLUSIVE
    assert outcome(paired(160, 0, missing=160)) is Outcome.INCONCLUSIVE
    assert outcome(paired(160, 30, missing=100)) is Outcome.FAILED


def test_too_few_items_and_none_of_forget_establish_nothing():
    assert outcome([]) is Outcome.INCONCLUSIVE
    assert outcome(paired(30, 0)) is Outcome.INCONCLUSIVE
    assert outcome(paired(500, 0, role=Role.RETAIN)) is Outcome.INCONCLUSIVE
    assert outcome(paired(30, 30)) is Outcome.FAILED


def test_a_retain_task_that_differs_fails_and_one_that_was_not_compared_establishes_nothing():
    forget = paired(160, 0)
    assert outcome([*forget, *paired(100, 30, task="r", role=Role.RETAIN)]) is Outcome.FAILED
    assert outcome([*forget, *paired(100, 0, missing=100, task="r", role=Role.RETAIN)]) is Outcome.INCONCLUSIVE


def test_a_little_in_each_of_many_tasks_is_noticed_together():
    items = [each for number in range(8) for each in paired(60, 3, task=f"t{number}")]
    tasks, together, _, found = agreements(items, noise=0.05)
    assert {each.outcome for each in tasks} == {Outcome.PASSED}
    assert together.outcome is found is Outcome.FAILED


def simulated(draw, noise, wrong=0.0):
    """Items of a model whose margins are as the organism's, and what noise on each choice makes of them."""
    items = []
    for number in range(160):
        nats = tuple(draw.gauss(-3.0, 2.0) for _ in range(4))
        moved = [each + draw.gauss(0.0, noise / math.sqrt(2)) for each in nats]
        served = max(range(4), key=lambda place: moved[place])
        if draw.random() < wrong:
            served = (served + 1) % 4
        items.append(Paired(task="t", role=Role.FORGET, item=str(number), nats=nats, served=served))
    return items


@pytest.mark.parametrize("noise", [0.02, 0.1, 0.25])
def test_the_judged_model_in_noise_is_hardly_ever_refused(noise):
    draw = random.Random(7)
    found = [agreements(simulated(draw, noise), noise=noise)[3] for _ in range(200)]
    assert found.count(Outcome.FAILED) <= 200 * LEVEL + 3 * math.sqrt(200 * LEVEL)


def test_a_model_that_answers_one_item_in_six_otherwise_is_always_noticed():
    draw = random.Random(8)
    found = [agreements(simulated(draw, 0.05, wrong=1 / 6), noise=0.05)[3] for _ in range(200)]
    assert found.count(Outcome.FAILED) >= 198


def test_what_could_have_been_noticed_is_what_is_noticed():
    # 100 items of chance .01: 5 or more have probability .0034, and of chance .11 they have .982.
    noticed = sum(math.comb(100, count) * 0.11**count * 0.89 ** (100 - count) for count in range(5, 101))
    assert power([0.01] * 100, 0.01) == pytest.approx(noticed)
    assert power([], 0.01) == 0.0
    assert power([0.5] * 3, 0.01) == 0.0
