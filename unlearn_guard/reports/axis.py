"""The round numbers of an axis, the same in every picture."""

import math

_TICKS = 4


def ticks(low: float, high: float) -> list[float]:
    """Round numbers inside of [low, high], about `_TICKS` of them."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
    return [place * step for place in range(math.ceil(low / step), math.floor(high / step) + 1)]
