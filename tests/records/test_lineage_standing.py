"""Whose a layer is, by hand."""

import pytest

from unlearn_guard.records import LayerLineage, Standing, lineage, standings


def layer(within: float | None = 1.0, towards: float | None = 1.0, error: float | None = 0.01) -> LayerLineage:
    return LayerLineage(layer="a", weights=64, within=within, towards=towards, error=error)


@pytest.mark.parametrize(
    ("found", "whose"),
    [
        (layer(), Standing.CANDIDATE),
        (layer(towards=0.0), Standing.BASE),
        (layer(within=0.74), Standing.UNSETTLED),  # a poor calibration moves as many
        (layer(within=0.39), Standing.NEITHER),
        (layer(within=0.39, towards=0.0), Standing.BASE),
        (layer(within=None, towards=None, error=None), Standing.UNSETTLED),
        (layer(within=0.39, towards=None, error=None), Standing.NEITHER),
        (layer(towards=None, error=None), Standing.CANDIDATE),  # the candidate's layer is base's own
        (layer(towards=0.6, error=0.02), Standing.CANDIDATE),  # five errors from the middle
        (layer(towards=0.58, error=0.02), Standing.UNSETTLED),  # four
        (layer(towards=0.4, error=0.02), Standing.BASE),
        (layer(towards=1.0, error=0.2), Standing.UNSETTLED),  # alone it is too dull
        (layer(towards=2.0, error=0.2), Standing.CANDIDATE),
        (layer(towards=2.0), Standing.UNSETTLED),  # as far beyond the candidate as base is before it: neither's
        (layer(towards=-1.0), Standing.UNSETTLED),
    ],
)
def test_one_layer(found: LayerLineage, whose: Standing) -> None:
    assert standings([found]) == (whose,)
    assert lineage([found]) == (int(whose is Standing.CANDIDATE), 1)


@pytest.mark.parametrize(("towards", "whose"), [(1.0, Standing.CANDIDATE), (0.0, Standing.BASE)])
def test_dull_layers_are_settled_by_their_sum(towards: float, whose: Standing) -> None:
    """Errors of 0.4 each: of sixteen the mean's is 0.1, five from the middle; of nine it is 0.13, under four."""
    many = [layer(towards=towards, error=0.4)] * 17
    assert standings(many) == (whose,) * 17
    assert standings(many[:9]) == (Standing.UNSETTLED,) * 9
    sharp = layer(towards=1 - towards)
    assert standings([*many, sharp])[-1] is not whose  # it speaks for itself


def test_the_sharper_has_more_say() -> None:
    """Weights 1 / 0.04 and 1 / 4: the mean is (25 x 1 + 0.25 x -20) / 25.25 = 0.79, its error 0.199."""
    assert standings([layer(error=0.2), layer(towards=-20.0, error=2.0)]) == (Standing.UNSETTLED,) * 2
    assert standings([layer(towards=1.5, error=0.2), layer(towards=-20.0, error=2.0)])[0] is Standing.UNSETTLED
    assert standings([layer(towards=1.5, error=0.2), layer(towards=1.5, error=2.0)])[0] is Standing.CANDIDATE
