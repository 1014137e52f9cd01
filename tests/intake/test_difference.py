"""What keeps a candidate from being compared with its base, and what was edited, with norms worked by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import CONFIG, write
from checkpoint_files import weights as made
from edited import HEAD, NORM, candidate, numbers, opened, why_not

from unlearn_guard.intake import Intake, assert_comparable, compare, inspection
from unlearn_guard.intake import updates as updates_module


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
    other = opened(write(tmp_path / "cast", cast))
    assert "nothing was unlearned" in why_not(base, other)
    assert "nothing was unlearned" in why_not(other, base)
    assert compare(base, other).notes == (f"21 tensors are {name}, base's are F32",)
    cast[NORM] = numbers(np.array([3.0] * 15 + [3.1]))
    assert assert_comparable(base, opened(write(tmp_path / "edited", cast))).changed == (NORM,)


def test_another_architecture_is_one_clear_list(tmp_path: Path, base: Intake) -> None:
    changes = {"num_attention_heads": 4, "num_key_value_heads": 4, "rope_theta": 5e5, "head_dim": 4}
    text = why_not(base, candidate(tmp_path, config=changes))
    for part in (
        "num_attention_heads: found 4; expected base's 2",
        "num_key_value_heads",
        "rope_parameters: found {'rope_theta': 500000.0",
    ):
        assert part in text, text


def test_other_shapes_are_named_one_by_one(tmp_path: Path, base: Intake) -> None:
    wide = {"model.embed_tokens.weight": numbers(np.zeros((40, 16))), HEAD: numbers(np.zeros((40, 16)))}
    text = why_not(base, candidate(tmp_path, wide, config={"vocab_size": 40}))
    assert "tensor 'lm_head.weight': found shape [40, 16]; expected base's shape [32, 16]" in text
    assert "vocab_size: found 40; expected base's 32" in text


@pytest.mark.parametrize(
    "changes",
    [
        {"pad_token_id": 3, "bos_token_id": 4, "eos_token_id": [2]},
        {"unsloth_version": "2026.4.5", "unsloth_fixed": True, "anything": {"nested": [1, None]}},
        {"attention_dropout": 0, "rope_theta": 10000, "rms_norm_eps": 1e-6},
        {"hidden_act": "swish", "use_cache": False, "architectures": ["FSDPLlamaForCausalLM"]},
        {"rope_scaling": {"rope_type": "linear", "factor": 1.0}},
        {"max_position_embeddings": 4096},
    ],
)
def test_what_shapes_no_answer_is_a_note(tmp_path: Path, base: Intake, changes: dict) -> None:
    generation = {"eos_token_id": None}
    other = candidate(tmp_path, config=changes)
    for each in (base.checkpoint.path, other.checkpoint.path):
        (each / "generation_config.json").write_text(json.dumps(generation))
    assert assert_comparable(opened(base.checkpoint.path), opened(other.checkpoint.path)).defects == ()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"rms_norm_eps": 1e-5}, "rms_norm_eps"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_parameters"),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 1.0}}, "rope_parameters"),
        ({"max_position_embeddings": 8}, "max_position_embeddings"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder"),
        ({"sep_token_id": 2**64}, "sep_token_id"),
        ({"sep_token_id": [2, "x"]}, "sep_token_id"),
        ({"vision_feature_select_strategy": "full"}, "vision_feature_select_strategy"),
        ({"is_causal": False}, "is_causal"),  # read, and declared nowhere
        ({"attribute_map": {"hidden_act": "gate"}, "gate": "relu"}, "attribute_map"),
    ],
)
def test_what_is_computed_is_a_defect(tmp_path: Path, base: Intake, changes: dict, named: str) -> None:
    assert f"config.json: {named}: found" in why_not(base, candidate(tmp_path, config=changes))


def test_another_spelling_of_the_same_config_is_no_difference(tmp_path: Path, base: Intake) -> None:
    other = candidate(tmp_path)
    newer = {key: value for key, value in CONFIG.items() if key != "rope_theta"}
    newer |= {
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "attention_bias": False,
        "dtype": "float32",
    }
    (other.checkpoint.path / "config.json").write_text(json.dumps(newer))
    assert assert_comparable(base, opened(other.checkpoint.path)).defects == ()


def test_a_rope_that_grows_with_the_text_may_be_spelt_twice(tmp_path: Path) -> None:
    spellings = {"type": "dynamic"}, {"rope_type": "dynamic"}
    pair = [{"rope_scaling": {**spelling, "factor": 2.0}} for spelling in spellings]
    before = opened(write(tmp_path / "before", config=pair[0]))
    after = opened(write(tmp_path / "after", made(seed=1), config=pair[1]))
    assert compare(before, after).defects == ()
    pair[1]["rope_scaling"]["factor"] = 4.0
    after = opened(write(tmp_path / "after", made(seed=1), config=pair[1]))
    assert [each.where for each in compare(before, after).defects] == ["config.json: rope_parameters"]


def test_a_template_whose_name_no_printer_takes_is_escaped(tmp_path: Path, base: Intake) -> None:
    other = candidate(tmp_path)
    (other.checkpoint.path / "a\udcff\x1b.jinja").write_text("{{ messages }}")
    for note in compare(base, opened(other.checkpoint.path)).notes:
        assert note.isprintable()


def test_what_inspect_says_of_hostile_texts_is_printable(tmp_path: Path, base: Intake) -> None:
    other = candidate(tmp_path, config={"architectures": ["\x1b[2J", "\u202eX", "a" * 9999]})
    (other.checkpoint.path / "unlearn_guard.json").write_text(json.dumps({"method": "\x00\n::error::"}))
    facts = dict(inspection(opened(other.checkpoint.path), base).facts)
    assert facts["method, by its maker"] == repr("\x00\n::error::")
    assert all(text.isprintable() and len(text) < 200 for text in facts.values()), facts


def test_rope_settings_that_scale_attention_are_not_told_by_angles_alone(tmp_path: Path, base: Intake) -> None:
    changes = {"rope_parameters": {"rope_theta": 10000.0, "rope_type": "default", "llama_4_scaling_beta": 0.1}}
    assert "config.json: rope_parameters: found" in why_not(base, candidate(tmp_path, config=changes))
