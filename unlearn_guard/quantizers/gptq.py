"""GPTQ by gptqmodel (Frantar et al. 2023, arXiv 2210.17323): 4 bits, symmetric."""

from types import MappingProxyType

from unlearn_guard.quantizers.gptqmodel import GPTQModelQuantizer
from unlearn_guard.quantizers.packed import gptq_grid, gptq_v2_grid


class GPTQ(GPTQModelQuantizer):
    """Rounds column by column and lets the later columns make up for the error on the calibration texts."""

    name = "gptq"
    layouts = MappingProxyType({None: gptq_grid, "gptq": gptq_grid, "gptq_v2": gptq_v2_grid})
