"""The model side of lm-eval: our class on its LM interface."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from unlearn_guard.errors import ScoringError
from unlearn_guard.scoring.answers import Nats, Written
from unlearn_guard.scoring.batches import rows_of
from unlearn_guard.scoring.elsewhere import Elsewhere, OneToken
from unlearn_guard.scoring.forward import Answer, Forward
from unlearn_guard.scoring.generation import generate
from unlearn_guard.scoring.greedy import Generation, read_generation
from unlearn_guard.scoring.sharing import answers
from unlearn_guard.scoring.tokens import Pair, Tokens

UNSET_LENGTH = int(1e30)
"""What transformers gives as model_max_length where a tokenizer names none."""

DEFAULT_MAX_LENGTH = 2048
"""Tokens, where neither the model nor the tokenizer says: lm-eval's default."""


class GuardLM(TemplateLM):  # type: ignore[misc]  # lm-eval ships no types
    """A causal model that answers lm-eval's three kinds of request, the same way at every precision.

    Log-likelihoods equal those of lm-eval's own HFLM on the same model; lettered choices are one row,
    scored at its last position. Batches depend on the requests and `batch_size` alone. `truncated` holds
    the items whose context was longer than the model takes and lost its beginning, as HFLM has it.

    With `each_token` a likelihood knows of each token more than its own (`Nats`).
    `precision` is only told in messages; `progress` is called with the number of requests just answered.
    """

    def __init__(
        self,
        model: Any,
        tokens: Tokens,
        *,
        batch_size: int,
        precision: str,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.tokenizer = tokens.tokenizer
        self.batch_size = batch_size
        self.max_length = max_length_of(model.config, tokens.tokenizer)
        self.truncated: set[str] = set()
        self.each_token = False
        self._progress = progress
        self._forward = _forward(model, tokens, f"precision {precision}")

    @property
    def eot_token_id(self) -> int:
        """The id that ends a text; BOS where there is none."""
        return self.tokens.start if self.tokens.eos is None else self.tokens.eos

    @property
    def prefix_token_id(self) -> int:
        """The id that stands for an empty context."""
        return self.tokens.start

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Ids of a text, with the tokenizer's own BOS unless told otherwise."""
        if add_special_tokens is None:
            return list(self.tokens.texts([string])[0])
        return list(self.tokenizer(string, add_special_tokens=add_special_tokens)["input_ids"])

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Answer]:  # noqa: ARG002
        """Log-likelihood in nats of each continuation given its context, and whether it is the greedy one."""
        pairs = self.tokens.pairs([request.args for request in requests])
        return self._answer(pairs, lambda index: _name(requests[index]), report=True)

    def _loglikelihood_tokens(self, requests: list[Any], **_: Any) -> list[Answer]:
        """The same for (texts, context ids, continuation ids), lm-eval's inner interface."""
        pairs = [(tuple(context), tuple(continuation)) for _, context, continuation in requests]
        return self._answer(pairs, lambda index: f"request {index}", report=True)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Nats]:  # noqa: ARG002
        """Log-likelihood in nats of each whole text, in windows of the model's length that each predict new tokens.

        One BOS stands before it and is not scored. HFLM, unless told `add_bos_token=False`, has two where the
        tokenizer writes one itself, and scores the second.
        """
        texts = [self._without_bos(text) for text in self.tokens.texts([request.args[0] for request in requests])]
        pairs: list[Pair] = []
        owners: list[int] = []
        for index, text in enumerate(texts):
            windows = get_rolling_token_windows(
                token_list=list(text), prefix_token=self.prefix_token_id, max_seq_len=self.max_length, context_len=1
            )
            for context, continuation in map(make_disjoint_window, windows):
                pairs.append((tuple(context), tuple(continuation)))
                owners.append(index)
        scored = self._answer(pairs, lambda index: _name(requests[owners[index]]), report=False)
        nats: list[list[Nats]] = [[] for _ in requests]
        for owner, (likelihood, _) in zip(owners, scored, strict=True):
            nats[owner].append(likelihood)
        self._report(len(requests))
        return [Nats.joined(each) for each in nats]

    def _without_bos(self, text: tuple[int, ...]) -> tuple[int, ...]:
        return text[1:] if self.tokens.bos is not None and text[:1] == (self.tokens.bos,) else text

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:  # noqa: ARG002
        """The greedy continuation of each context, up to its stop strings."""
        contexts = self.tokens.texts([request.args[0] for request in requests])
        groups: dict[Generation, list[int]] = defaultdict(list)
        for index, request in enumerate(requests):
            groups[read_generation(request.args[1])].append(index)
        texts: dict[int, str] = {}
        for wanted, members in groups.items():
            room = _room(wanted, self.max_length)
            self.truncated |= {_name(requests[index]) for index in members if len(contexts[index]) > room}
            members.sort(key=lambda index: (-len(contexts[index]), contexts[index]))
            for start in range(0, len(members), self.batch_size):
                batch = members[start : start + self.batch_size]
                texts.update(zip(batch, self._write(batch, contexts, wanted, requests), strict=True))
                self._report(len(batch))
        return [texts[index] for index in range(len(requests))]

    def _write(
        self, batch: Sequence[int], contexts: Sequence[tuple[int, ...]], wanted: Generation, requests: list[Instance]
    ) -> list[str]:
        prompts = [contexts[index][-_room(wanted, self.max_length) :] for index in batch]
        texts = generate(self._forward, self.tokens, prompts, wanted, lambda row: _name(requests[batch[row]]))
        return [Written.by(self.tokenizer, text, length=wanted.length) for text in texts]

    def _answer(self, pairs: Sequence[Pair], name: Callable[[int], str], *, report: bool) -> list[Answer]:
        rows, truncated = rows_of(pairs, self.max_length)
        self.truncated |= {name(index) for index in truncated}
        found: dict[int, Answer] = {}
        self._forward.each_token = self.each_token
        for scored in answers(self._forward, rows, self.batch_size, name):
            found.update(scored)
            if report:
                self._report(len(scored))
        return [found[index] for index in range(len(pairs))]

    def _report(self, count: int) -> None:
        if self._progress is not None:
            self._progress(count)


