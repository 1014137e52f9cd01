"""A model that another program runs and that is asked one token at a time, in the place of a forward pass of ours."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from unlearn_guard.errors import NonFiniteError, ScoringError
from unlearn_guard.scoring.answers import Nats
from unlearn_guard.scoring.branching import Trunk
from unlearn_guard.scoring.packs import Pack

Answer = tuple[Nats, bool]


@runtime_checkable
class OneToken(Protocol):
    """What such a model offers: its config, the rows of its embedding, and the likelihood of a token after others."""

    config: Any
    generation_config: Any
    rows: int

    def next_token(self, tokens: Sequence[int], wanted: int, *, fresh: bool) -> tuple[float, int]:
        """Log-probability in nats of `wanted`, and the likeliest token; `fresh`: nothing kept from the row before."""
        ...


class _Alone:
    """Rows share nothing: each is asked by itself."""

    deepest = 0

    def trunk(self, tokens: Sequence[int]) -> Trunk:
        raise ScoringError(f"a fault of unlearn-guard: {len(tokens)} tokens were to be shared by rows asked elsewhere")


class Elsewhere:
    """What `Forward` is to a model of torch's: packs of rows to answers."""

    branching = _Alone()

    def __init__(self, model: OneToken, *, vocabulary: int, label: str) -> None:
        self.model, self.label, self.rows = model, label, model.rows
        self.each_token = False
        if model.rows < vocabulary:
            raise ScoringError(f"{label}: the tokenizer has {vocabulary} tokens, the logits only {model.rows}")

    def score(
        self,
        batch: Sequence[Pack],
        name: Callable[[int], str],
        trunk: Trunk | None = None,  # noqa: ARG002
    ) -> list[tuple[int, Answer]]:
        """The answer to every request of these packs, of one row each, with the request's index.

        Raises ScoringError where of each token more is wanted than its likelihood: the program does not say it.
        """
        if self.each_token:
            raise ScoringError(
                f"{self.label}: a task of the suite (`each_token: true`) reads the whole vocabulary at each token, and "
                "the program that runs this format tells of one token alone",
                fix="Leave the GGUF precisions out for this suite, or ask them another suite.",
            )
        answers = []
        for row in (row for pack in batch for row, _ in pack.rows):
            self.assert_rows([row.tokens])
            fresh = True
            for index, continuation in row.targets:
                try:
                    answers.append((index, self._answer(row.tokens, continuation, fresh=fresh)))
                except NonFiniteError as error:
                    raise NonFiniteError(f"{self.label}: the logits of {name(index)} are not finite") from error
                fresh = False
        return answers

    def _answer(self, tokens: Sequence[int], continuation: Sequence[int], *, fresh: bool) -> Answer:
        """Each token of the continuation after those before it; the row ends before its last."""
        begin = len(tokens) - len(continuation) + 1
        said = [
            self.model.next_token(tokens[: begin + place], token, fresh=fresh and place == 0)
            for place, token in enumerate(continuation)
        ]
        greedy = all(best == token for (_, best), token in zip(said, continuation, strict=True))
        return Nats.of(tuple(nats for nats, _ in said)), greedy

    def greedy(self, tokens: Sequence[int], *, fresh: bool) -> int:
        """The likeliest token after these."""
        return self.model.next_token(tokens, tokens[-1], fresh=fresh)[1]

    def assert_rows(self, sequences: Sequence[Sequence[int]]) -> None:
        """Raise ScoringError where a text spells a token that the model has no row for."""
        largest = max((token for sequence in sequences for token in sequence), default=0)
        if largest >= self.rows:
            raise ScoringError(
                f"{self.label}: a text has the token id {largest}, the model's embedding only {self.rows} rows",
                fix="Take the special token that it spells out of the suite's texts.",
            )
