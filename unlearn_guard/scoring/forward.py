"""One forward pass over a batch of unequal sequences, and the log-probabilities at their ends."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from unlearn_guard.errors import NonFiniteError, ScoringError
from unlearn_guard.scoring.answers import Nats
from unlearn_guard.scoring.batches import Row

Answer = tuple[Nats, bool]
"""A continuation's log-likelihood in nats, and whether greedy decoding would have written it."""


class Forward:
    """A causal language model as a function from rows to answers.

    Sequences are padded on the left, so that what is scored stands at the end of every row and the model
    makes logits for nothing else; the mask and the position ids make a padded row score as it does alone.
    """

    def __init__(self, model: Any, *, vocabulary: int, padding: int, label: str) -> None:
        model.eval()
        self.model = model
        self.vocabulary = vocabulary
        self.padding = padding
        self.label = label
        self.device = model.get_input_embeddings().weight.device
        self.rows = model.get_input_embeddings().weight.shape[0]
        accepted = inspect.signature(model.forward).parameters
        self._keeps = "logits_to_keep" in accepted
        self._options: dict[str, Any] = {"use_cache": False} if "use_cache" in accepted else {}
        self._positions = "position_ids" in accepted
        self._width: int | None = None

    def score(self, batch: Sequence[Row], name: Callable[[int], str]) -> list[tuple[int, Answer]]:
        """The answer to every request of these rows, with the request's index.

        The softmax is taken in fp32, at the scored positions only. `name` tells a request in a message.
        Raises NonFiniteError for a NaN or an infinity that leaves no distribution, ScoringError for a
        shape that was not asked for.
        """
        keep = max(row.keep for row in batch)
        logits_BKV = self.logits([row.tokens for row in batch], keep)
        scored_BK = torch.zeros(len(batch), keep, dtype=torch.bool)
        for index, row in enumerate(batch):
            scored_BK[index, keep - row.keep :] = True
        logits_NV = logits_BKV[scored_BK.to(logits_BKV.device)].float()
        total_N = logits_NV.logsumexp(dim=-1)
        self._refuse_non_finite(total_N, batch, name)
        greedy_N = logits_NV.argmax(dim=-1).tolist()
        places, tokens, ends = _places(batch)
        chosen = logits_NV[places, tokens] - total_N[places]
        return _sum_up(batch, chosen.double().tolist(), greedy_N, ends)

    @torch.no_grad()
    def logits(self, sequences: Sequence[Sequence[int]], keep: int) -> Tensor:
        """Logits (B, keep, V) at the last `keep` positions of each sequence."""
        self.assert_rows(sequences)
        ids_BT, mask_BT = pad_left(sequences, self.padding, self.device)
        options = dict(self._options)
        if self._keeps:
            options["logits_to_keep"] = keep
        if self._positions:
            options["position_ids"] = (mask_BT.cumsum(dim=-1) - 1).clamp(min=0)
        output = self.model(input_ids=ids_BT, attention_mask=mask_BT, **options)
        logits = getattr(output, "logits", None)
        positions = keep if self._keeps else ids_BT.shape[1]
        return self._checked(logits, len(sequences), positions)[:, -keep:]

    def assert_rows(self, sequences: Sequence[Sequence[int]]) -> None:
        """Raise ScoringError where a text spells a token that the model has no row for."""
        largest = max((token for sequence in sequences for token in sequence), default=0)
        if largest >= self.rows:
            raise ScoringError(
                f"{self.label}: a text has the token id {largest}, the model's embedding only {self.rows} rows",
                fix="Take the special token that it spells out of the suite's texts.",
            )

    def _checked(self, logits: Any, rows: int, positions: int) -> Tensor:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        width = self._width or (found[-1] if isinstance(found, tuple) and found else 0)
        if not isinstance(logits, Tensor) or found != (rows, positions, width):
            raise ScoringError(
                f"{self.label}: the model returned logits {found}; expected ({rows}, {positions}, {width or 'V'})",
                fix="Its forward does not keep the last positions that `logits_to_keep` asks for.",
            )
        if width < self.vocabulary:
            raise ScoringError(f"{self.label}: the tokenizer has {self.vocabulary} tokens, the logits only {width}")
        self._width = width
        return logits

    def _refuse_non_finite(self, total_N: Tensor, batch: Sequence[Row], name: Callable[[int], str]) -> None:
        # A NaN or +inf anywhere in the vocabulary, or -inf everywhere, shows in the sum; a masked entry does not.
        finite_N = torch.isfinite(total_N)
        if bool(finite_N.all()):
            return
        first = int((~finite_N).nonzero()[0])
        for row in batch:
            first -= row.keep
            if first < 0:
                raise NonFiniteError(
                    f"{self.label}: the logits of {name(row.targets[0][0])} are not finite",
                    fix="The weights, or what the quantizer made of them, hold a NaN or overflow at this dtype.",
                )


def pad_left(sequences: Sequence[Sequence[int]], padding: int, device: Any) -> tuple[Tensor, Tensor]:
    """Token ids and mask, both (B, T), of sequences moved to the right edge."""
    longest = max(len(sequence) for sequence in sequences)
    gaps = [longest - len(sequence) for sequence in sequences]
    ids = [[padding] * gap + list(sequence) for gap, sequence in zip(gaps, sequences, strict=True)]
    mask = [[0] * gap + [1] * (longest - gap) for gap in gaps]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _places(batch: Sequence[Row]) -> tuple[list[int], list[int], list[int]]:
    """Of every token of every target: the scored position that predicts it, its id, and where each target ends."""
    places: list[int] = []
    tokens: list[int] = []
    ends: list[int] = []
    end = 0
    for row in batch:
        end += row.keep
        for _, continuation in row.targets:
            places.extend(range(end - len(continuation), end))
            tokens.extend(continuation)
            ends.append(end)
    return places, tokens, ends


def _sum_up(
    batch: Sequence[Row], chosen: Sequence[float], greedy: Sequence[int], ends: Sequence[int]
) -> list[tuple[int, Answer]]:
    answers = []
    start = 0
    targets = (target for row in batch for target in row.targets)
    for (index, continuation), end in zip(targets, ends, strict=True):
        length = len(continuation)
        likelihood = Nats.of(tuple(chosen[start : start + length]))
        answers.append((index, (likelihood, tuple(greedy[end - length : end]) == continuation)))
        start += length
    return answers
