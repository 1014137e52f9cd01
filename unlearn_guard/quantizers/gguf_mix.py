"""Which type each tensor of a GGUF file has: what llama-quantize chooses where nothing else is asked of it.

Vectors stay in F32. The head (the embedding where it is tied) takes Q6_K, and Q4_K_M gives Q6_K to some layers' values
and down projections. Where rows are no whole super-blocks of 256 another type stands in.

Source: llama.cpp's src/llama-quant.cpp. A published Q4_1 and a published Q4_K_M file have exactly these types (a test).
"""

import re

from unlearn_guard.quantizers.ggml import block

_PLACE = re.compile(r"blk\.(\d+)\.(\w+)\.weight")
_INSTEAD = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""Where rows are no whole super-blocks."""

MATRIX = {"Q4_0": "Q4_0", "Q4_1": "Q4_1", "Q8_0": "Q8_0", "Q4_K_M": "Q4_K", "F32": "F32"}
"""By recipe, the type of a matrix that nothing more is said of."""

FILE_TYPES = {"F32": 0, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q4_K_M": 15}
"""`general.file_type`, by recipe."""

PRECISIONS = {f"gguf-{mix.lower()}": mix for mix in FILE_TYPES if mix != "F32"}
"""The recipe of a precision of ours."""


def kind_of(recipe: str, name: str, shape: tuple[int, ...], *, layers: int, tied: bool) -> str:
    """The type of the tensor of this GGUF name."""
    if len(shape) < 2 or not name.endswith(".weight"):
        return "F32"
    usual = MATRIX[recipe]
    wanted = usual
    if name == ("token_embd.weight" if tied else "output.weight"):
        wanted = usual if usual in ("Q8_0", "F32") else "Q6_K"
        wanted = wanted if shape[-1] % block(usual)[0] == 0 else "Q8_0"
    elif recipe == "Q4_K_M" and (found := _PLACE.fullmatch(name)):
        place, inner = int(found[1]), found[2]
        if inner in ("attn_v", "ffn_down") and _more_bits(place, layers):
            wanted = "Q6_K"
        elif inner == "attn_qkv":
            wanted = "Q5_K"
    return wanted if shape[-1] % block(wanted)[0] == 0 else _INSTEAD.get(wanted, wanted)


def _more_bits(place: int, layers: int) -> bool:
    """The first and the last eighth, and every third between."""
    return place < layers // 8 or place >= 7 * layers // 8 or (place - layers // 8) % 3 == 2
