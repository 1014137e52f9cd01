"""Generation settings, templates and tokenizers of a candidate against base's."""

import json
import re
from pathlib import Path

import pytest
from checkpoint_files import TOKENIZER, write
from checkpoint_files import weights as made
from edited import candidate, opened, why_not

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import Intake, assert_comparable, compare


@pytest.mark.parametrize(
    "changes", [{"forced_eos_token_id": 2}, {"bad_words_ids": [[5]]}, {"repetition_penalty": 1.3}, {"num_beams": 3}]
)
def test_config_json_bends_answers_where_no_generation_config_lies_beside_it(
    tmp_path: Path, base: Intake, changes: dict
) -> None:
    """The loaded config has lost such keys; a loaded model is given those of the file."""
    (key,) = changes
    assert f"generation_config.json: {key}: found" in why_not(base, candidate(tmp_path, config=changes))


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
