"""Orthonormal bases by Gram-Schmidt, and what is left when they are taken out."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearn_guard.unlearning.nullspace import Basis


def basis(*gradients):
    return Basis([{"w": torch.tensor(one)} for one in gradients])


def test_gram_schmidt_by_hand():
    """(3, 4) gives (.6, .8); (1, 0) less .6 of it is (.64, -.48), of length .8: (.8, -.6)."""
    found = basis([3.0, 4.0], [1.0, 0.0]).directions["w"]
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.8, -0.6]]))


def test_removing_by_hand():
    """Off (.6, .8) / 1, what is left of (1, 0) is (.64, -.48)."""
    left = {"w": torch.tensor([1.0, 0.0])}
    basis([3.0, 4.0]).remove(left)
    torch.testing.assert_close(left["w"], torch.tensor([0.64, -0.48]))


def test_what_adds_nothing_is_not_kept():
    found = basis([3.0, 4.0, 0.0], [-6.0, -8.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 2.0])
    assert found.directions["w"].shape == (2, 3)
    nothing = basis([0.0, 0.0])
    left = {"w": torch.tensor([1.0, 2.0])}
    nothing.remove(left)
    assert left["w"].tolist() == [1.0, 2.0]


def literal(vectors, given):
    """Modified Gram-Schmidt and the projection in plain Python floats."""
    held = []
    for vector in [*vectors, given]:
        rest = list(vector)
        for _ in range(2):
            for one in held:
                along = sum(a * b for a, b in zip(one, rest, strict=True))
                rest = [b - along * a for a, b in zip(one, rest, strict=True)]
        if vector is given:
            return rest
        length = math.sqrt(sum(a * a for a in rest))
        held.append([a / length for a in rest])
    raise AssertionError


@given(st.integers(0, 10_000), st.integers(1, 8), st.floats(-4, 0))
@settings(max_examples=60, deadline=None)
def test_what_is_left_is_orthogonal_to_every_gradient(seed, count, closeness):
    """To fp32 accuracy, in any shape, also for gradients that are nearly alike; and it is the literal version's."""
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(6, 7, generator=generator)
    gradients = [common + 10**closeness * torch.randn(6, 7, generator=generator) for _ in range(count)]
    found = Basis([{"w": 1e-3 * one} for one in gradients])
    given_ = torch.randn(6, 7, generator=generator)
    left = {"w": given_.clone()}
    found.remove(left)
    kept = found.directions["w"]
    torch.testing.assert_close(kept @ kept.T, torch.eye(len(kept)), atol=1e-5, rtol=0)
    assert (kept @ left["w"].flatten()).abs().max() < 1e-6 * given_.norm()
    for one in gradients:  # what was not kept for being nothing new is orthogonal to that share
        assert abs((one * left["w"]).sum()) < 2e-4 * one.norm() * left["w"].norm()
    if closeness > -1:
        expected = literal([one.flatten().tolist() for one in gradients], given_.flatten().tolist())
        torch.testing.assert_close(left["w"].flatten(), torch.tensor(expected), atol=1e-4, rtol=0)


def test_each_tensor_has_its_own_basis():
    found = Basis([{"a": torch.tensor([[1.0, 0.0]]), "b": torch.tensor([0.0, 1.0, 0.0])}])
    left = {"a": torch.tensor([[1.0, 1.0]]), "b": torch.tensor([1.0, 1.0, 1.0]), "c": torch.tensor([5.0])}
    found.remove(left)
    assert {name: one.tolist() for name, one in left.items()} == {"a": [[0, 1]], "b": [1, 0, 1], "c": [5]}


@pytest.mark.parametrize("count", [1, 3])
def test_a_tensor_smaller_than_its_basis_keeps_nothing(count):
    generator = torch.Generator().manual_seed(0)
    found = Basis([{"w": torch.randn(count, generator=generator)} for _ in range(8)])
    left = {"w": torch.ones(count)}
    found.remove(left)
    assert len(found.directions["w"]) == count
    assert left["w"].norm() < 1e-5
