"""Tensors that share another's: stored once, twice, or under the other name alone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_files import weights, write

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import Blueprint, blueprint, open_checkpoint, parameters, with_parameters
from unlearn_guard.intake.blueprint import _patterns

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"
TIED = {"tie_word_embeddings": True}


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Blueprint:
    return blueprint(write(tmp_path_factory.mktemp("llama")))


def names(folder: Path) -> tuple[set[str], list[str]]:
    """Those of the parameters, and those stored once more."""
    found = with_parameters(open_checkpoint(folder))
    return {each.name for each in found.checkpoint.tensors}, [each.name for each in found.copies]


def test_a_tied_tensor_is_listed_once_under_its_source_s_name(tmp_path: Path) -> None:
    made = weights()
    both = write(tmp_path / "both", {**made, HEAD: made[EMBEDDING]}, config=TIED)
    assert names(both) == ({*made} - {HEAD}, [EMBEDDING])
    without = write(tmp_path / "without", {name: made[name] for name in made if name != HEAD}, config=TIED)
    assert names(without) == ({*made} - {HEAD}, [])
    other = write(tmp_path / "other", {name: made[name] for name in made if name != EMBEDDING}, config=TIED)
    assert names(other) == ({*made} - {HEAD}, [])
    assert names(write(tmp_path / "untied", made)) == ({*made}, [])


def test_a_copy_in_another_dtype_is_no_copy(tmp_path: Path) -> None:
    made = weights()
    _, shape, raw = made[EMBEDDING]
    wide = ("F64", shape, np.frombuffer(raw, np.float32).astype(np.float64).tobytes())
    with pytest.raises(CheckpointError, match=r"lm_head\.weight': found other values than 'model\.embed_tokens"):
        names(write(tmp_path, {**made, HEAD: wide}, config=TIED))


@pytest.mark.parametrize(
    ("tied", "stored", "absent"),
    [
        ({"b": "a"}, "acd", ""),
        ({"b": "a"}, "bcd", ""),
        ({"b": "a"}, "cd", "ab"),
        ({"b": "a", "c": "a"}, "cd", ""),  # two that are tied to a third
        ({"b": "a", "c": "a"}, "bd", ""),
        ({"b": "a", "d": "c"}, "a", "cd"),
        ({"b": "a", "d": "c"}, "ad", ""),
        ({"b": "a", "d": "c"}, "d", "ab"),
        ({}, "abc", "d"),
    ],
)
def test_what_is_tied_to_something_stored_is_not_absent(
    llama: Blueprint, tied: dict[str, str], stored: str, absent: str
) -> None:
    plan = replace(llama, shapes=dict.fromkeys("abcd", (1,)), tied=tied)
    defects = [*parameters._absent(dict.fromkeys(stored), plan)]
    assert [each.where for each in defects] == [f"tensor '{name}'" for name in absent]
    assert all((each.found, each.expected) == ("nothing", "shape [1]") for each in defects)


def test_what_a_class_does_without_is_not_absent(llama: Blueprint) -> None:
    plan = replace(llama, shapes={"a.bias": (1,), "a.weight": (1,)}, optional=_patterns([r"\.bias$"]))
    assert [each.where for each in parameters._absent({}, plan)] == ["tensor 'a.weight'"]


def test_what_a_class_skips_is_not_left_over(llama: Blueprint, tmp_path: Path) -> None:
    folder = write(tmp_path, {**weights(), "old.bias": ("F32", (1,), bytes(4))})
    plan = replace(llama, ignorable=_patterns({"^old"}))
    assert with_parameters(open_checkpoint(folder), plan).copies == ()
    with pytest.raises(CheckpointError, match=r"'old\.bias': found a tensor of shape \[1\] in model\.safetensors"):
        with_parameters(open_checkpoint(folder), llama)
    assert _patterns(None) == ()


@pytest.mark.parametrize(
    ("name", "shape", "old"),
    [
        ("model.layers.0.self_attn.rotary_emb.inv_freq", (4,), True),
        ("rotary_emb.inv_freq", (4,), True),
        ("embeddings.position_ids", (1, 4), True),
        ("my_position_ids", (1, 4), False),
        ("h.0.attn.bias", (1, 1, 4, 4), True),
        ("h.0.attn.bias", (16,), False),
        ("h.0.attn.bias", (1, 2, 4, 4), False),
        ("h.0.attn.masked_bias", (), True),
        ("h.0.attn.other", (), False),
        ("h.0.attention.causal_mask", (1, 1), True),
        ("h.0.xattn.bias", (), False),
    ],
)
def test_which_buffers_older_releases_stored(tmp_path: Path, name: str, shape: tuple[int, ...], old: bool) -> None:
    raw = bytes(4 * int(np.prod(shape)))
    (tensor,) = open_checkpoint(write(tmp_path, {name: ("F32", shape, raw)})).tensors
    assert parameters._old_buffer(tensor) is old


def test_two_names_of_one_parameter_are_refused(llama: Blueprint, tmp_path: Path) -> None:
    made = weights()
    folder = write(tmp_path, {**made, "norm.weight": made["model.norm.weight"]})
    with pytest.raises(CheckpointError, match=r"2 tensors that become it: 'model\.norm\.weight', 'norm\.weight'"):
        with_parameters(open_checkpoint(folder), llama)


def test_a_wrapped_model_is_one_defect(llama: Blueprint, tmp_path: Path) -> None:
    folder = write(tmp_path, {f"module.{name}": tensor for name, tensor in weights().items()})
    with pytest.raises(CheckpointError) as caught:
        with_parameters(open_checkpoint(folder), llama)
    assert [each.where for each in caught.value.defects] == ["tensors"]


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (ImportError("no timm"), "Install what it asks for."),
        (ZeroDivisionError("by zero"), "Mend the config, or install a transformers release"),
        (AssertionError("padding"), "Mend the config"),
        (OSError("no file"), "Mend the config"),
    ],
)
def test_a_config_that_transformers_refuses_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, fix: str
) -> None:
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_config", raising(error))
    with pytest.raises(CheckpointError) as caught:
        blueprint(write(tmp_path))
    (defect,) = caught.value.defects
    assert defect.found == f"a config that transformers refuses ({type(error).__name__}: '{error}')"
    assert defect.fix.startswith(fix)


def test_any_other_error_is_nobody_s_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_config", raising(MemoryError()))
    with pytest.raises(MemoryError):
        blueprint(write(tmp_path))
