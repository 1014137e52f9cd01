"""NF4 one weight at a time, in plain Python floats rounded to fp32: slow, literal, and independent of the grid module.

Source: Dettmers et al. 2023 (QLoRA), Appendix E; nearest level, ties to the lower one as bitsandbytes breaks them.
"""

import struct

LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip


def fp32(value: float) -> float:
    return struct.unpack("f", struct.pack("f", value))[0]


def nf4(weights: list[float], block: int = 64) -> tuple[list[int], list[float]]:
    """Codes and scales of weights given in row-major order."""
    found, scales = [], []
    for start in range(0, len(weights), block):
        chunk = weights[start : start + block]
        scale = max(abs(weight) for weight in chunk)
        scales.append(scale)
        for weight in chunk:
            scaled = fp32(weight * fp32(1.0 / scale)) if len(chunk) == block else fp32(weight / scale)
            distances = [abs(scaled - level) for level in LEVELS]
            found.append(distances.index(min(distances)))
    return found, scales


def median_low(values: list[float]) -> float:
    return sorted(values)[(len(values) - 1) // 2]
