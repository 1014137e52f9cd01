"""Text to token ids, once for all models that share a tokenizer, and with exactly the BOS it gives."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from unlearn_guard.errors import ScoringError

Pair = tuple[tuple[int, ...], tuple[int, ...]]
"""Token ids of a context and of its continuation."""


class Whole(str):
    """A context whose last spaces stay its own: a chat template's, which an answer does not begin with."""

    __slots__ = ()


def fingerprint(tokenizer: Any) -> str:
    """Sha256 of everything that decides which ids a text becomes; two loads of one tokenizer share it.

    A tokenizer without a fast backend has no state that can be read out, and is known by its identity.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state: Any = f"object {id(tokenizer)}"
    if backend is not None:
        state = json.loads(backend.to_str())
        # Set and unset by every call, and never in force here.
        state["padding"] = state["truncation"] = None
    special = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
    flags = [getattr(tokenizer, name, None) for name in ("add_bos_token", "add_eos_token")]
    text = json.dumps([type(tokenizer).__name__, special, flags, state], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class OneBos:
    """A tokenizer that adds no special token to a text that begins with BOS, as a templated prompt does.

    `Tokens` gives the same ids, for many texts at once.
    """

    def __init__(self, tokenizer: Any) -> None:
        bos = tokenizer.bos_token_id
        self._tokenizer = tokenizer
        self._written = tokenizer.decode([bos]) if bos is not None else ""
        self.is_fast = bool(getattr(tokenizer, "is_fast", False))
        self.unk_token_id: int | None = getattr(tokenizer, "unk_token_id", None)
        self.decode = tokenizer.decode

    def __call__(self, text: str, **options: Any) -> Any:
        """What the tokenizer makes of one text."""
        begun = {"add_special_tokens": False} if self._written and text.startswith(self._written) else {}
        return self._tokenizer(text, **{**options, **begun})


def _ordinary(tokenizer: Any) -> int:
    """One more than the largest id that a text reaches without spelling out a special token.

    A text model that shares a multimodal one's tokenizer has no row for the image's token.
    """
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return max((number for number in tokenizer.get_vocab().values() if number not in special), default=-1) + 1


class Tokens:
    """A tokenizer, and the ids of every text it was asked for.

    Raises ScoringError for a tokenizer that ends a text with a token of its own: the answer would be
    scored after the end.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.size = _ordinary(tokenizer)
        self.eos: int | None = tokenizer.eos_token_id
        self.bos: int | None = tokenizer.bos_token_id
        self._pairs: dict[tuple[str, str], Pair] = {}
        self._texts: dict[str, tuple[int, ...]] = {}
        self.prefix = _special_prefix(tokenizer)

    @property
    def start(self) -> int:
        """What stands before a text that has no context: BOS, or EOS where there is no BOS."""
        token = self.bos if self.bos is not None else self.eos
        if token is None:
            raise ScoringError("the tokenizer has neither BOS nor EOS, so an empty context cannot be scored")
        return token

    def texts(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Ids of whole texts, each with the tokenizer's own BOS, or the one already written in it."""
        self._texts.update(self._encode(text for text in texts if text not in self._texts))
        return [self._texts[text] for text in texts]

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
        """Ids of contexts and continuations, split where the context's own ids end.

        Spaces at a context's end are moved to the continuation, unless it is `Whole`; an empty context is BOS.
        Source: lm-eval's TemplateLM._encode_pair and loglikelihood, whose ids these equal.
        """
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._pairs]
        if not new:
            return [self._pairs[pair] for pair in pairs]
        moved = {pair: pair if isinstance(pair[0], Whole) else _move_spaces(*pair) for pair in new if pair[0]}
        wanted = (text for context, rest in moved.values() for text in (context, context + rest))
        ids = self._encode(wanted)
        for pair in new:
            self._pairs[pair] = self._split(*moved[pair], ids) if pair[0] else self._alone(pair[1])
        return [self._pairs[pair] for pair in pairs]

    def _split(self, context: str, continuation: str, ids: dict[str, tuple[int, ...]]) -> Pair:
        head = ids[context]
        return head, ids[context + continuation][len(head) :]

    def _alone(self, continuation: str) -> Pair:
        ids = tuple(self.tokenizer(continuation, add_special_tokens=False)["input_ids"])
        if ids[:1] == (self.start,):
            return ids[:1], ids[1:]
        return (self.start,), ids

    def _encode(self, texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
        """Ids by text, in two calls of the tokenizer: texts that already begin with BOS, and the others."""
        written = self.tokenizer.decode([self.start]) if self.bos is not None or self.eos is not None else ""
        ids: dict[str, tuple[int, ...]] = {}
        sorted_out: dict[bool, list[str]] = {True: [], False: []}
        for text in dict.fromkeys(texts):
            sorted_out[bool(written) and text.startswith(written)].append(text)
        for begins, group in sorted_out.items():
            if group:
                special = {"add_special_tokens": False} if begins else {}
                encoded = self.tokenizer(group, verbose=False, **special)["input_ids"]
                ids.update((text, tuple(row)) for text, row in zip(group, encoded, strict=True))
        for text, row in ids.items():
            self._check_start(text, row, added=not (written and text.startswith(written)))
        return ids

    def _check_start(self, text: str, ids: tuple[int, ...], *, added: bool) -> None:
        if added and ids[: len(self.prefix)] != self.prefix:
            raise ScoringError(
                f"the tokenizer begins a text with {list(ids[:2])}, and began another with {list(self.prefix)}"
            )
        if self.bos is not None and ids[:2] == (self.bos, self.bos):
            raise ScoringError(
                f"a text of {len(text)} characters begins with two BOS tokens",
                fix="Leave BOS out of the task's template: the tokenizer adds it.",
            )


def _special_prefix(tokenizer: Any) -> tuple[int, ...]:
    """The ids the tokenizer puts before any text: none, BOS, or a model family's own."""
    probe = "a"
    bare = tokenizer(probe, add_special_tokens=False)["input_ids"]
    full = tokenizer(probe)["input_ids"]
    starts = [start for start in range(len(full) - len(bare) + 1) if full[start : start + len(bare)] == bare]
    if not bare or not starts or starts[-1] + len(bare) != len(full):
        raise ScoringError(
            f"the tokenizer makes {full} of a text that is {bare} without special tokens; expected them only before it",
            fix="Set add_eos_token to false in tokenizer_config.json.",
        )
    return tuple(full[: starts[-1]])


def _move_spaces(context: str, continuation: str) -> tuple[str, str]:
    kept = context.rstrip()
    return kept, context[len(kept) :] + continuation
