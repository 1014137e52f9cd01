from tests.oracles.made_scores import CANDIDATE, made_score, made_task, ones
from unlearn_guard.judging.calibrated import calibrated, spread

FORGET = made_task(40)


def scores(**right: int):
    return {name: made_score(FORGET, ones(count, 40), precision="gptq") for name, count in right.items()}


def test_the_largest_score_counts_and_of_equals_the_first_tried():
    found = calibrated(scores(suite=4, retain=2, forget=10, other=10))
    assert (found.precision, found.task, found.worst) == ("gptq", "forget_task", "forget")
    assert found.scores == {"suite": 0.1, "retain": 0.05, "forget": 0.25, "other": 0.25}
    assert calibrated(scores(suite=4, retain=4)).worst == "suite"


def test_the_spread_is_a_measurement_of_the_task():
    tried = scores(suite=4, forget=10)
    found = spread(calibrated(tried), tried["forget"])
    assert (found.subject, found.metric, found.task, found.precision) == (
        CANDIDATE, "calibration_spread", "forget_task", "gptq",
    )  # fmt: skip
    assert (found.value, found.samples, found.stderr, found.intervals) == (0.15, 40, None, ())
