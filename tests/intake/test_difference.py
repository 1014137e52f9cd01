"""What keeps a candidate from being compared with its base, and what was edited, with norms worked by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import CONFIG, TOKENIZER, write
from checkpoint_files import weights as made

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import Intake, assert_comparable, compare, inspection, open_checkpoint
from unlearn_guard.intake import updates as updates_module

NORM, HEAD = "model.norm.weight", "lm_head.weight"


def numbers(values: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return ("F32", values.shape, values.astype(np.float32).tobytes())


@pytest.fixture
def base(tmp_path: Path) -> Intake:
    return open_checkpoint(write(tmp_path / "base", {**made(), NORM: numbers(np.full(16, 3.0))}))


def candidate(tmp_path: Path, tensors: dict | None = None, **documents: object) -> Intake:
    edited = {**made(), NORM: numbers(np.array([3.0] * 15 + [7.0])), **(tensors or {})}
    return open_checkpoint(write(tmp_path / "candidate", edited, **documents))


def why_not(base: Intake, other: Intake) -> str:
    with pytest.raises(CheckpointError) as caught:
        assert_comparable(base, other)
    return str(caught.value)


def test_an_edit_is_measured_as_by_hand(tmp_path: Path, base: Intake) -> None:
    seen = inspection(candidate(tmp_path), base)
    (update,) = seen.updates
    # one element of 16 moved by 4; base's norm is sqrt(16 * 9) = 12
    assert (update.name, update.changed, update.norm, update.relative) == (NORM, 1, 4.0, 4.0 / 12.0)
    assert dict(seen.facts)["tensors changed"] == "1 of 21"
    assert seen.difference is not None
    assert seen.difference.changed == (NORM,)


def test_chunks_do_not_move_a_norm(tmp_path: Path, base: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    other = candidate(tmp_path, made(seed=1))
    whole = inspection(other, base).updates
    monkeypatch.setattr(updates_module, "ELEMENTS", 7)
    for one, two in zip(whole, inspection(other, base).updates, strict=True):
        assert one.name == two.name
        assert math.isclose(one.norm, two.norm, rel_tol=1e-12)


def test_norms_are_those_of_a_literal_sum(tmp_path: Path, base: Intake) -> None:
    by_name = {update.name: update for update in inspection(candidate(tmp_path, made(seed=1)), base).updates}
    left, right = (np.frombuffer(made(seed)[HEAD][2], np.float32).tolist() for seed in (0, 1))
    norm = math.sqrt(math.fsum((b - a) ** 2 for a, b in zip(left, right, strict=True)))
    assert math.isclose(by_name[HEAD].norm, norm, rel_tol=1e-12)
    assert math.isclose(by_name[HEAD].relative or 0, norm / math.sqrt(math.fsum(a * a for a in left)), rel_tol=1e-12)


def test_identical_weights_are_nothing_unlearned(tmp_path: Path, base: Intake) -> None:
    same = candidate(tmp_path, {NORM: numbers(np.full(16, 3.0))})
    assert "nothing was unlearned: every tensor equals base's" in why_not(base, same)
    assert compare(base, same).changed == ()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_cast_is_no_edit_either_way(tmp_path: Path, base: Intake, dtype: torch.dtype) -> None:
    cast = {}
    name = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64"}[dtype]
    for key, (_, shape, raw) in {**made(), NORM: numbers(np.full(16, 3.0))}.items():
        tensor = torch.frombuffer(bytearray(raw), dtype=torch.float32).to(dtype)
        cast[key] = (name, shape, tensor.view(torch.uint8).numpy().tobytes())
    other = open_checkpoint(write(tmp_path / "cast", cast))
    assert "nothing was unlearned" in why_not(base, other)
    assert "nothing was unlearned" in why_not(other, base)
    assert compare(base, other).notes == (f"21 tensors are {name}, base's are F32",)
    cast[NORM] = numbers(np.array([3.0] * 15 + [3.1]))
    assert assert_comparable(base, open_checkpoint(write(tmp_path / "edited", cast))).changed == (NORM,)


def test_another_architecture_is_one_clear_list(tmp_path: Path, base: Intake) -> None:
    changes = {"num_attention_heads": 4, "num_key_value_heads": 4, "rope_theta": 5e5}
    text = why_not(
        base, candidate(tmp_path, {HEAD: numbers(np.zeros((31, 16))), "new": numbers(np.zeros(2))}, config=changes)
    )
    for part in (
        "num_attention_heads: found 4; expected base's 2",
        "num_key_value_heads",
        "rope_theta",
        "tensor 'lm_head.weight': found shape [31, 16]; expected base's shape [32, 16]",
        "tensor 'new'",
    ):
        assert part in text, text


def test_another_spelling_of_the_same_config_is_no_difference(tmp_path: Path, base: Intake) -> None:
    other = candidate(tmp_path)
    newer = {key: value for key, value in CONFIG.items() if key != "rope_theta"}
    newer |= {
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "attention_bias": False,
        "dtype": "float32",
    }
    (other.checkpoint.path / "config.json").write_text(json.dumps(newer))
    assert assert_comparable(base, open_checkpoint(other.checkpoint.path)).defects == ()


def test_another_tokenizer_is_refused_a_rewritten_one_noted(tmp_path: Path, base: Intake) -> None:
    other = candidate(tmp_path)
    (other.checkpoint.path / "tokenizer.json").write_text(json.dumps(TOKENIZER, indent=2))
    assert "differ from base's in bytes" in assert_comparable(base, open_checkpoint(other.checkpoint.path)).notes[0]
    swapped = dict(TOKENIZER["model"]["vocab"], w1=2, w2=1)
    other = candidate(
        tmp_path, tokenizer={"model": {**TOKENIZER["model"], "vocab": swapped}}, settings={"add_bos_token": True}
    )
    text = why_not(base, other)
    assert "tokenizer: found other tokens or rules (32 ids; base has 32)" in text
    assert "add_bos_token: found True; expected base's None" in text


def test_another_template_is_refused_unless_allowed(tmp_path: Path, base: Intake) -> None:
    other = candidate(tmp_path, settings={"chat_template": "{{ messages }}"})
    assert "chat template: found one of 14 characters; expected base's (none)" in why_not(base, other)
    assert assert_comparable(base, other, allow_template=True).template is not None
