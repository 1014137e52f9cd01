"""Two loaded tokenizers: ids of chats, added tokens, padding, clean-up, and where a difference came from."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkpoint_files import TOKENIZER, write
from edited import opened

from unlearn_guard.intake import cleans_up, deployed, open_checkpoint, open_tokenizer
from unlearn_guard.intake.deployed import compare_tokenizers, harmless_pad

PAD = {"content": "<|pad|>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
BPE: dict[str, Any] = {
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3}, "merges": ["a b"]},
    "added_tokens": [],
    "pre_tokenizer": None,
}
BOUNDS = {"pad": {"pad_token": "<|pad|>"}, "none": {}}


def added(*tokens: Mapping[str, Any], first: int = 32) -> dict[str, Any]:
    ours = [{**PAD, "special": True, **token, "id": first + at} for at, token in enumerate(tokens)]
    return {"added_tokens": [*TOKENIZER["added_tokens"], *ours]}  # type: ignore[misc]


def between(tmp_path: Path, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What is said of two checkpoints that differ in these documents."""
    before, after = write(tmp_path / "before", **ours), write(tmp_path / "after", **theirs)
    defects, notes = compare_tokenizers(opened(before), opened(after))
    return [f"{each.where}: {each.found}; {each.expected}" for each in defects], notes


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0].content }}<|pad|>",
        "{% if add_generation_prompt %}<|pad|>{% endif %}",
        "{% if not add_generation_prompt %}<|pad|>{% endif %}",
        "{% for m in messages %}{% if m.role == 'assistant' %}<|pad|>{% endif %}{% endfor %}",
        "{% for m in messages %}{% if m.role == 'system' %}<|pad|>{% endif %}{% endfor %}",
        "{% for m in messages %}{% if m.role == 'tool' %}<|pad|>{% endif %}{% endfor %}",
        "{% if messages | length == 3 and messages[2].role == 'user' %}<|pad|>{% endif %}",
        "{% for d in documents %}{{ d }}{% endfor %}<|pad|>",
    ],
)
def test_a_token_that_only_one_has_is_found_in_whatever_chat_spells_it(tmp_path: Path, template: str) -> None:
    settings = {"chat_template": template}
    said, _ = between(tmp_path, {"settings": settings}, {"settings": settings, "tokenizer": added(PAD)})
    (line,) = said
    assert line.startswith("tokenizer: chat template 'default' (tokenizer.json): ids [32")
    assert "; base's [" in line


def test_a_chat_that_only_goes_on_differs_too(tmp_path: Path) -> None:
    """Base's tokenizer has no id for what it does not know: its ids are the first of the candidate's."""
    settings = {"chat_template": "ab<|x|>"}
    more = {**BPE, "added_tokens": [{**PAD, "content": "<|x|>", "special": True, "id": 4}]}
    both = {"settings": settings, "tokenizer": BPE}, {"settings": settings, "tokenizer": more}
    said, _ = between(tmp_path, *both)
    assert said == [
        "tokenizer: chat template 'default' (tokenizer.json): ids [3, 4] from position 0 of a chat; base's [3]"
    ]


def test_every_template_is_tried_and_each_named_once(tmp_path: Path) -> None:
    templates = [{"name": "default", "template": "{{ messages }}"}, {"name": "tool_use", "template": "a<|pad|>"}]
    settings = {"chat_template": templates}
    said, _ = between(tmp_path, {"settings": settings}, {"settings": settings, "tokenizer": added(PAD)})
    assert [line.partition(" (")[0] for line in said] == ["tokenizer: chat template 'tool_use'"]


def test_two_templates_that_differ_are_one_defect(tmp_path: Path) -> None:
    said, _ = between(tmp_path, {"settings": {"chat_template": "a"}}, {"settings": {"chat_template": "b"}})
    (line,) = said
    assert line.startswith("chat template (tokenizer_config.json")
    assert line.endswith("other templates than base's for 'default'; base's")


def test_a_chat_that_both_templates_refuse_alike_is_no_difference(tmp_path: Path) -> None:
    settings = {"chat_template": "{{ raise_exception('no') }}<|pad|>"}
    said, notes = between(tmp_path, {"settings": settings}, {"settings": settings, "tokenizer": added(PAD)})
    assert said == []
    assert "the tokenizer has special tokens that base's lacks: '<|pad|>'" in notes


