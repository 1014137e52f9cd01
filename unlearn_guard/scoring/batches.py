"""Which sequences share a forward pass. It depends on the items and the batch size alone, never on a model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from unlearn_guard.errors import ScoringError
from unlearn_guard.scoring.tokens import Pair

TOKENS = 4096
"""At most this many tokens a batch: more are no faster on any machine, and cost memory."""

POSITIONS = 1024
"""At most this many scored positions a batch: each costs a whole vocabulary of logits."""


@dataclass(slots=True)
class Row:
    """One sequence to run, and the continuations that are read off its end.

    Continuations that differ in their last token only share a row: four lettered choices are one
    sequence, scored at its last position. `targets` are (index of the request, the continuation's ids).
    """

    tokens: tuple[int, ...]
    targets: list[tuple[int, tuple[int, ...]]] = field(default_factory=list)

    @property
    def keep(self) -> int:
        """How many positions, counted from the end, have to be scored."""
        return max(len(continuation) for _, continuation in self.targets)


def rows_of(pairs: Sequence[Pair], max_length: int) -> tuple[list[Row], list[int]]:
    """Rows for these pairs, and the indices of those that lost the beginning of their context.

    The last token of a continuation is predicted, not read, so `max_length + 1` ids fit. Raises
    ScoringError when there is nothing to score or the continuation alone does not fit.
    """
    rows: dict[tuple[int, ...], Row] = {}
    truncated = []
    for index, (context, continuation) in enumerate(pairs):
        if not context or not continuation:
            what = "context" if not context else "continuation"
            raise ScoringError(f"request {index} has no {what} token")
        if len(continuation) > max_length:
            raise ScoringError(
                f"request {index}: a continuation of {len(continuation)} tokens, but the model takes {max_length}"
            )
        whole = context + continuation
        if len(whole) > max_length + 1:
            truncated.append(index)
        tokens = whole[-(max_length + 1) :][:-1]
        rows.setdefault(tokens, Row(tokens)).targets.append((index, continuation))
    return list(rows.values()), truncated


class Sized(Protocol):
    """What can share a forward pass: its tokens, and how many of its positions are scored."""

    @property
    def tokens(self) -> Sequence[int]:
        """Ids that are run."""

    @property
    def keep(self) -> int:
        """How many of their positions are scored."""


Each = TypeVar("Each", bound=Sized)


def batches_of(rows: Sequence[Each], batch_size: int) -> list[list[Each]]:
    """Rows in batches of `batch_size`, longest first: little padding, and what does not fit fails at once."""
    if batch_size < 1:
        raise ScoringError(f"a batch size of {batch_size}; expected at least 1")
    batches: list[list[Each]] = []
    widest = room = 0
    for row in sorted(rows, key=lambda row: (-len(row.tokens), tuple(row.tokens))):
        keep = row.keep
        widest = max(widest, keep)
        if batches and len(batches[-1]) < room and (len(batches[-1]) + 1) * widest <= max(POSITIONS, widest):
            batches[-1].append(row)
        else:
            batches.append([row])
            widest = keep
            room = min(batch_size, max(1, TOKENS // len(row.tokens)))
    return batches
