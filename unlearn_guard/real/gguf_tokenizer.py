"""The tokenizer that a GGUF file describes, as its publisher's tokenizer.json would have it.

A byte-level vocabulary is built here: how text is split before it comes to the merges stands in the file only as a
name, and transformers takes GPT-2's rule for every name that it does not know (SmolLM's digits, Qwen's NFC). A
SentencePiece one is transformers' own work.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake.defects import refusal, shown
from unlearn_guard.real.gguf_file import GgufFile

_CONTROL, _USER_DEFINED = 3, 4
"""llama.cpp's types of tokens that are matched whole: special, and not."""

LONGEST_TOKEN = 1_024
"""Characters; published ones stay under 256. Merges are worked out in the square of it."""

_CASED = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LLAMA3 = (
    _CASED + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)  # fmt: skip
_QWEN2 = _CASED + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_WORDS = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%s"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_TEKKEN = _WORDS % ("", "") + r"|\p{N}" + _REST
_GPT4O = _WORDS % (_CASED + "?", _CASED + "?") + r"|\p{N}{1,3}" + _REST


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """What happens to a text before the merges. `split` None: GPT-2's rule; `whole`: what is a token stays one."""

    split: str | None = None
    digits: bool = False
    composed: bool = False
    whole: bool = False
    begins: bool = False


_GPT2 = Splitting()
_DIGITS = Splitting(digits=True)
_LLAMA_BPE = Splitting(split=_LLAMA3, whole=True, begins=True)
_QWEN = Splitting(split=_QWEN2, composed=True)
SPLITTINGS: Mapping[str, Splitting] = {
    **dict.fromkeys(("default", "gpt-2", "phi-2"), _GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "codeshell"), _DIGITS),
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe", "falcon3"), _LLAMA_BPE),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen"), _QWEN),
    "tekken": Splitting(split=_TEKKEN, whole=True, begins=True),
    "gpt-4o": Splitting(split=_GPT4O),
}
"""By the name in `tokenizer.ggml.pre`. Source: llama.cpp's llama-vocab.cpp, and the publishers' tokenizer.json."""

PROBES = (
    "The capital of France is",
    " In 2024, 12.5% of ½ & ² —",
    "don't  stop\n\n\tnow   ",
    "Zürich Zu\u0308rich 東京 नमस्ते 🙂",
    "def f(x):\n    return x**2\n",
)
"""Texts whose ids must be the same before and after the tokenizer is saved."""


def tokenizer(file: GgufFile, context: int) -> Any:
    """A tokenizer of transformers' general class. Raises CheckpointError for one that is not understood."""
    from transformers import PreTrainedTokenizerFast

    said = _said(file)
    made = _built(file, said)
    tokens = said["tokens"]
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    special = {name: _token(file, tokens, said.get(f"{key}_token_id")) for name, key in names.items()}
    template = file.metadata.get("tokenizer.chat_template")
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        chat_template=template if isinstance(template, str) else None,
        **{name: token for name, token in special.items() if token is not None},
    )


def save(made: Any, out: Path) -> str:
    """Write it; the sha256 of the ids of PROBES. Raises CheckpointError where it makes other ids once loaded again."""
    from transformers import AutoTokenizer

    made.save_pretrained(out)
    again = AutoTokenizer.from_pretrained(out, local_files_only=True, trust_remote_code=False)
    for text in PROBES:
        if made(text)["input_ids"] != again(text)["input_ids"]:
            raise CheckpointError(f"the tokenizer makes other ids of {shown(text)} once it is saved and loaded again")
    return hashlib.sha256(json.dumps([made(text)["input_ids"] for text in PROBES]).encode()).hexdigest()


def _built(file: GgufFile, said: Mapping[str, Any]) -> Any:
    model = said.get("model")
    if model not in ("gpt2", "llama"):
        raise refusal(f"{file.path.name}: tokenizer.ggml.model", shown(model), "gpt2 (byte-level) or llama")
    try:
        return _byte_level(file, said) if model == "gpt2" else _sentencepiece(file)
    except CheckpointError:
        raise
    except Exception as error:  # tokenizers raises that very class
        raise refusal(f"{file.path.name}: tokenizer", shown(str(error)), "a vocabulary that fits together") from error


