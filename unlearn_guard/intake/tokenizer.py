"""The tokenizer's files: whole, without code, and with no id beyond the embedding's last row."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.config import check_no_code
from unlearn_guard.intake.defects import gather, refusal, shown
from unlearn_guard.intake.documents import MEBIBYTE, parse_object, read_bytes
from unlearn_guard.intake.folder import Folder
from unlearn_guard.intake.template import check_template, chosen_template, inner_templates
from unlearn_guard.reading.strict_json import canonical

LARGEST = 256 * MEBIBYTE
"""Bytes of one tokenizer file; published ones stay under 40 MiB."""

_VOCABULARIES = ("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "tekken.json")
_PAIRS = (("vocab.json", "merges.txt"), ("vocab.txt",))
_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.json")
_CLASS = re.compile(r"\w*Tokenizer\w*|\w+Backend")
"""How the classes of tokenizers are called; `Qwen2ForCausalLM` would be imported and loaded as well."""

_RENDERING = ("version", "truncation", "padding")
"""Keys of tokenizer.json that say how a call batches texts, not which ids a text has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """What turns text into ids. `digest` covers the bytes of its files, `vocabulary` the meaning of tokenizer.json.

    `vocabulary` is None where there is no tokenizer.json, and `sources` (name, sha256) of the vocabulary files
    speak instead; `size` is the largest id plus one, where known; `beyond` are special tokens for which the model
    has no row, as text models have them that share a multimodal one's tokenizer. `documents` are the other JSON
    files by name, `templates` every chat template by the file or key that holds it.
    """

    digest: str
    vocabulary: str | None
    sources: tuple[tuple[str, str], ...]
    size: int | None
    documents: Mapping[str, Mapping[str, Any]]
    templates: Mapping[str, str]
    template: str | None
    beyond: tuple[str, ...] = ()


ABSENT = Tokenizer(
    digest=hashlib.sha256(canonical([])).hexdigest(),
    vocabulary=None,
    sources=(),
    size=None,
    documents={},
    templates={},
    template=None,
)
"""The tokenizer of a directory that has none, where only token ids are asked about."""


def has_vocabulary(folder: Folder) -> bool:
    """Whether the files of some tokenizer are all there."""
    names = folder.tokenizer_files()
    return any(name in names for name in _VOCABULARIES) or any(set(pair) <= set(names) for pair in _PAIRS)


def read_tokenizer(folder: Folder, embedding_rows: int | None) -> Tokenizer:
    """Read the tokenizer's files. Raises CheckpointError with every defect, ids past `embedding_rows` among them."""
    names = folder.tokenizer_files()
    if not has_vocabulary(folder):
        expected = "tokenizer.json (or tokenizer.model, or vocab.json and merges.txt)"
        raise refusal("tokenizer", "none", expected, "`tokenizer.save_pretrained(directory)` writes it.")
    defects: list[Defect] = []
    digests, documents, jinja = _read_files(folder, names, defects)
    settings = documents.get("tokenizer_config.json", {})
    for name in _SETTINGS:
        defects += check_no_code(documents.get(name, {}), name)
    defects += _class(settings)
    templates = {**jinja, **inner_templates(settings)}
    for where, template in templates.items():
        defects += check_template(template, where)
    size, vocabulary, beyond = None, None, dict[int, str]()
    if "tokenizer.json" in documents:
        with gather(defects):
            ids = _ids(documents["tokenizer.json"])
            size = max(ids) + 1
            vocabulary = _vocabulary(documents["tokenizer.json"])
            beyond = _beyond(documents["tokenizer.json"], embedding_rows or size)
            defects += _too_large(ids - beyond.keys(), embedding_rows or size)
    if defects:
        raise CheckpointError("The tokenizer cannot be used", defects)
    digest = hashlib.sha256(canonical([list(pair) for pair in digests])).hexdigest()
    sources = tuple((name, each) for name, each in digests if name not in _SETTINGS and not name.endswith(".jinja"))
    return Tokenizer(
        digest=digest,
        vocabulary=vocabulary,
        sources=sources,
        size=size,
        documents={name: document for name, document in documents.items() if name in _SETTINGS},
        templates=templates,
        template=chosen_template(jinja, settings),
        beyond=tuple(beyond.values()),
    )


def _class(settings: Mapping[str, Any]) -> list[Defect]:
    """A defect where `tokenizer_class` names something else, which transformers would import and load all the same."""
    value = settings.get("tokenizer_class")
    if value is None or (isinstance(value, str) and _CLASS.fullmatch(value)):
        return []
    expected, fix = "the name of a tokenizer's class", "Copy base's tokenizer_config.json."
    return [Defect(where="tokenizer_config.json: tokenizer_class", found=shown(value), expected=expected, fix=fix)]


