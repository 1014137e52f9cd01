"""FP4 by bitsandbytes: blocks of 64 weights, sixteen levels spaced as floats. What `load_in_4bit` gives by default."""

from unlearn_guard.quantizers.nf4 import NF4


class FP4(NF4):
    """bitsandbytes' FP4, as `load_in_4bit` without `bnb_4bit_quant_type` gives it."""

    name = "fp4"
    levels = "fp4"
