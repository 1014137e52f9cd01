"""AWQ by gptqmodel (Lin et al. 2024, arXiv 2306.00978): 4 bits with zero points, GEMM layout."""

from types import MappingProxyType

from unlearn_guard.quantizers.gptqmodel import GPTQModelQuantizer
from unlearn_guard.quantizers.packed import awq_grid


class AWQ(GPTQModelQuantizer):
    """Scales up the input channels that the calibration texts use most before rounding."""

    name = "awq"
    layouts = MappingProxyType({None: awq_grid, "gemm": awq_grid})
