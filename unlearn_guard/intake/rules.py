"""A fast tokenizer's rules as they act: one spelling for what gives the same ids for every text, and the same texts.

Releases of tokenizers and transformers write one rule in several ways: an empty prefix or none, a list of one
instead of the one, a last step that only moves the offsets of tokens in the text.
"""

from collections.abc import Mapping
from typing import Any

PARTS = ("model", "normalizer", "pre_tokenizer", "post_processor", "decoder")
_MEMBERS = ("normalizers", "pretokenizers", "processors", "decoders")
"""Where a sequence of rules keeps them, by kind of rule."""

_OFFSETS = ("trim_offsets", "type_id")
"""Where in the text a token was, and in which of two texts: no causal model is told."""


def acting(document: Mapping[str, Any]) -> dict[str, Any]:
    """The rules of a serialized fast tokenizer by part; equal for two that read and write every text alike."""
    rules = {part: [_told(step) for step in _steps(document.get(part))] for part in PARTS[1:]}
    rules["post_processor"] = [step for step in rules["post_processor"] if not _adds_nothing(step)]
    # and a byte-level decoder has no settings, though all of them are written
    rules["decoder"] = [{"type": "ByteLevel"} if step["type"] == "ByteLevel" else step for step in rules["decoder"]]
    # without one, tokens are joined by spaces; with one that has no steps, by nothing
    return {"model": _model(document["model"]), **rules, "decoded": document.get("decoder") is not None}


def _adds_nothing(step: Mapping[str, Any]) -> bool:
    """Whether a post-processor leaves ids alone: byte-level ones trim offsets, and a template may be just the texts."""
    one, other = ({"Sequence": {"id": name}} for name in "AB")
    bare = step.get("single") == [one] and step.get("pair") == [one, other]
    return step["type"] == "ByteLevel" or (step["type"] == "TemplateProcessing" and bare)


def _steps(rule: Any) -> list[Mapping[str, Any]]:
    """The rules of a sequence one after another, whatever its nesting; none where there is no rule."""
    if rule is None:
        return []
    members = next((rule[key] for key in _MEMBERS if key in rule), None) if rule.get("type") == "Sequence" else None
    return [rule] if members is None else [step for member in members for step in _steps(member)]


def _told(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _told(each) for key, each in value.items() if key not in _OFFSETS}
    return [_told(each) for each in value] if isinstance(value, list) else value


def _model(model: Mapping[str, Any]) -> dict[str, Any]:
    """A BPE model whose affixes are empty has none, and one that drops no merge at random drops none."""
    blank = {"continuing_subword_prefix": "", "end_of_word_suffix": "", "dropout": 0.0}
    if model.get("type") != "BPE":
        return dict(model)
    return {key: None if key in blank and value == blank[key] else value for key, value in model.items()}
