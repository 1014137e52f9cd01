"""What each of transformers' operations makes of tensors on disk: rows that are told apart, or parts as they lie."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import encode, write
from edited import numbers
from transformers.core_model_loading import (
    Chunk,
    Concatenate,
    Interleave,
    PermuteForRope,
    Split,
    Transpose,
    WeightConverter,
)

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import Blueprint, blueprint, open_checkpoint
from unlearn_guard.intake.conversion import Part, assemble, targets
from unlearn_guard.records import StoredTensor


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Blueprint:
    return blueprint(write(tmp_path_factory.mktemp("llama")))


def read(tensor: StoredTensor) -> torch.Tensor:
    raw = b"".join(span.file.read_bytes()[span.start : span.stop] for span in tensor.spans)
    return torch.frombuffer(bytearray(raw), dtype=torch.float32).reshape(tensor.shape)


def parts(folder: Path, operations: Sequence[Any], made: Sequence[str], *arrays: np.ndarray) -> list[Part]:
    names = [f"part.{at}" for at in range(len(arrays))]
    (write(folder) / "model.safetensors").write_bytes(
        encode({name: numbers(array) for name, array in zip(names, arrays, strict=True)})
    )
    converter = WeightConverter(source_patterns=names, target_patterns=[*made], operations=[*operations])
    return [
        Part(tensor=each, converter=converter, pattern=each.name, renamed=f"at.{made[0]}")
        for each in open_checkpoint(folder).tensors
    ]


def assembled(plan: Blueprint, folder: Path, operation: Any, *arrays: np.ndarray) -> list[StoredTensor]:
    """The parameter `at.made` of these arrays, by one of transformers' operations."""
    found = assemble("at.made", parts(folder, [operation], ["made"], *arrays), plan)
    return [tensor for tensors in found.values() for tensor in tensors]


def test_what_no_rows_can_show_stands_under_its_own_name(llama: Blueprint, tmp_path: Path) -> None:
    plan = replace(llama, shapes={"at.made": (2, 4, 3)})
    (found,) = assembled(plan, tmp_path, Transpose(1, 2), np.arange(24).reshape(2, 3, 4))
    assert (found.name, found.shape, len(found.spans)) == ("at.made|part.0", (2, 3, 4), 1)


def test_parts_side_by_side_are_compared_one_by_one(llama: Blueprint, tmp_path: Path) -> None:
    """Joined along their rows' length no run of bytes is a row of the whole."""
    plan = replace(llama, shapes={"at.made": (2, 5)})
    found = assembled(plan, tmp_path, Concatenate(dim=1), np.zeros((2, 2)), np.ones((2, 3)))
    assert [(each.name, each.shape) for each in found] == [("at.made|part.0", (2, 2)), ("at.made|part.1", (2, 3))]


def test_rows_of_parts_that_differ_in_number_are_told_apart(llama: Blueprint, tmp_path: Path) -> None:
    arrays = np.arange(6).reshape(3, 2), np.zeros((0, 2)), np.arange(6, 10).reshape(2, 2)
    plan = replace(llama, shapes={"at.made": (5, 2)})
    (found,) = assembled(plan, tmp_path, Concatenate(dim=0), *arrays)
    assert torch.equal(read(found), torch.arange(10, dtype=torch.float32).reshape(5, 2))
    assert len(found.spans) == 2


def test_one_tensor_makes_several_parameters(llama: Blueprint, tmp_path: Path) -> None:
    """Each the rows of its own, byte by byte, whatever operations stand one after another."""
    whole = np.arange(24).reshape(8, 3)
    plan = replace(llama, shapes={"at.q": (4, 3), "at.k": (4, 3)})
    found = assemble("at.q", parts(tmp_path, [Interleave(dim=0), Chunk(dim=0)], ["q", "k"], whole), plan)
    assert list(found) == ["at.q", "at.k"]
    for name, rows in (("at.q", whole[::2]), ("at.k", whole[1::2])):
        (tensor,) = found[name]
        assert tensor.name == name
        assert torch.equal(read(tensor), torch.tensor(rows, dtype=torch.float32))
        assert len(tensor.spans) == 4


def test_a_bias_is_split_by_element_as_its_weight_is_by_row(llama: Blueprint, tmp_path: Path) -> None:
    plan = replace(llama, shapes={f"at.{name}": (2,) for name in "qkv"})
    found = assemble("at.q", parts(tmp_path, [Chunk(dim=0)], "qkv", np.arange(6)), plan)
    assert [(name, read(tensor).tolist()) for name, (tensor,) in found.items()] == [
        ("at.q", [0, 1]), ("at.k", [2, 3]), ("at.v", [4, 5]),
    ]  # fmt: skip
    (turned,) = assembled(replace(llama, shapes={"at.made": (8,)}), tmp_path, PermuteForRope(), np.arange(8))
    assert read(turned).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]  # two heads of two pairs


