"""llama.cpp's own rounding of a matrix: the function `ggml_quantize_chunk` of the library inside xllamacpp.

It is what llama-quantize calls, so that bytes made here and there are equal. The package gguf has the same in numpy for
the formats without super-blocks; a test holds the two together.
"""

import ctypes
import importlib.metadata
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from unlearn_guard.errors import PluginError, QuantizationError

PACKAGES = ("gguf", "xllamacpp")
"""What writes the files, and what runs and rounds them."""

FLOATS = ("F32", "F16", "BF16")
"""Types that round no further than a dtype of torch does."""

Array = np.ndarray[Any, np.dtype[Any]]


def assert_llama_cpp(precision: str) -> Mapping[str, str]:
    """The versions of `PACKAGES`. PluginError where one is not installed, or rounds nothing."""
    try:
        found = {name: importlib.metadata.version(name) for name in PACKAGES}
    except importlib.metadata.PackageNotFoundError as error:
        raise PluginError(
            f"precision {precision} needs {error.name}, which is not installed",
            fix="Install it with: pip install 'unlearn-guard[gguf]', or leave it out: --precisions full,nf4",
        ) from error
    _library()
    return found


def block(kind: str) -> tuple[int, int]:
    """How many weights make a block of this type, and how many bytes it takes."""
    import gguf

    weights, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    return int(weights), int(size)


def encode(weight_RC: Array, kind: str) -> Array:
    """The bytes of a matrix in this type, a row a row. Rows have to be whole blocks."""
    import gguf

    weight_RC = np.ascontiguousarray(weight_RC, dtype=np.float32)
    rows, columns = weight_RC.shape
    weights, size = block(kind)
    if kind in FLOATS:
        made: Array = gguf.quants.quantize(weight_RC, gguf.GGMLQuantizationType[kind])
        return made.view(np.uint8).reshape(rows, -1)
    if columns % weights:
        raise QuantizationError(f"rows of {columns} weights are no whole blocks of {weights}, as {kind} needs")
    out = np.empty((rows, columns // weights * size), np.uint8)
    number = int(gguf.GGMLQuantizationType[kind])
    written = _library()(number, weight_RC.ctypes.data, out.ctypes.data, 0, rows, columns, None)
    if written != out.nbytes:
        raise QuantizationError(f"llama.cpp wrote {written} bytes of {kind} where {out.nbytes} were expected")
    return out


def decode(stored_RB: Array, kind: str) -> Array:
    """The fp32 matrix that these bytes stand for."""
    import gguf

    found: Array = gguf.quants.dequantize(np.ascontiguousarray(stored_RB), gguf.GGMLQuantizationType[kind])
    return found


@cache
def _library() -> Any:
    """`size_t ggml_quantize_chunk(type, source, target, first, rows, columns, importance)`."""
    import xllamacpp

    path = xllamacpp.xllamacpp.__file__
    try:
        function = ctypes.CDLL(path).ggml_quantize_chunk
    except (OSError, AttributeError) as error:
        raise PluginError(
            f"xllamacpp {xllamacpp.__version__} does not offer llama.cpp's ggml_quantize_chunk: {error}",
            fix="Install the release that constraints.txt names.",
        ) from error
    function.restype = ctypes.c_size_t
    function.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    return function
