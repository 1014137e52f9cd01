"""One rule in the spellings that releases of tokenizers give it, against a literal reading of many texts."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenizers.decoders import ByteLevel

from unlearn_guard.intake.rules import _adds_nothing, acting

TEXTS = ("", "a", " a", "ab ab", "ba  ba ", "<s>ab", "ab<s> b", "\nab\t")
ALPHABET = pre_tokenizers.ByteLevel.alphabet()


def document(change: Callable[[dict[str, Any]], object] = lambda _: None) -> dict[str, Any]:
    made = Tokenizer(
        models.BPE({**{letter: at for at, letter in enumerate(sorted(ALPHABET))}, "ab": 256}, [("a", "b")])
    )
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), ByteLevel()
    made.add_special_tokens(["<s>"])
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B:1", special_tokens=[("<s>", 257)]
    )
    found: dict[str, Any] = json.loads(made.to_str())
    change(found)
    return found


def read(found: dict[str, Any]) -> list[tuple[list[int], str]]:
    loaded = Tokenizer.from_str(json.dumps(found))
    return [(ids, loaded.decode(ids)) for ids in (loaded.encode(text).ids for text in TEXTS)]


def nest(part: str, key: str, *more: dict[str, Any]) -> Callable[[dict[str, Any]], object]:
    return lambda found: found.update({part: {"type": "Sequence", key: [*more, found[part]]}})


BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
SAME: dict[str, Callable[[dict[str, Any]], object]] = {
    "empty affixes": lambda found: found["model"].update(continuing_subword_prefix="", end_of_word_suffix=""),
    "no dropout": lambda found: found["model"].update(dropout=0.0),
    "a list of one": nest("pre_tokenizer", "pretokenizers"),
    "a decoder's idle settings": lambda found: found["decoder"].update(add_prefix_space=False, use_regex=False),
    "a post-processor that trims": nest("post_processor", "processors", BYTES),
    "trimmed offsets": lambda found: found["pre_tokenizer"].update(trim_offsets=not BYTES["trim_offsets"]),
    "the second text's type": lambda found: found["post_processor"]["pair"][2]["Sequence"].update(type_id=0),
}
OTHER: dict[str, Callable[[dict[str, Any]], object]] = {
    "no merge": lambda found: found["model"].update(merges=[]),
    "a prefix": lambda found: found["pre_tokenizer"].update(add_prefix_space=True),
    "no start": lambda found: found.update(post_processor=None),
    "a start that is an end": lambda found: found["post_processor"]["single"].reverse(),
    "no decoder": lambda found: found.update(decoder=None),
    "lower case": lambda found: found.update(
        normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "b"}
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_spellings_of_one_rule_are_one(name: str) -> None:
    changed = document(SAME[name])
    assert changed != document()
    assert read(changed) == read(document())
    assert acting(changed) == acting(document())


@pytest.mark.parametrize("name", OTHER)
def test_another_rule_is_another(name: str) -> None:
    changed = document(OTHER[name])
    assert read(changed) != read(document())
    assert acting(changed) != acting(document())


def test_a_template_of_the_text_alone_is_none() -> None:
    bare = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {}}
    bare["pair"] = [{"Sequence": {"id": name, "type_id": at}} for at, name in enumerate("AB")]
    changed, none = (document(lambda found, rule=rule: found.update(post_processor=rule)) for rule in (bare, None))
    assert read(changed) == read(none)
    assert acting(changed) == acting(none)


def test_a_decoder_without_steps_is_not_no_decoder() -> None:
    """Without one the tokens of a text are joined by spaces, with an empty one by nothing."""
    none, empty = (
        document(lambda found, each=each: found.update(decoder=each))  # type: ignore[misc]
        for each in (None, {"type": "Sequence", "decoders": []})
    )
    assert read(none) != read(empty)
    assert acting(none) != acting(empty)


@pytest.mark.parametrize(
    ("decoder", "same"),
    [
        ({"type": "WordPiece", "prefix": "#", "cleanup": False}, False),
        ({"type": "Sequence", "decoders": [BYTES]}, True),
        ({"type": "Sequence", "decoders": [BYTES, {"type": "Strip", "content": "a", "start": 1, "stop": 0}]}, False),
    ],
)
def test_only_a_byte_level_decoder_s_settings_are_idle(decoder: dict[str, Any], same: bool) -> None:
    changed = document(lambda found: found.update(decoder=decoder))
    assert (read(changed) == read(document())) is same
    assert (acting(changed) == acting(document())) is same
    if decoder["type"] == "WordPiece":
        other = document(lambda found: found.update(decoder={**decoder, "prefix": "b"}))
        assert acting(other) != acting(changed)


def test_affixes_and_dropout_count_where_they_act() -> None:
    for changes in ({"end_of_word_suffix": "x"}, {"dropout": 0.5}, {"continuing_subword_prefix": "##"}):
        assert acting(document(lambda found, made=changes: found["model"].update(made))) != acting(document())  # type: ignore[misc]
    words = {"model": {"type": "WordLevel", "vocab": {"a": 0}, "dropout": 0.0}}
    assert acting(words)["model"] == words["model"]
    assert acting(words)["decoded"] is False


@pytest.mark.parametrize("kind", ["normalizers", "pretokenizers", "processors", "decoders"])
def test_rules_of_rules_are_read_one_after_another(kind: str) -> None:
    from unlearn_guard.intake.rules import _steps

    one, two, three = ({"type": name} for name in ("a", "b", "c"))
    nested = {"type": "Sequence", kind: [one, {"type": "Sequence", kind: [two, {"type": "Sequence", kind: []}]}, three]}
    assert _steps(nested) == [one, two, three]
    assert _steps(None) == []
    assert _steps({"type": "Sequence"}) == [{"type": "Sequence"}]
    assert _steps({"type": "Other", kind: [one]}) == [{"type": "Other", kind: [one]}]


@pytest.mark.parametrize("changed", ["single", "pair"])
def test_a_template_adds_nothing_where_neither_form_does(changed: str) -> None:
    texts = [{"Sequence": {"id": name}} for name in "AB"]
    step = {"type": "TemplateProcessing", "single": texts[:1], "pair": texts}
    assert _adds_nothing(step)
    assert not _adds_nothing({**step, changed: [{"SpecialToken": {"id": "<s>"}}, *step[changed]]})