def test_columns_of_one_tensor_are_compared_with_it(llama: Blueprint, tmp_path: Path) -> None:
    """No run of bytes is a parameter that has half of each row: the tensor stands once, under the first one's name."""
    plan = replace(llama, shapes={"at.q": (2, 2), "at.k": (2, 2)})
    found = assemble("at.q", parts(tmp_path, [Chunk(dim=1)], ["q", "k"], np.arange(8).reshape(2, 4)), plan)
    assert [tensor.name for tensor in found["at.q"]] == ["at.q|part.0"]
    assert found["at.k"] == []


@pytest.mark.parametrize(
    ("shapes", "where", "said"),
    [
        ({"at.q": (4, 3), "at.k": (5, 3)}, "at.k", "1 parts that make shape [4, 3]: 'part.0'; expected shape [5, 3]"),
        ({"at.q": (2, 3), "at.k": (4, 3)}, "at.q", "1 parts that make shape [4, 3]: 'part.0'; expected shape [2, 3]"),
        ({"at.q": (4, 3)}, "at.k", "1 parts that make shape [4, 3]: 'part.0'; expected no such parameter"),
    ],
)
def test_each_parameter_that_a_tensor_makes_has_its_shape(
    llama: Blueprint, tmp_path: Path, shapes: dict, where: str, said: str
) -> None:
    with pytest.raises(CheckpointError) as caught:
        assemble("at.q", parts(tmp_path, [Chunk(dim=0)], ["q", "k"], np.zeros((8, 3))), replace(llama, shapes=shapes))
    (defect,) = caught.value.defects
    assert (defect.where, f"{defect.found}; expected {defect.expected}") == (f"tensor '{where}'", said)


def test_parts_of_two_converters_become_no_parameter(llama: Blueprint, tmp_path: Path) -> None:
    both = parts(tmp_path, [Concatenate(dim=0)], ["made"], np.zeros((2, 3)), np.zeros((2, 3)))
    plan = replace(llama, shapes={"at.made": (4, 3)})
    assert len(assemble("at.made", both, plan)["at.made"]) == 1
    for other in (None, both[0].converter.copy(["part.1"], ["made"], operations=[Concatenate(dim=0)])):
        with pytest.raises(CheckpointError, match=r"2 tensors that become it: 'part\.0', 'part\.1'"):
            assemble("at.made", [both[0], replace(both[1], converter=other)], plan)


def test_rows_that_are_lost_or_doubled_are_compared_as_parts(llama: Blueprint, tmp_path: Path) -> None:
    class Half(Chunk):
        def convert(self, *given: Any, **more: Any) -> dict[str, torch.Tensor]:
            return dict(list(super().convert(*given, **more).items())[:1])

    class Twice(Chunk):
        def convert(self, *given: Any, **more: Any) -> dict[str, torch.Tensor]:
            found = super().convert(*given, **more)
            return dict.fromkeys(found, next(iter(found.values())))

    plan = replace(llama, shapes={"at.q": (2, 3), "at.k": (2, 3)})
    for operation in (Half(dim=0), Twice(dim=0)):
        found = assemble("at.q", parts(tmp_path, [operation], ["q", "k"], np.arange(12).reshape(4, 3)), plan)
        assert [tensor.name for tensors in found.values() for tensor in tensors] == ["at.q|part.0"]


def test_what_a_tensor_should_make_is_named_by_its_converter(tmp_path: Path) -> None:
    split = parts(tmp_path, [Chunk(dim=0)], ["q", "k"], np.zeros((2, 3)))
    assert targets("at.q", split) == ["at.q", "at.k"]
    assert targets("at.q", [replace(split[0], converter=None)]) == ["at.q"]


@pytest.mark.parametrize("width", [2, 3])
def test_a_square_that_is_transposed_is_no_order_of_rows(llama: Blueprint, tmp_path: Path, width: int) -> None:
    plan = replace(llama, shapes={"at.made": (width, width)})
    (found,) = assembled(plan, tmp_path, Transpose(0, 1), np.arange(width * width).reshape(width, width))
    assert found.name == "at.made|part.0"


def test_an_operation_that_leaves_a_tensor_as_it_lies_may_give_it_in_a_list(llama: Blueprint, tmp_path: Path) -> None:
    plan = replace(llama, shapes={"at.made": (2, 3)})
    operation = PermuteForRope(permute_layer_names=["another"])
    (found,) = assembled(plan, tmp_path, operation, np.arange(6).reshape(2, 3))
    assert read(found).flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_a_tensor_is_split_by_the_sizes_that_the_model_has(llama: Blueprint, tmp_path: Path) -> None:
    """Of two projections with other numbers of rows: transformers looks them up in the model."""
    names = ["model.layers.0.mlp.gate_proj.weight", "model.layers.0.self_attn.q_proj.weight"]  # 24 and 16 rows
    split = parts(tmp_path, [Split(dim=0)], names, np.arange(40 * 16).reshape(40, 16))
    found = assemble(names[0], split, llama)
    assert [read(tensor)[0, 0] for (tensor,) in found.values()] == [0, 24 * 16]
    assert [*found] == names