def _forward(model: Any, tokens: Tokens, label: str) -> Forward | Elsewhere:
    """What answers rows: the model here, or the program that runs it."""
    if isinstance(model, OneToken):
        return Elsewhere(model, vocabulary=tokens.size, label=label)
    # Padding is masked, so any id of the vocabulary will do that the model has a row for.
    rows = model.get_input_embeddings().weight.shape[0]
    wanted = (tokens.tokenizer.pad_token_id, tokens.eos)
    padding = next((token for token in wanted if token is not None and token < rows), 0)
    return Forward(model, vocabulary=tokens.size, padding=padding, label=label)


def too_long(requests: Sequence[Instance], tokens: Tokens, max_length: int) -> set[str]:
    """The items whose context loses its beginning in a model of this length, as a `GuardLM` names them."""
    scored = [request for request in requests if request.request_type == "loglikelihood"]
    lost = rows_of(tokens.pairs([request.args for request in scored]), max_length)[1]
    written = [request for request in requests if request.request_type == "generate_until"]
    contexts = tokens.texts([request.args[0] for request in written])
    over = {
        _name(request)
        for request, context in zip(written, contexts, strict=True)
        if len(context) > _room(read_generation(request.args[1]), max_length)
    }
    return over | {_name(scored[index]) for index in lost}


def max_length_of(config: Any, tokenizer: Any) -> int:
    """How many tokens a model takes at once: its configuration's word, else the tokenizer's, else 2048."""
    config = getattr(config, "text_config", None) or config
    for key in ("n_positions", "max_position_embeddings", "n_ctx"):
        value = getattr(config, key, None)
        if value is not None:
            return int(value)
    length = getattr(tokenizer, "model_max_length", None)
    return int(length) if length is not None and length < UNSET_LENGTH else DEFAULT_MAX_LENGTH


def _room(wanted: Generation, max_length: int) -> int:
    """Tokens of a prompt that are read, where the model takes `max_length` and may write its share of them."""
    room = max_length - wanted.length
    if room < 1:
        raise ScoringError(f"{wanted.length} new tokens leave no room for a prompt: the model takes {max_length}")
    return room


def _name(request: Instance) -> str:
    return f"item {request.task_name}-{request.doc_id}"
