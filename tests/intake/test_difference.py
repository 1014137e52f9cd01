"""What keeps a candidate from being compared with its base, and what was edited, with norms worked by hand."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint_files import CONFIG, TOKENIZER, write
from checkpoint_files import weights as made

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import Intake, assert_comparable, compare, inspection, open_checkpoint, with_parameters
from unlearn_guard.intake import updates as updates_module

NORM, HEAD = "model.norm.weight", "lm_head.weight"


def opened(path: Path) -> Intake:
    return with_parameters(open_checkpoint(path))


def numbers(values: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    return ("F32", values.shape, values.astype(np.float32).tobytes())


@pytest.fixture
def base(tmp_path: Path) -> Intake:
    return opened(write(tmp_path / "base", {**made(), NORM: numbers(np.full(16, 3.0))}))


def candidate(tmp_path: Path, tensors: dict | None = None, **documents: object) -> Intake:
    edited = {**made(), NORM: numbers(np.array([3.0] * 15 + [7.0])), **(tensors or {})}
    return opened(write(tmp_path / "candidate", edited, **documents))


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


@pytest.mark.parametrize(
    "changes", [{"forced_eos_token_id": 2}, {"bad_words_ids": [[5]]}, {"repetition_penalty": 1.3}, {"num_beams": 3}]
)
def test_config_json_bends_answers_where_no_generation_config_lies_beside_it(
    tmp_path: Path, base: Intake, changes: dict
) -> None:
    """The loaded config has lost such keys; a loaded model is given those of the file."""
    (key,) = changes
    assert f"generation_config.json: {key}: found" in why_not(base, candidate(tmp_path, config=changes))


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


TEMPLATE = "{% for m in messages %}{{ m }}\n{% endfor %}"


@pytest.mark.parametrize(
    "settings",
    [
        {"add_prefix_space": True},
        {"add_bos_token": False},
        {"clean_up_tokenization_spaces": True},
        {"chat_template": TEMPLATE + "\n"},
        {"chat_template": TEMPLATE.replace("\n", "\r\n")},
        {"chat_template": [{"name": "default", "template": TEMPLATE}]},
    ],
)
def test_settings_that_change_no_id_of_any_text_are_a_note(tmp_path: Path, settings: dict) -> None:
    before = opened(write(tmp_path / "before", settings={"chat_template": TEMPLATE}))
    after = opened(write(tmp_path / "after", made(seed=1), settings={"chat_template": TEMPLATE, **settings}))
    found = assert_comparable(before, after)
    assert any("what it does to a text does not" in note for note in found.notes)
    assert any("clean_up" in note for note in found.notes) == ("clean_up_tokenization_spaces" in settings)


def test_a_template_on_one_side_says_what_to_do(tmp_path: Path, base: Intake) -> None:
    with_one = opened(write(tmp_path / "template", made(seed=1), settings={"chat_template": TEMPLATE}))
    assert "found a template for 'default'; expected none, as in base. Delete it" in why_not(base, with_one)
    assert "found no template; expected base's. Copy base's chat_template.jinja" in why_not(with_one, base)


@pytest.mark.parametrize(
    ("ours", "theirs", "defects"),
    [
        ({"max_length": 131072}, {"max_length": 2048}, 0),  # a trainer writes the length it trained at
        ({"max_length": 131072}, {"max_length": 511}, 1),
        ({"max_length": 100}, {"max_length": 100}, 0),
        ({}, {"max_length": 99}, 1),
        ({"max_new_tokens": 4096}, {"max_new_tokens": 256}, 0),
        ({"max_new_tokens": 4096}, {"max_new_tokens": 255}, 1),
        ({"eos_token_id": 1}, {"eos_token_id": [5, 1]}, 0),  # 5 is the tokenizer's own end
        ({"eos_token_id": 1}, {"eos_token_id": [6, 1]}, 1),
        ({"eos_token_id": 1}, {"eos_token_id": [5]}, 1),
        ({"eos_token_id": [5, 1]}, {"eos_token_id": [1]}, 1),
    ],
)
def test_an_answer_may_end_where_the_guard_ends_base_s(tmp_path: Path, ours: dict, theirs: dict, defects: int) -> None:
    sides = []
    for name, generation, seed in (("before", ours, 0), ("after", theirs, 1)):
        folder = write(tmp_path / name, made(seed=seed), settings={"eos_token": "w5"})
        (folder / "generation_config.json").write_text(json.dumps(generation))
        sides.append(opened(folder))
    found = compare(*sides)
    assert len(found.defects) == defects
    assert any("own end" in note for note in found.notes) == (theirs.get("eos_token_id") == [5, 1])


def test_another_tokenizer_is_refused_a_rewritten_one_noted(tmp_path: Path, base: Intake) -> None:
    other = candidate(tmp_path)
    (other.checkpoint.path / "tokenizer.json").write_text(json.dumps(TOKENIZER, indent=2))
    (note,) = assert_comparable(base, opened(other.checkpoint.path)).notes
    assert "what it does to a text does not" in note
    swapped = dict(TOKENIZER["model"]["vocab"], w1=2, w2=1)
    other = candidate(tmp_path, tokenizer={"model": {**TOKENIZER["model"], "vocab": swapped}})
    assert "tokenizer: model (tokenizer.json): found other tokens or rules; expected base's" in why_not(base, other)


ADDED = {"content": "w9", "single_word": True, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
CONTROL = {**ADDED, "content": "<|pad|>", "special": True}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"added_tokens_decoder": {"31": ADDED}}, r"added token 9 \(tokenizer_config.json: 'added_tokens_decoder'"),
        ({"extra_special_tokens": ["w9 w8"]}, r"added token 32 \(tokenizer_config.json: 'extra_special_tokens'"),
        ({"additional_special_tokens": ["w9 w8"]}, r"added token 32 \(tokenizer_config.json: 'additional_special"),
        ({"bos_token": "w3"}, r"bos_token_id \(tokenizer_config.json: 'bos_token'\): found 3; expected base's None"),
        ({"eos_token": "w3"}, "eos_token_id"),
        ({"pad_token": "w3"}, "pad_token_id .* found 'w3', an ordinary token"),
        ({"split_special_tokens": True}, "split_special_tokens"),
        ({"model_input_names": ["input_ids"]}, "model_input_names"),
        ({"tokenizer_class": "BertTokenizer"}, "tokenizer"),
        ({"chat_template": "{{ messages }}"}, "chat template"),
        ({"chat_template": [{"name": "tool_use", "template": "{{ messages }}"}]}, "chat template"),
    ],
)
def test_what_the_loaded_tokenizer_does_otherwise_is_a_defect(
    tmp_path: Path, base: Intake, settings: dict, named: str
) -> None:
    assert re.search(named, why_not(base, candidate(tmp_path, settings=settings)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("special_tokens_map.json", '{"bos_token": "w3"}'),
        ("added_tokens.json", '{"w9 w8": 32}'),
        ("chat_template.jinja", "{{ messages }}"),
        ("additional_chat_templates/default.jinja", "{{ messages }}"),
    ],
)
def test_files_that_change_the_loaded_tokenizer_are_named(tmp_path: Path, base: Intake, name: str, text: str) -> None:
    other = candidate(tmp_path)
    (other.checkpoint.path / name).parent.mkdir(exist_ok=True)
    (other.checkpoint.path / name).write_text(text)
    found = compare(base, opened(other.checkpoint.path))
    assert found.defects or name == "added_tokens.json", found
    assert all(name in each.where for each in found.defects)


def test_a_padding_token_is_a_note(tmp_path: Path, base: Intake) -> None:
    settings = {"pad_token": "<|pad|>", "padding_side": "left", "model_max_length": 64}
    other = candidate(tmp_path, settings=settings, config={"vocab_size": 32})
    found = compare(base, other)
    assert found.defects == ()
    assert any("padded with '<|pad|>'" in note for note in found.notes)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"eos_token_id": [2, 5]}, r"eos_token_id: found end ids \[2, 5\]; expected base's \[2\]"),
        ({"bad_words_ids": [[5]]}, "bad_words_ids"),
        ({"suppress_tokens": [5, 6]}, "suppress_tokens"),
        ({"repetition_penalty": 1.2}, "repetition_penalty"),
        ({"forced_eos_token_id": 5}, "forced_eos_token_id"),
        ({"sequence_bias": [[[5], -9.0]]}, "sequence_bias"),
        ({"max_new_tokens": 1}, "max_new_tokens"),
        ({"no_repeat_ngram_size": 2}, "no_repeat_ngram_size"),
        ({"use_cache": 0}, "use_cache"),
        ({"do_sample": "no"}, "do_sample"),
        ({"cache_implementation": "quantized"}, "cache_implementation"),
    ],
)
def test_a_generation_config_that_bends_answers_is_a_defect(
    tmp_path: Path, base: Intake, changes: dict, named: str
) -> None:
    other = candidate(tmp_path)
    for each, more in ((base, {}), (other, changes)):
        text = json.dumps({"eos_token_id": 2, **more})
        (each.checkpoint.path / "generation_config.json").write_text(text)
    found = why_not(opened(base.checkpoint.path), opened(other.checkpoint.path))
    assert re.search(f"generation_config.json: {named}", found), found


def test_a_generation_config_that_bends_nothing_is_a_note(tmp_path: Path, base: Intake) -> None:
    other = candidate(tmp_path)
    quiet = {"temperature": 0.6, "do_sample": True, "max_length": 4096, "pad_token_id": 3, "repetition_penalty": 1.0}
    quiet |= {"use_cache": False, "cache_implementation": "static"}
    for each, more in ((base, {}), (other, quiet)):
        text = json.dumps({"eos_token_id": 2, **more})
        (each.checkpoint.path / "generation_config.json").write_text(text)
    found = compare(opened(base.checkpoint.path), opened(other.checkpoint.path))
    assert found.defects == ()
    assert "'max_length', 'pad_token_id'" in " ".join(found.notes)


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


@pytest.mark.parametrize("length", ["64", {"a": 1}])
def test_a_setting_that_shows_in_use_alone_is_refused_when_the_tokenizer_is_opened(
    tmp_path: Path, base: Intake, length: object
) -> None:
    with pytest.raises(CheckpointError, match="files that transformers refuses"):
        compare(base, candidate(tmp_path, settings={"model_max_length": length}))


def test_a_template_in_the_special_tokens_is_another_template(tmp_path: Path, base: Intake) -> None:
    other = candidate(tmp_path)
    token = {"content": "{{ messages }}", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    (other.checkpoint.path / "special_tokens_map.json").write_text(json.dumps({"chat_template": token}))
    assert "chat template" in why_not(base, opened(other.checkpoint.path))