def test_a_chat_that_only_one_refuses_is_a_difference(tmp_path: Path) -> None:
    settings = {"chat_template": "{{ pad_token + 'a' }}"}
    said, _ = between(tmp_path, {"settings": settings}, {"settings": {**settings, "pad_token": "<unk>"}})
    (line,) = said
    assert line.startswith("tokenizer: chat template 'default' (tokenizer_config.json: 'pad_token'): ids [0")


def test_added_tokens_are_named_by_id(tmp_path: Path) -> None:
    words = [{**PAD, "content": f"w{at} w9"} for at in range(14)]
    said, _ = between(tmp_path, {}, {"tokenizer": added(*words)})
    (line,) = (each for each in said if "added token" in each)
    ids = ", ".join(map(str, range(32, 44)))
    assert line.startswith(f"tokenizer: added tokens {ids} (tokenizer.json): {{'content': 'w0 w9'")
    assert line.endswith("; base's 'nothing'")


def test_a_token_that_is_lost_or_splits_otherwise_is_a_defect_whatever_it_looks_like(tmp_path: Path) -> None:
    said, _ = between(tmp_path, {"tokenizer": added(PAD)}, {})
    assert any(line.startswith("tokenizer: added token 32 (tokenizer.json): 'nothing'; base's {") for line in said)
    other = added({**PAD, "lstrip": True})
    said, _ = between(tmp_path / "x", {"tokenizer": added(PAD)}, {"tokenizer": other})
    assert any(line.startswith("tokenizer: added token 32 (tokenizer.json): {'content': '<|pad|>'") for line in said)


@pytest.mark.parametrize(("content", "taken"), [("<pad>", 1), ("[PAD]", 1), ("<|a|>", 1), ("pad", 0), ("<p d>", 0)])
def test_a_new_special_token_is_a_note_where_it_looks_like_none_of_a_text(
    tmp_path: Path, content: str, taken: int
) -> None:
    said, notes = between(tmp_path, {}, {"tokenizer": added({**PAD, "content": content})})
    assert (len(said), len(notes)) == (1 - taken, taken * 2)


def test_settings_of_both_are_told_by_file_and_key(tmp_path: Path) -> None:
    ours = {"settings": {"pad_token": "<unk>", "a": 1}}
    theirs = {"settings": {"pad_token": "<|pad|>", "a": 1, "b": 2}, "tokenizer": added(PAD)}
    said, notes = between(tmp_path, ours, theirs)
    assert said == []
    assert "texts are padded with '<|pad|>', base's with '<unk>': padding is masked" in notes
    assert (
        "the tokenizer's files differ from base's (tokenizer.json; tokenizer_config.json: 'b', 'pad_token')"
        in notes[-1]
    )


@pytest.mark.parametrize(("ours", "theirs", "doing"), [(False, True, "take out"), (True, False, "keep")])
def test_clean_up_is_a_note_that_says_which_way(tmp_path: Path, ours: bool, theirs: bool, doing: str) -> None:
    both = ({"settings": {"clean_up_tokenization_spaces": each}} for each in (ours, theirs))
    said, notes = between(tmp_path, *both)
    assert said == []
    assert notes[0] == (
        f"clean_up_tokenization_spaces: its written texts {doing} spaces before punctuation, base's do not so"
    )


@pytest.mark.parametrize(
    ("model", "settings", "cleaned"),
    [
        ({}, {"clean_up_tokenization_spaces": True}, True),
        ({}, {"clean_up_tokenization_spaces": False}, False),
        (BPE, {"clean_up_tokenization_spaces": True}, False),  # which transformers spares
        (BPE, {"clean_up_tokenization_spaces": True,
               "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output": True}, True),
    ],
)  # fmt: skip
def test_who_cleans_up(tmp_path: Path, model: dict, settings: dict, cleaned: bool) -> None:
    assert cleans_up(open_tokenizer(write(tmp_path, tokenizer=model, settings=settings))) is cleaned


