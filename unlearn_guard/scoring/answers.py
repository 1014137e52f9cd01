"""A model's answers as lm-eval takes them, a float and a text, that also know their tokens.

lm-eval hands a task the sum of a continuation's log-likelihoods and nothing else. MUSE's Min-K% and TOFU's
probabilities are about tokens, and MUSE cuts a reference to as many tokens as the model may write: a task's metric
finds all that on the answer itself.
"""

from typing import Any


class Nats(float):
    """A log-likelihood in nats, and in `tokens` that of each token of the text scored."""

    tokens: tuple[float, ...]

    @classmethod
    def of(cls, tokens: tuple[float, ...]) -> "Nats":
        """The sum over these tokens, which it remembers."""
        self = cls(sum(tokens))
        self.tokens = tokens
        return self


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
