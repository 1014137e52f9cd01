"""NF4 with double quantization by bitsandbytes, as in QLoRA: the block scales in 8 bits (arXiv 2305.14314)."""

from unlearn_guard.quantizers.nf4 import NF4


class NF4DQ(NF4):
    """NF4's codes, its scales rounded: `bnb_4bit_use_double_quant=True`."""

    name = "nf4-dq"
    double = True
