"""One forward pass over a batch of unequal sequences, and the log-probabilities at their ends."""

import inspect
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from unlearn_guard.errors import NonFiniteError, ScoringError
from unlearn_guard.scoring.answers import Nats
from unlearn_guard.scoring.branching import Branching, Trunk
from unlearn_guard.scoring.head import in_one_piece
from unlearn_guard.scoring.packs import Pack

Answer = tuple[Nats, bool]
"""A continuation's log-likelihood in nats, and whether greedy decoding would have written it."""

SUMMED = 128
"""Positions whose softmax is taken at a time."""


class Forward:
    """A causal language model as a function from packs of rows to answers.

    Sequences are padded on the left, so that what is scored stands at the end of every row and the model
    makes logits for nothing else; the mask and the position ids make a padded row score as it does alone.
    """

    def __init__(self, model: Any, *, vocabulary: int, padding: int, label: str) -> None:
        model.eval()
        in_one_piece(model)
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
        self.each_token = False

    @cached_property
    def branching(self) -> Branching:
        """How rows share what they have in common, as far as this model lets them."""
        return Branching(self.model, self.device)

    def score(
        self, batch: Sequence[Pack], name: Callable[[int], str], trunk: Trunk | None = None
    ) -> list[tuple[int, Answer]]:
        """The answer to every request of these packs, with the request's index; all of them follow the trunk.

        The softmax is taken in fp32, at the scored positions only. `name` tells a request in a message. With
        `each_token` an answer knows of each token more than its likelihood.
        Raises NonFiniteError for a NaN or an infinity that leaves no distribution, ScoringError for a
        shape that was not asked for.
        """
        scored = [pack.scored() for pack in batch]
        keep = max(map(len, scored))
        logits_NV = _at_the_ends(self._logits(batch, keep, trunk), [len(each) for each in scored])
        total_N = _logsumexp(logits_NV)
        self._refuse_non_finite(total_N, batch, scored, name)
        greedy_N = logits_NV.argmax(dim=-1).tolist()
        requests, places, tokens = _places(batch, scored)
        chosen = (logits_NV[places, tokens].float() - total_N[places]).double().tolist()
        standard = _standard(logits_NV, total_N, places, tokens) if self.each_token else None
        return _sum_up(requests, chosen, [greedy_N[place] for place in places], standard)

    def _logits(self, batch: Sequence[Pack], keep: int, trunk: Trunk | None) -> Tensor:
        if trunk is None and all(len(pack.rows) == 1 for pack in batch):
            return self.logits([pack.tokens for pack in batch], keep)
        self.assert_rows([pack.tokens for pack in batch])
        return self._checked(self.branching.logits(batch, keep, trunk), len(batch), keep)

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

    def _refuse_non_finite(
        self, total_N: Tensor, batch: Sequence[Pack], scored: Sequence[list[int]], name: Callable[[int], str]
    ) -> None:
        # A NaN or +inf anywhere in the vocabulary, or -inf everywhere, shows in the sum; a masked entry does not.
        finite_N = torch.isfinite(total_N)
        if bool(finite_N.all()):
            return
        first = int((~finite_N).nonzero()[0])
        for pack, places in zip(batch, scored, strict=True):
            if first < len(places):
                row = next(row for row, path in pack.rows if places[first] in path[-row.keep :])
                raise NonFiniteError(
                    f"{self.label}: the logits of {name(row.targets[0][0])} are not finite",
                    fix="The weights, or what the quantizer made of them, hold a NaN or overflow at this dtype.",
                )
            first -= len(places)


def pad_left(sequences: Sequence[Sequence[int]], padding: int, device: Any) -> tuple[Tensor, Tensor]:
    """Token ids and mask, both (B, T), of sequences moved to the right edge."""
    longest = max(len(sequence) for sequence in sequences)
    gaps = [longest - len(sequence) for sequence in sequences]
    ids = [[padding] * gap + list(sequence) for gap, sequence in zip(gaps, sequences, strict=True)]
    mask = [[0] * gap + [1] * (longest - gap) for gap in gaps]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


def _at_the_ends(logits_BKV: Tensor, counts: Sequence[int]) -> Tensor:
    """Of each sequence its last so many positions, (N, V): a view where that is all of them."""
    if set(counts) == {logits_BKV.shape[1]}:
        return logits_BKV.flatten(0, 1)
    return torch.cat([logits_KV[len(logits_KV) - count :] for logits_KV, count in zip(logits_BKV, counts, strict=True)])


def _logsumexp(logits_NV: Tensor) -> Tensor:
    """In fp32, a few positions at a time: torch makes a copy of what it is given."""
    return torch.cat([some.float().logsumexp(dim=-1) for some in logits_NV.split(SUMMED)])


def _places(
    batch: Sequence[Pack], scored: Sequence[list[int]]
) -> tuple[list[tuple[int, tuple[int, ...]]], list[int], list[int]]:
    """Every target, and of each of its tokens the scored position that predicts it, and its id."""
    requests: list[tuple[int, tuple[int, ...]]] = []
    places: list[int] = []
    tokens: list[int] = []
    begin = 0
    for pack, wanted in zip(batch, scored, strict=True):
        where = {place: begin + index for index, place in enumerate(wanted)}
        begin += len(wanted)
        for row, path in pack.rows:
            for target in row.targets:
                requests.append(target)
                places.extend(where[place] for place in path[-len(target[1]) :])
                tokens.extend(target[1])
    return requests, places, tokens


def _standard(logits_NV: Tensor, total_N: Tensor, places: Sequence[int], tokens: Sequence[int]) -> list[float]:
    """Of each token how its log-likelihood lies among the vocabulary's at its place, in standard deviations.

    A variance below 1e-6 counts as that, as in open-unlearning: a place where one token is certain.
    """
    means, deviations = [], []
    for some_NV, total in zip(logits_NV.split(SUMMED), total_N.split(SUMMED), strict=True):
        nats_NV = some_NV.float() - total[:, None]
        share_NV = nats_NV.exp()
        nats_NV = nats_NV.masked_fill(share_NV == 0.0, 0.0)  # a token that is ruled out has no share in a mean
        mean_N = (share_NV * nats_NV).sum(dim=-1)
        variance_N = (share_NV * nats_NV.square()).sum(dim=-1) - mean_N.square()
        means.append(mean_N)
        deviations.append(variance_N.clamp(min=1e-6).sqrt())
    mean_N, deviation_N = torch.cat(means), torch.cat(deviations)
    nats_T = logits_NV[places, tokens].float() - total_N[places]
    standard: list[float] = ((nats_T - mean_N[places]) / deviation_N[places]).double().tolist()
    return standard


def _sum_up(
    requests: Sequence[tuple[int, tuple[int, ...]]],
    chosen: Sequence[float],
    greedy: Sequence[int],
    standard: Sequence[float] | None,
) -> list[tuple[int, Answer]]:
    answers = []
    start = 0
    for index, continuation in requests:
        end = start + len(continuation)
        hits = tuple(one == other for one, other in zip(greedy[start:end], continuation, strict=True))
        more = (hits, tuple(standard[start:end])) if standard is not None else ()
        answers.append((index, (Nats.of(tuple(chosen[start:end]), *more), all(hits))))
        start = end
    return answers
