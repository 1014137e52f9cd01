"""Counts on paper, held to what torch and transformers count at three shapes."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks import scaling
from benchmarks.llama import random_llama
from benchmarks.scaling import Shape, Way
from unlearn_guard.attribution.eap_ig import attribute
from unlearn_guard.attribution.prompts import Pair
from unlearn_guard.unlearning.masters import Masters
from unlearn_guard.unlearning.reference import Reference
from unlearn_guard.unlearning.tensors import every, mlps

SHAPES = (
    Shape(name="flat", vocabulary=512, width=64, hidden=160, layers=3, heads=4, groups=2, size=16),
    Shape(name="wide", vocabulary=2048, width=128, hidden=512, layers=2, heads=8, groups=8, size=16),
    Shape(name="deep", vocabulary=96, width=32, hidden=64, layers=10, heads=2, groups=1, size=16),
)


def model(shape: Shape, device: str = "cpu"):
    with torch.device(device):
        made = random_llama(
            vocabulary=shape.vocabulary,
            width=shape.width,
            hidden=shape.hidden,
            layers=shape.layers,
            heads=shape.heads,
            groups=shape.groups,
        )
    made.set_attn_implementation("eager")  # torch counts no FLOPs of the CPU's fused attention
    return made


class Counter(TorchDispatchMode):
    """Torch's own counts of matrix products; its FlopCounterMode cannot look into a gradient of inputs alone."""

    flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


def counted(work) -> int:
    with Counter() as counter:
        work()
    return counter.flops


@pytest.mark.parametrize("shape", SHAPES, ids=lambda each: each.name)
def test_parameters_are_those_of_transformers(shape: Shape) -> None:
    assert sum(one.numel() for one in model(shape, "meta").parameters()) == shape.parameters


def test_parameters_of_known_models() -> None:
    assert scaling.SMOLLM2.parameters == 134_515_008
    assert scaling.LLAMA_8B.parameters == 8_030_261_248
    assert scaling.LLAMA_70B.parameters == 70_553_706_496


@pytest.mark.parametrize("shape", SHAPES, ids=lambda each: each.name)
def test_a_forward_pass_has_as_many_flops_as_torch_counts(shape: Shape) -> None:
    one, ids = model(shape), torch.zeros(3, 24, dtype=torch.long)
    with torch.no_grad():
        found = counted(lambda: one(input_ids=ids, use_cache=False, logits_to_keep=2))
    assert found == pytest.approx(scaling.forward_flops(shape, rows=3, tokens=24, scored=2), rel=0.01)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda each: each.name)
def test_a_step_has_as_many_flops_as_torch_counts(shape: Shape) -> None:
    one, ids = model(shape), torch.zeros(3, 24, dtype=torch.long)

    def step() -> None:
        one(input_ids=ids, use_cache=False, logits_to_keep=8).logits.sum().backward()
        with torch.no_grad():
            one(input_ids=ids, use_cache=False, logits_to_keep=8)

    expected = scaling.step_flops(shape, rows=3, tokens=24, scored=8, base=True)
    assert counted(step) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda each: each.name)
def test_attribution_has_about_as_many_flops_as_torch_counts(shape: Shape) -> None:
    """What dA's projections take is not in the formula: they are a small part of a deep model's."""
    pairs = [Pair(clean=tuple(range(2, 26)), corrupted=tuple(range(3, 27)), target=5, wrong=(6, 7), where="here")]
    found = counted(lambda: attribute(model(shape), pairs, steps=5))
    assert found == pytest.approx(scaling.attribution_flops(shape, pairs=1, tokens=24, steps=5), rel=0.35)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda each: each.name)
def test_a_trained_weight_takes_the_bytes_that_its_tensors_have(shape: Shape) -> None:
    one = model(shape).to(torch.bfloat16)
    reference, masters = Reference(one, every(one)), Masters(one, every(one), weight_decay=0.0)
    one(input_ids=torch.zeros(1, 4, dtype=torch.long)).logits.float().sum().backward()
    masters.step(1e-5, 1.0)
    tensors = [*masters.state().values(), *masters.gradients.values(), *reference.weights.values(), *one.parameters()]
    held = sum(each.numel() * each.element_size() for each in tensors if each.dim())
    assert held == Way(name="NPO", more=2).bytes(shape)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda each: each.name)
def test_mansu_trains_the_mlps_of_ten_layers_of_thirty_two(shape: Shape) -> None:
    one = model(shape, "meta")
    way = Way(name="MANSU", more=5)
    layers = range(way.trained(shape) // shape.mlp)
    assert sum(one.get_parameter(name).numel() for name in mlps(one, tuple(layers))) == way.trained(shape)


def test_the_page_has_today_s_tables() -> None:
    page = scaling.PAGE.read_text(encoding="utf-8")
    assert scaling.put(page) == page