def _said(file: GgufFile) -> dict[str, Any]:
    prefix = "tokenizer.ggml."
    said = {key.removeprefix(prefix): value for key, value in file.metadata.items() if key.startswith(prefix)}
    tokens = said.get("tokens")
    if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) for token in tokens):
        raise refusal(f"{file.path.name}: {prefix}tokens", "no list of texts", "the vocabulary")
    rows = file.tensors["token_embd.weight"].shape[0]
    if max(map(len, tokens)) > LONGEST_TOKEN:
        found = f"a token of {max(map(len, tokens))} characters"
        raise refusal(f"{file.path.name}: {prefix}tokens", found, f"at most {LONGEST_TOKEN}")
    if len(tokens) > rows:
        raise refusal(
            f"{file.path.name}: {prefix}tokens", f"{len(tokens)} tokens", f"at most the embedding's {rows} rows"
        )
    return said


def _token(file: GgufFile, tokens: Sequence[str], number: Any) -> str | None:
    if number is None:
        return None
    if type(number) is not int or not 0 <= number < len(tokens):
        raise refusal(f"{file.path.name}: a special token's id", shown(number), f"0 to {len(tokens) - 1}")
    return tokens[number]


def _byte_level(file: GgufFile, said: Mapping[str, Any]) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models

    where, name = f"{file.path.name}: tokenizer.ggml.pre", said.get("pre", "default")
    if not isinstance(name, str) or name not in SPLITTINGS:
        raise refusal(where, shown(name), f"one of {', '.join(SPLITTINGS)}")
    how, tokens = SPLITTINGS[name], said["tokens"]
    merges: list[Any] = [tuple(str(merge).split(" ")) for merge in said.get("merges", ())]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if not merges or any(len(merge) != 2 or not {*merge, "".join(merge)} <= vocabulary.keys() for merge in merges):
        raise refusal(f"{file.path.name}: tokenizer.ggml.merges", "none, or a merge of no tokens", "pairs of tokens")
    if len(vocabulary) != len(tokens):
        raise refusal(f"{file.path.name}: tokenizer.ggml.tokens", "a token twice", "each token once")
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=how.whole))
    _split(made, how)
    made.decoder = decoders.ByteLevel()
    kinds = said.get("token_type") or ()
    for token, kind in zip(tokens, kinds, strict=False):
        if kind in (_CONTROL, _USER_DEFINED):
            special = kind == _CONTROL
            made.add_tokens([AddedToken(token, normalized=False, special=special)])
    _ends(made, file, said, how)
    return made


def _split(made: Any, how: Splitting) -> None:
    from tokenizers import Regex, normalizers, pre_tokenizers

    if how.composed:
        made.normalizer = normalizers.NFC()
    if how.split is not None:
        first = pre_tokenizers.Split(Regex(how.split), behavior="isolated")
        then = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        made.pre_tokenizer = pre_tokenizers.Sequence([first, then])
    elif how.digits:
        digits = pre_tokenizers.Digits(individual_digits=True)
        made.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    else:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)


def _ends(made: Any, file: GgufFile, said: Mapping[str, Any], how: Splitting) -> None:
    """The tokens that are put before and after every text."""
    from tokenizers import processors

    ends = {
        "bos": _token(file, said["tokens"], said.get("bos_token_id"))
        if said.get("add_bos_token", how.begins)
        else None,
        "eos": _token(file, said["tokens"], said.get("eos_token_id")) if said.get("add_eos_token", False) else None,
    }
    if not any(ends.values()):
        made.post_processor = processors.ByteLevel(trim_offsets=True)
        return
    before, after = ([token] if token else [] for token in (ends["bos"], ends["eos"]))
    made.post_processor = processors.TemplateProcessing(
        single=[*before, "$A", *after],
        pair=[*before, "$A", *after, *(f"{token}:1" for token in before), "$B:1", *(f"{token}:1" for token in after)],
        special_tokens=[(token, made.token_to_id(token)) for token in dict.fromkeys((*before, *after))],
    )


def _sentencepiece(file: GgufFile) -> Any:
    """As transformers reads it: the merges are worked out anew from the vocabulary, which takes Gemma's 20 seconds."""
    from transformers import AutoTokenizer

    folder, name = file.path.parent, file.path.name
    return AutoTokenizer.from_pretrained(folder, gguf_file=name, local_files_only=True).backend_tokenizer
