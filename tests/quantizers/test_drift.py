import math

import torch

from unlearn_guard.quantizers.drift import by_layer, octaves
from unlearn_guard.quantizers.grid import bin_width, codes, count
from unlearn_guard.records import RATIO_OCTAVES


def test_octaves_are_those_of_each_weight_s_own_ratio():
    draw = torch.Generator().manual_seed(0)
    base = torch.randn(64, 64, generator=draw)
    update = torch.randn(64, 64, generator=draw) * 10 ** torch.empty(64, 64).uniform_(-7, 2, generator=draw)
    candidate = torch.where(torch.rand(64, 64, generator=draw) < 0.7, base + update, base)
    low, high = RATIO_OCTAVES
    expected = [0] * (high - low + 1)
    for before, after, width in zip(
        base.flatten().tolist(), candidate.flatten().tolist(), bin_width(codes(base)).flatten().tolist(), strict=True
    ):
        if before != after:
            exponent = math.frexp(abs(after - before) / width)[1] - 1
            expected[min(max(exponent, low), high) - low] += 1
    found = octaves(count(base, candidate))
    assert sum(found) == int((base != candidate).sum())
    # A ratio within one float32 step of a power of two may fall on either side.
    assert sum(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 2
    assert found[0]
    assert found[-1]


def test_an_update_in_a_block_of_zeros_is_in_the_last_octave():
    base = torch.zeros(1, 64)
    candidate = base.clone()
    candidate[0, 3] = 1e-3
    assert octaves(count(base, candidate))[-1] == 1


def test_a_layer_keeps_its_counts():
    base = torch.linspace(-1, 1, 64)[None]
    counts = count(base, -base)
    (layer,) = by_layer({"model.layers.0.mlp.up_proj": counts})
    assert (layer.layer, layer.weights) == ("model.layers.0.mlp.up_proj", 64)
    assert (layer.changed, layer.flipped, layer.survived) == (counts.changed, counts.flipped, counts.survived)
