"""Greedy generation in batches, and the text up to the first stop string."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from unlearn_guard.errors import NonFiniteError, ScoringError
from unlearn_guard.scoring.elsewhere import Elsewhere
from unlearn_guard.scoring.forward import Forward, pad_left
from unlearn_guard.scoring.greedy import Generation
from unlearn_guard.scoring.tokens import Tokens


def generate(
    forward: Forward | Elsewhere,
    tokens: Tokens,
    contexts: Sequence[tuple[int, ...]],
    wanted: Generation,
    name: Callable[[int], str],
) -> list[str]:
    """The text each context is continued with, without the stop string and what follows it.

    Decoding options of the checkpoint (penalties, suppressed tokens, beams) are not used: they are its
    maker's. Its end-of-text ids are, beside the tokenizer's. Raises NonFiniteError for the first step
    whose logits leave no distribution.
    """
    ends = _end_ids(forward.model, tokens)
    forward.assert_rows(contexts)
    if isinstance(forward, Elsewhere):
        written = [_step_by_step(forward, tokens, context, wanted, ends) for context in contexts]
        return [_text(tokens.tokenizer, ids, ends, wanted.until) for ids in written]
    ids_BT, mask_BT = pad_left(contexts, forward.padding, forward.device)
    start = ids_BT.shape[1]
    stops = [_Stops(tokens.tokenizer, wanted.until, start)] if wanted.until else []
    # Put into the model for the call: transformers fills what a passed configuration leaves open from the model's.
    own, forward.model.generation_config = forward.model.generation_config, GenerationConfig()
    try:
        with torch.no_grad():
            written_BT = forward.model.generate(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                max_new_tokens=wanted.length,
                do_sample=False,
                eos_token_id=sorted(ends) or None,
                pad_token_id=forward.padding,
                logits_processor=LogitsProcessorList([_Finite(forward, name)]),
                stopping_criteria=StoppingCriteriaList(stops),
            )
    finally:
        forward.model.generation_config = own
    if written_BT.shape[0] != len(contexts):
        raise ScoringError(f"{forward.label}: {written_BT.shape[0]} texts for {len(contexts)} prompts")
    return [_text(tokens.tokenizer, row, ends, wanted.until) for row in written_BT[:, start:].tolist()]


def _step_by_step(
    forward: Elsewhere, tokens: Tokens, context: tuple[int, ...], wanted: Generation, ends: set[int]
) -> list[int]:
    """The greedy continuation by a program that is asked for one token at a time."""
    written: list[int] = []
    while len(written) < wanted.length:
        written.append(forward.greedy([*context, *written], fresh=not written))
        if written[-1] in ends:
            break
        text = str(tokens.tokenizer.decode(written, skip_special_tokens=True))
        if any(stop in text for stop in wanted.until):
            break
    return written


def _text(tokenizer: Any, ids: list[int], ends: set[int], until: Sequence[str]) -> str:
    length = next((index for index, token in enumerate(ids) if token in ends), len(ids))
    text = str(tokenizer.decode(ids[:length], skip_special_tokens=True))
    for stop in until:
        text = text.split(stop)[0]
    return text


def _end_ids(model: Any, tokens: Tokens) -> set[int]:
    declared = model.generation_config.eos_token_id
    ends = {declared} if isinstance(declared, int) else set(declared or ())
    return ends if tokens.eos is None else ends | {tokens.eos}


class _Finite(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Lets logits pass unchanged, and stops at the first that are no distribution over the vocabulary."""

    def __init__(self, forward: Forward, name: Callable[[int], str]) -> None:
        self._forward, self._name = forward, name

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:  # noqa: ARG002  # the interface's names
        if scores.shape[-1] < self._forward.vocabulary:
            raise ScoringError(
                f"{self._forward.label}: the tokenizer has {self._forward.vocabulary} tokens, "
                f"the logits only {scores.shape[-1]}"
            )
        bad_B = ~torch.isfinite(scores.float().logsumexp(dim=-1))
        if bool(bad_B.any()):
            row = int(bad_B.nonzero()[0])
            raise NonFiniteError(f"{self._forward.label}: the logits of {self._name(row)} are not finite")
        return scores


class _Stops(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped here
    """Ends a row once a stop string stands in its decoded text.

    It looks at the last tokens only, and at the whole text before it says yes: a piece decoded alone may
    spell what the text does not.
    """

    def __init__(self, tokenizer: Any, until: Sequence[str], start: int) -> None:
        self._tokenizer, self._until, self._start = tokenizer, tuple(until), start
        longest = max(len(tokenizer(stop, add_special_tokens=False)["input_ids"]) for stop in until)
        # A stop may straddle tokens that its own spelling does not use.
        self._window = longest + 2

    def __call__(self, input_ids: Tensor, scores: Tensor, **_: Any) -> Tensor:  # noqa: ARG002  # the interface's
        written_BT = input_ids[:, self._start :]
        tails = self._tokenizer.batch_decode(written_BT[:, -self._window :], skip_special_tokens=True)
        done = [
            self._holds(tail) and self._holds(self._decode(row)) for tail, row in zip(tails, written_BT, strict=True)
        ]
        return torch.tensor(done, device=input_ids.device)

    def _decode(self, row: Tensor) -> str:
        return str(self._tokenizer.decode(row, skip_special_tokens=True))

    def _holds(self, text: str) -> bool:
        return any(stop in text for stop in self._until)
