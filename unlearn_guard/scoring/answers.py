"""A model's answers as lm-eval takes them, a float and a text, that also know their tokens.

lm-eval hands a task the sum of a continuation's log-likelihoods and nothing else. MUSE's Min-K% and TOFU's
probabilities are about tokens, and MUSE cuts a reference to as many tokens as the model may write: a task's metric
finds all that on the answer itself. What takes another look at the vocabulary is there where a task's metadata says
`each_token: true`.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

from unlearn_guard.errors import NonFiniteError


class Nats(float):
    """A log-likelihood in nats, and in `tokens` that of each token of the text scored.

    Where they were asked for, `likeliest` says of each token whether greedy decoding would have written it there, and
    `standard` how its log-likelihood lies among those of the vocabulary: less their mean, in standard deviations, each
    token of the vocabulary counted with its probability (Min-K%++, arXiv 2404.02936).
    """

    tokens: tuple[float, ...]
    likeliest: tuple[bool, ...] | None
    standard: tuple[float, ...] | None

    @classmethod
    def of(
        cls,
        tokens: tuple[float, ...],
        likeliest: tuple[bool, ...] | None = None,
        standard: tuple[float, ...] | None = None,
    ) -> "Nats":
        """The sum over these tokens, which it remembers."""
        self = cls(sum(tokens))
        self.tokens, self.likeliest, self.standard = tokens, likeliest, standard
        return self

    @classmethod
    def joined(cls, parts: "Sequence[Nats]") -> "Nats":
        """A text that was scored in pieces."""
        tokens = tuple(chain.from_iterable(part.tokens for part in parts))
        if any(part.likeliest is None or part.standard is None for part in parts):
            return cls.of(tokens)
        likeliest = tuple(chain.from_iterable(part.likeliest or () for part in parts))
        return cls.of(tokens, likeliest, tuple(chain.from_iterable(part.standard or () for part in parts)))


class Written(str):
    """What a model wrote, and how it makes tokens of a text."""

    __slots__ = ("_length", "_tokenizer")
    _tokenizer: Any
    _length: int

    @classmethod
    def by(cls, tokenizer: Any, text: str, *, length: int) -> "Written":
        """A text written with this tokenizer by a model that might have written `length` tokens."""
        self = cls(text)
        self._tokenizer, self._length = tokenizer, length
        return self

    def cut(self, text: str) -> str:
        """The beginning of a text that the model could have written: as many tokens as it was allowed."""
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"][: self._length]
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))


Answers = tuple[tuple[Any, ...], ...]
"""What a model said to a task's items: of each item an answer a request, in order, as lm-eval takes them."""


def assert_finite(answers: Sequence[Any], where: str) -> None:
    """Raise NonFiniteError where the log-likelihoods of an item's choices do not say which was chosen."""
    likelihoods = nats_of(answers)
    if any(math.isnan(value) or value == math.inf for value in likelihoods):
        raise NonFiniteError(f"{where}: log-likelihoods {likelihoods}")
    if likelihoods and all(value == -math.inf for value in likelihoods):
        raise NonFiniteError(f"{where}: every choice has probability zero, so none was chosen")


def nats_of(answers: Sequence[Any]) -> tuple[float, ...]:
    """The log-likelihoods among an item's answers; none where it was answered with texts."""
    found = [answer[0] if isinstance(answer, tuple) else answer for answer in answers]
    return tuple(float(each) for each in found if not isinstance(each, str))
