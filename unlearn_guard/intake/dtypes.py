"""The dtypes of safetensors: how wide an element is, which bit patterns are not numbers, what value a pattern has.

bf16 and fp8 have no numpy type, so all of them are looked at as unsigned words.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Words = NDArray[Any]
Values = NDArray[np.float64]

BITS = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8"), 8),
    **dict.fromkeys(("F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}
"""Bits of one element, for every dtype that safetensors 0.8 can write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NonFinite:
    """Where NaN and infinity lie: `(word ^ flip) & mask` is at least `first`; exactly `infinity` where there is one."""

    word: str
    mask: int
    first: int
    infinity: int | None
    flip: int = 0

    def count(self, words: Words) -> tuple[int, int]:
        """NaNs and infinities among these words (of dtype `word`)."""
        flipped = words ^ words.dtype.type(self.flip) if self.flip else words
        magnitude = flipped & words.dtype.type(self.mask)
        if magnitude.size == 0 or int(magnitude.max()) < self.first:
            return 0, 0
        infinities = 0 if self.infinity is None else int((magnitude == self.infinity).sum())
        return int((magnitude >= self.first).sum()) - infinities, infinities


_IEEE32 = NonFinite(word="<u4", mask=0x7FFFFFFF, first=0x7F800000, infinity=0x7F800000)

NON_FINITE = {
    "F64": NonFinite(word="<u8", mask=2**63 - 1, first=0x7FF << 52, infinity=0x7FF << 52),
    "F32": _IEEE32,
    "C64": _IEEE32,
    "F16": NonFinite(word="<u2", mask=0x7FFF, first=0x7C00, infinity=0x7C00),
    "BF16": NonFinite(word="<u2", mask=0x7FFF, first=0x7F80, infinity=0x7F80),
    "F8_E5M2": NonFinite(word="<u1", mask=0x7F, first=0x7C, infinity=0x7C),
    # e4m3fn spends its top exponent on numbers: S.1111.111 alone is NaN, and there is no infinity.
    "F8_E4M3": NonFinite(word="<u1", mask=0x7F, first=0x7F, infinity=None),
    "F8_E8M0": NonFinite(word="<u1", mask=0xFF, first=0xFF, infinity=None),
    # The FNUZ formats have one NaN, where negative zero would be: 0x80 ^ 0x7F = 0xFF.
    "F8_E4M3FNUZ": NonFinite(word="<u1", mask=0xFF, first=0xFF, infinity=None, flip=0x7F),
    "F8_E5M2FNUZ": NonFinite(word="<u1", mask=0xFF, first=0xFF, infinity=None, flip=0x7F),
}
"""Dtypes that can hold a NaN. Integers, booleans and the 4- and 6-bit floats cannot."""

_NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I8": "<i1", "U8": "<u1", "BOOL": "<u1", "I16": "<i2", "U16": "<u2",
    "I32": "<i4", "U32": "<u4", "I64": "<i8", "U64": "<u8",
}  # fmt: skip


def _bf16(raw: bytes | memoryview) -> Values:
    words = np.frombuffer(raw, "<u2").astype(np.uint32) << np.uint32(16)
    with np.errstate(invalid="ignore"):  # a signalling NaN, which intake has refused or is counting
        return words.view(np.float32).astype(np.float64)


def _fp8(exponent_bits: int, bias: int) -> Callable[[bytes | memoryview], Values]:
    mantissa_bits = 7 - exponent_bits
    codes = np.arange(256)
    exponent, mantissa = (codes >> mantissa_bits) & (2**exponent_bits - 1), codes & (2**mantissa_bits - 1)
    fraction = mantissa / 2**mantissa_bits
    size = np.where(exponent == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (exponent - bias))
    table = np.where(codes >= 128, -size, size)
    return lambda raw: table[np.frombuffer(raw, np.uint8)]


_DECODERS: dict[str, Callable[[bytes | memoryview], Values]] = {
    "BF16": _bf16,
    "F8_E4M3": _fp8(4, 7),
    "F8_E5M2": _fp8(5, 15),
    "F8_E4M3FNUZ": _fp8(4, 8),
    "F8_E5M2FNUZ": _fp8(5, 16),
}


def values(dtype: str, raw: bytes | memoryview) -> Values | None:
    """The elements as float64; exact for every float here. None for packed and complex dtypes."""
    if dtype in _NUMPY:
        return np.frombuffer(raw, _NUMPY[dtype]).astype(np.float64)
    decoder = _DECODERS.get(dtype)
    return None if decoder is None else decoder(raw)


def rounded(dtype: str, exact: Values) -> Values | None:
    """These values as they would be stored in F64, F32, F16 or BF16 (to nearest, ties to even); else None."""
    if dtype == "BF16":
        words = exact.astype(np.float32).view(np.uint32)
        words = words + np.uint32(0x7FFF) + ((words >> np.uint32(16)) & np.uint32(1))
        return (words & np.uint32(0xFFFF0000)).view(np.float32).astype(np.float64)
    if dtype in ("F64", "F32", "F16"):
        with np.errstate(over="ignore"):
            return exact.astype(_NUMPY[dtype]).astype(np.float64)
    return None