def test_no_code_of_a_checkpoint_is_run_while_its_tokenizer_is_loaded(tmp_path: Path) -> None:
    code = {"AutoTokenizer": ["own.Own", None], "AutoConfig": "own.Own"}
    folder = write(tmp_path, config={"auto_map": code}, settings={"tokenizer_class": None})
    (folder / "own.py").write_text("raise SystemExit('run')\n")
    open_checkpoint(folder)
    assert type(open_tokenizer(folder)).__module__.startswith("transformers.")


def test_who_cleans_up_where_a_tokenizer_says_little() -> None:
    fast = SimpleNamespace(model=type("BPE", (), {})())
    assert not cleans_up(SimpleNamespace())
    assert cleans_up(SimpleNamespace(clean_up_tokenization_spaces=True))
    assert not cleans_up(SimpleNamespace(clean_up_tokenization_spaces=True, backend_tokenizer=fast))


@pytest.mark.parametrize(
    ("settings", "harmless"),
    [
        ({}, True),
        ({"pad_token": "<|pad|>"}, True),
        ({"pad_token": "<unk>"}, True),
        ({"pad_token": "w3"}, False),
        ({"pad_token": "w3", "eos_token": "w3"}, True),
        ({"pad_token": "w3", "bos_token": "w3"}, True),
        ({"pad_token": "w3", "unk_token": "w3"}, True),
    ],
)
def test_a_padding_id_is_harmless_where_no_text_holds_it(tmp_path: Path, settings: dict, harmless: bool) -> None:
    assert harmless_pad(open_tokenizer(write(tmp_path, settings=settings))) is harmless


@pytest.mark.parametrize("key", ["tokenizer_class", "model_type", "model_name"])
def test_config_json_may_decide_the_class_over_the_same_files(tmp_path: Path, key: str) -> None:
    one = open_checkpoint(write(tmp_path / "a"))
    other = open_checkpoint(write(tmp_path / "b", config={key: "gpt2"}))
    assert deployed._config_decides(one, other)
    assert not deployed._config_decides(one, open_checkpoint(write(tmp_path / "c", config={"other": 1})))


def slow(**changes: Any) -> Any:
    """A tokenizer without a fast one beneath."""
    made = {"get_vocab": lambda: {"a": 0, "b": 1}, "added_tokens_decoder": {}, "add_bos_token": False}
    return SimpleNamespace(**{**made, **changes})


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"get_vocab": lambda: {"a": 1, "b": 0}}, "vocabulary"),
        *(({key: True}, key) for key in ("add_bos_token", "add_eos_token", "add_prefix_space", "split_special_tokens")),
    ],
)
def test_without_a_fast_tokenizer_words_and_switches_speak(changes: dict, part: str) -> None:
    (defect,) = deployed._rules(slow(), slow(**changes), "x")
    assert defect.where == f"tokenizer: {part} (x)"
    assert [*deployed._rules(slow(), slow(), "x")] == []


def test_without_a_fast_tokenizer_another_class_is_another() -> None:
    class Other(SimpleNamespace):
        pass

    (defect,) = deployed._rules(slow(), Other(**vars(slow())), "x")
    assert defect.where == "tokenizer: class (x)"


def test_the_words_of_a_merge_may_be_one_text_or_two(tmp_path: Path) -> None:
    """And the digest of a vocabulary is that of what they say."""
    made = {
        name: open_checkpoint(write(tmp_path / name, tokenizer={**BPE, "model": {**BPE["model"], "merges": merges}}))
        for name, merges in (("old", ["a b"]), ("new", [["a", "b"]]), ("other", ["b a"]))
    }
    assert made["old"].tokenizer.vocabulary == made["new"].tokenizer.vocabulary != made["other"].tokenizer.vocabulary


def test_vocabularies_that_are_no_json_are_named_where_they_differ(tmp_path: Path) -> None:
    sides = []
    for name, words in (("a", "<unk>\na\nb\n"), ("b", "<unk>\nb\na\n")):
        folder = write(tmp_path / name)
        (folder / "vocab.txt").write_text(words)
        (folder / "chat_template.jinja").write_text(name)
        (folder / "special_tokens_map.json").write_text(json.dumps({"unk_token": "<unk>"}))
        sides.append(open_checkpoint(folder))
    assert deployed._origin(*sides) == "vocab.txt; chat_template.jinja"
    assert deployed._origin(sides[0], sides[0]) == "config.json"
