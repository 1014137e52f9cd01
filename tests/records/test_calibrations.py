import pytest

from unlearn_guard.records import Calibrated


def made(worst: str, **scores: float) -> Calibrated:
    return Calibrated(precision="gptq", task="forget", worst=worst, scores=scores)


def test_the_spread_is_from_the_smallest_to_the_largest() -> None:
    found = made("forget", suite=0.25, retain=0.125, forget=0.5)
    assert found.spread == 0.375
    assert found.others == ("suite", "retain")
    assert found.label("retain") == "gptq-on-retain"


def test_no_other_one_may_be_above_the_one_that_counts() -> None:
    assert made("retain", suite=0.25, retain=0.25).spread == 0.0  # equals: either
    with pytest.raises(ValueError, match="'suite' is not the calibration of most score"):
        made("suite", suite=0.25, retain=0.3)
    with pytest.raises(ValueError, match="'other' is not"):
        made("other", suite=0.25)
