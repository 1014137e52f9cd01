"""Tokenizer files and the chat template: whole, inside the embedding, and not a program that runs off."""

import json
from pathlib import Path

import pytest
from checkpoint_files import TOKENIZER, VOCABULARY, write

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import open_checkpoint, open_tokenizer

CHATML = (
    "{%- for message in messages -%}{%- if loop.index0 == 0 and messages[0]['role'] == 'system' -%}"
    "{{ messages[0]['content'] | trim }}{%- else -%}<|im_start|>{{ message.role + '\\n' }}"
    "{% generation %}{{ message['content'] }}{% endgeneration %}{%- endif -%}"
    "{%- if message.x is defined -%}{%- break -%}{%- endif -%}{%- endfor -%}"
    "{%- for i in range(messages | length) -%}{{ i }}{%- endfor -%}{% set ns = namespace(a=1) %}"
)


def test_a_missing_tokenizer_is_named(sound: Path, refused) -> None:
    (sound / "tokenizer.json").unlink()
    refused(sound, "tokenizer: found none; expected tokenizer.json", "save_pretrained")


def test_a_truncated_tokenizer_is_named(sound: Path, refused) -> None:
    raw = (sound / "tokenizer.json").read_bytes()
    (sound / "tokenizer.json").write_bytes(raw[: len(raw) // 2])
    refused(sound, "tokenizer.json: found broken JSON at line 1")


def test_ids_past_the_embedding_are_refused(tmp_path: Path, refused) -> None:
    added = {"added_tokens": [{"id": VOCABULARY, "content": "<pad>"}]}
    refused(write(tmp_path / "big", tokenizer=added), "found ids up to 32; expected ids below 32")
    last = write(tmp_path / "fits", tokenizer={"added_tokens": [{"id": VOCABULARY - 1, "content": "<pad>"}]})
    assert open_checkpoint(last).tokenizer.size == VOCABULARY


def test_a_special_token_past_the_embedding_is_noted(tmp_path: Path, refused) -> None:
    """As in a text model that shares a multimodal one's tokenizer (Gemma 3 1B: 262 144 rows, one image token more)."""
    image = {"id": VOCABULARY, "content": "<image_soft_token>", "special": True}
    opened = open_checkpoint(write(tmp_path / "text", tokenizer={"added_tokens": [image]}))
    assert (opened.tokenizer.size, opened.tokenizer.beyond) == (VOCABULARY + 1, ("<image_soft_token>",))
    assert any("no row for the special tokens '<image_soft_token>'" in note for note in opened.notes)
    both = {"added_tokens": [image, {**image, "id": VOCABULARY + 1, "content": "word", "special": False}]}
    refused(write(tmp_path / "word", tokenizer=both), "found ids up to 33; expected ids below 32")


@pytest.mark.parametrize(
    "changes",
    [
        *(
            {"model": None},
            {"model": {"vocab": {}}},
            {"model": {"vocab": {"a": "0"}}},
            {"model": {"vocab": {"a": None}}},
        ),
        *(
            {"added_tokens": {}},
            {"added_tokens": [5]},
            {"added_tokens": [{"id": -1}]},
            {"added_tokens": [{"id": True}]},
        ),
        *({"model": {"vocab": {"a": 0}, "merges": [each]}} for each in (5, None, ["a", {}], [["a"], "b"])),
    ],
)
def test_a_tokenizer_of_wrong_types_is_refused(tmp_path: Path, refused, changes: dict) -> None:
    refused(write(tmp_path / "bad", tokenizer=changes), "tokenizer.json")


def test_a_list_vocabulary_counts_its_entries(tmp_path: Path) -> None:
    unigram = {"model": {"type": "Unigram", "vocab": [["a", -1.0], ["b", -2.0]]}, "added_tokens": []}
    assert open_checkpoint(write(tmp_path / "u", tokenizer=unigram)).tokenizer.size == 2


def test_a_sentencepiece_model_is_walked_to_its_end(sound: Path, refused) -> None:
    (sound / "tokenizer.json").unlink()
    whole = b"\x0a\x05hello\x10\x07\x1d\0\0\x80\x3f"
    (sound / "tokenizer.model").write_bytes(whole)
    assert open_checkpoint(sound).tokenizer.vocabulary is None
    for cut in (0, 1, 4, 8, 11):
        (sound / "tokenizer.model").write_bytes(whole[:cut])
        refused(sound, "tokenizer.model: found a file cut short")


def test_the_template_is_the_one_that_transformers_takes(sound: Path) -> None:
    entries = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    (sound / "tokenizer_config.json").write_text(json.dumps({"chat_template": entries}))
    assert open_checkpoint(sound).template == "d"
    (sound / "chat_template.jinja").write_text(CHATML)
    assert open_checkpoint(sound).template == CHATML


@pytest.mark.parametrize(
    ("template", "pattern"),
    [
        ("{% for x in %}", "a syntax error in line 1"),
        ("{{ ''.__class__.__mro__ }}", "the private attribute '__class__' in line 1"),
        ("{{ x['__globals__'] }}", "the private attribute '__globals__'"),
        ("{{ x | attr('y') }}", "the filter attr"),
        ("{% include 'a' %}", "an include or import"),
        ("{% extends 'a' %}", "Extends"),
        ("{% for i in range(99999) %}x{% endfor %}", "a range of 99999"),
        (
            "{% for i in range(n) %}{% if a %}{% for j in range(n) %}x{% endfor %}{% endif %}{% endfor %}",
            "inside another",
        ),
        ("{% for i in a recursive %}{{ loop(a) }}{% endfor %}", "a recursive loop"),
        ("{{ 9 ** 9 ** 9 }}", "Pow"),
        ("{{ 'a' * n }}", "a text multiplied"),
        ("{{ " + "(" * 50_000 + ")" * 50_000 + " }}", "too deep"),
        ("a" * 300_000, "300000 characters; expected at most 262144"),
    ],
)
def test_a_template_that_escapes_or_never_ends_is_refused(sound: Path, refused, template: str, pattern: str) -> None:
    (sound / "chat_template.jinja").write_text(template)
    refused(sound, "chat_template.jinja: .*" + pattern)


def test_a_template_that_is_not_text_is_refused(sound: Path, refused) -> None:
    (sound / "chat_template.jinja").write_bytes(b"\xff\xfe")
    refused(sound, "chat_template.jinja: found bytes that are not UTF-8")


def test_rendering_options_are_no_part_of_the_vocabulary(tmp_path: Path) -> None:
    one = open_checkpoint(write(tmp_path / "one"))
    two = open_checkpoint(write(tmp_path / "two", tokenizer={"truncation": {"max_length": 5}}))
    three = open_checkpoint(write(tmp_path / "three", tokenizer={"model": {**TOKENIZER["model"], "unk_token": "w1"}}))
    assert one.tokenizer.vocabulary == two.tokenizer.vocabulary != three.tokenizer.vocabulary
    assert one.tokenizer_digest != two.tokenizer_digest


@pytest.mark.parametrize(
    "name", ["LlamaForCausalLM", "AutoModel", "pipeline", "", 5, ["LlamaTokenizer"], "a.Tokenizer"]
)
def test_a_tokenizer_class_that_is_none_is_refused(tmp_path: Path, refused, name: object) -> None:
    refused(write(tmp_path / "x", settings={"tokenizer_class": name}), "tokenizer_class: found .*expected the name of")


@pytest.mark.parametrize("name", [None, "LlamaTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer"])
def test_a_tokenizer_class_of_any_release_opens(tmp_path: Path, name: str | None) -> None:
    open_checkpoint(write(tmp_path / "x", settings={"tokenizer_class": name}))


def test_a_panic_of_the_tokenizers_library_is_a_refusal(tmp_path: Path) -> None:
    # a merge shorter than the prefix that it is told to cut off: a panic, which is no Exception
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
    model["continuing_subword_prefix"] = "longer"
    path = write(tmp_path / "x", tokenizer={"model": model, "added_tokens": [], "pre_tokenizer": None})
    with pytest.raises(CheckpointError) as caught:
        open_tokenizer(path)
    assert "files that transformers refuses (PanicException" in str(caught.value)


def test_an_interrupt_while_a_tokenizer_is_loaded_stays_one(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_tokenizer(sound)