def _read_files(
    folder: Folder, names: tuple[str, ...], defects: list[Defect]
) -> tuple[list[tuple[str, str]], dict[str, dict[str, Any]], dict[str, str]]:
    """The digest of each file, the JSON ones parsed, and the texts of the templates."""
    digests: list[tuple[str, str]] = []
    documents: dict[str, dict[str, Any]] = {}
    jinja: dict[str, str] = {}
    for name in names:
        with gather(defects):
            raw = read_bytes(folder.files[name], at_most=LARGEST)
            digests.append((name, hashlib.sha256(raw).hexdigest()))
            if name.endswith(".json"):
                documents[name] = parse_object(raw, name)
            elif name.endswith(".jinja"):
                jinja[name] = _text(raw, name)
            elif name.endswith(".model"):
                _check_protobuf(raw, name)
            elif not raw:
                raise refusal(name, "an empty file", "a vocabulary", "Copy the file again.")
    return digests, documents, jinja


def _text(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refusal(name, f"bytes that are not UTF-8, at byte {error.start}", "text in UTF-8") from error


def _too_large(ids: set[int], rows: int) -> list[Defect]:
    if not ids or max(ids) < rows:
        return []
    found, expected = f"ids up to {max(ids)}", f"ids below {rows}, the embedding's rows"
    fix = "Use the tokenizer that this model was trained with, or resize its embedding."
    return [Defect(where="tokenizer.json", found=found, expected=expected, fix=fix)]


def _ids(document: Mapping[str, Any]) -> set[int]:
    model, added = document.get("model"), document.get("added_tokens", [])
    vocabulary = model.get("vocab") if isinstance(model, Mapping) else None
    if not isinstance(vocabulary, dict | list) or not vocabulary:
        raise refusal("tokenizer.json: model.vocab", shown(vocabulary), "the tokens and their ids", "Save it again.")
    ids: list[Any] = list(vocabulary.values()) if isinstance(vocabulary, dict) else [len(vocabulary) - 1]
    if not isinstance(added, list) or not all(isinstance(token, Mapping) for token in added):
        raise refusal("tokenizer.json: added_tokens", shown(added), "a list of tokens")
    ids += [token.get("id") for token in added]
    wrong = next((each for each in ids if type(each) is not int or each < 0), None)
    if wrong is not None or None in ids:
        raise refusal("tokenizer.json", f"the token id {shown(wrong)}", "whole numbers from 0")
    return set(ids)


def _beyond(document: Mapping[str, Any], rows: int) -> dict[int, str]:
    """The special tokens with ids from `rows` on, which only a text that spells one of them reaches."""
    return {
        token["id"]: str(token.get("content"))
        for token in document.get("added_tokens", [])
        if token.get("special") is True and token["id"] >= rows
    }


def _vocabulary(document: Mapping[str, Any]) -> str:
    meaning = {key: value for key, value in document.items() if key not in _RENDERING}
    model = dict(meaning["model"])
    if isinstance(model.get("merges"), list):
        if wrong := [each for each in model["merges"] if not _merge(each)]:
            raise refusal("tokenizer.json: model.merges", shown(wrong[0]), "pairs of tokens", "Save it again.")
        # older files write a merge as "a b", newer ones as ["a", "b"]
        model["merges"] = [" ".join(each) if isinstance(each, list) else each for each in model["merges"]]
    return hashlib.sha256(canonical({**meaning, "model": model})).hexdigest()


def _merge(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))


def _check_protobuf(raw: bytes, name: str) -> None:
    """Walk the top-level fields of a SentencePiece model: one that was cut short ends inside a field."""
    position = 0
    while position < len(raw):
        tag, position = _varint(raw, position, name)
        wire = tag & 7
        if wire == 0:
            _, position = _varint(raw, position, name)
        elif wire == 2:
            length, position = _varint(raw, position, name)
            position += length
        elif wire in (1, 5):
            position += 8 if wire == 1 else 4
        else:
            raise refusal(name, f"no protobuf field at byte {position}", "a SentencePiece model")
    if position > len(raw) or not raw:
        raise refusal(name, f"a file cut short at {len(raw)} bytes", "a whole SentencePiece model", "Copy it again.")


def _varint(raw: bytes, position: int, name: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(raw):
            raise refusal(
                name, f"a file cut short at {len(raw)} bytes", "a whole SentencePiece model", "Copy it again."
            )
        byte = raw[position]
        value, position = value | (byte & 127) << shift, position + 1
        if byte < 128:
            return value, position
    raise refusal(name, f"no protobuf field at byte {position}", "a SentencePiece model")
