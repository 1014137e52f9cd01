"""A GGUF file asked by llama.cpp itself, through the server that xllamacpp runs inside this process.

Prompts are token ids, so that no tokenizer comes between. llama.cpp tells the log-probability of the token that it
takes, computed from the untouched logits, so a bias makes it take the one that is asked for. Keys and values are kept
in fp32, and nothing is kept from one row to the next: what a row is answered depends on no other.
"""

import gc
import json
import math
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from unlearn_guard.errors import NonFiniteError, QuantizationError

_BIAS = 1e6
_NOTHING = -1e30
"""llama.cpp writes the lowest float32 for the logarithm of zero."""

_SHORTEST, _SPARE = 512, 8
_PATIENCE = 60.0
"""Seconds."""


class LlamaCpp:
    """A model that another program runs: it is asked one token at a time."""

    def __init__(self, file: Path, config: Any, generation_config: Any) -> None:
        self.file, self.config, self.generation_config = file, config, generation_config
        self.rows = int(config.vocab_size)
        self._server: Any = None
        self._room = 0

    def eval(self) -> "LlamaCpp":
        """Itself: there is no other mode."""
        return self

    def next_token(self, tokens: Sequence[int], wanted: int, *, fresh: bool) -> tuple[float, int]:
        """Log-probability in nats of one token after these, and the likeliest one.

        Without `fresh` what was computed of the row before is used as far as both begin alike. Raises NonFiniteError
        where the logits leave no distribution, QuantizationError where llama.cpp does not answer what it was asked.
        """
        found = self._ask(tokens, wanted, 1, fresh)
        if found is None:  # a token that is part of a character, or ends the text: llama.cpp says nothing of it
            table = dict(self._all(tokens, fresh=False))
            return table[wanted], max(table, key=lambda token: table[token])
        best = found["top_logprobs"][0]
        for each in (found, best):
            if not isinstance(each["logprob"], int | float) or math.isnan(each["logprob"]):
                raise NonFiniteError(f"{self.file.name}: llama.cpp's logits are not finite")
        if found["id"] != wanted:
            raise QuantizationError(
                f"{self.file.name}: llama.cpp took token {found['id']} where {wanted} was asked for"
            )
        return _nats(found["logprob"]), int(best["id"])

    def log_probabilities(self, tokens: Sequence[int]) -> torch.Tensor:
        """Of every token after these, (V,)."""
        table_V = torch.full((self.rows,), -math.inf)
        for token, nats in self._all(tokens, fresh=True):
            table_V[token] = nats
        return table_V

    def ids(self, text: str, *, special: bool) -> list[int]:
        """The token ids that llama.cpp makes of a text by the file's own tokenizer, with its BOS if `special`."""
        if self._server is None:
            self._start(_SHORTEST)
        body = json.dumps({"content": text, "add_special": special, "parse_special": True}).encode()
        request = urllib.request.Request(  # noqa: S310 - this process's own server, over http
            f"{self._server.listening_address}/tokenize", body, {"Content-Type": "application/json"}
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=_PATIENCE) as answer:
                return [int(each) for each in json.loads(answer.read())["tokens"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise QuantizationError(f"{self.file.name}: llama.cpp does not say the token ids of a text") from error

    def _all(self, tokens: Sequence[int], *, fresh: bool) -> list[tuple[int, float]]:
        """Of every token; llama.cpp is made to take one that it spells."""
        for plain in self._plain():
            found = self._ask(tokens, plain, self.rows, fresh)
            if found is not None and len(found["top_logprobs"]) == self.rows:
                return [(int(each["id"]), _nats(each["logprob"])) for each in found["top_logprobs"]]
        raise QuantizationError(f"{self.file.name}: llama.cpp does not say the probabilities of all tokens")

    def _plain(self) -> Sequence[int]:
        """Some tokens of which a few are surely spelt in letters."""
        return range(3, min(self.rows, 2_000), max(1, self.rows // 97))

    def _ask(self, tokens: Sequence[int], wanted: int, count: int, fresh: bool) -> dict[str, Any] | None:
        if self._server is None or len(tokens) + _SPARE > self._room:
            self._start(len(tokens) + _SPARE)
        said = self._server.handle_completions(
            {
                "prompt": list(tokens),
                "max_tokens": 1,
                "temperature": 0,
                "logprobs": count,
                "logit_bias": [[wanted, _BIAS]],
                "cache_prompt": not fresh,
            }
        )
        answer = json.loads(said) if isinstance(said, str | bytes) else said
        if "choices" not in answer or answer["usage"]["prompt_tokens"] != len(tokens):
            raise QuantizationError(f"{self.file.name}: llama.cpp did not answer: {str(answer)[:300]}")
        logprobs = answer["choices"][0]["logprobs"]
        content: list[dict[str, Any]] = logprobs["content"] if logprobs else []
        return content[0] if content else None

    def _start(self, length: int) -> None:
        """Load the file with room for rows of this length."""
        import xllamacpp

        self._server = None
        gc.collect()  # two copies of a model are not held at a time
        self._room = max(_SHORTEST, 1 << (length - 1).bit_length())
        wanted = xllamacpp.CommonParams()
        wanted.model.path = str(self.file)
        wanted.n_ctx, wanted.n_parallel, wanted.n_gpu_layers = self._room, 1, 0
        wanted.n_batch = self._room
        wanted.warmup, wanted.ui, wanted.fit_params, wanted.verbosity, wanted.cache_ram_mib = False, False, False, 0, 0
        wanted.swa_full = True  # a sliding window's keys stay, so that a row's beginning can be used again
        wanted.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        wanted.cache_type_k = wanted.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = torch.get_num_threads()
        try:
            self._server = xllamacpp.Server(wanted)
        except Exception as error:  # whatever the library raises, the file is none that it runs
            raise QuantizationError(f"llama.cpp does not load {self.file}: {error}") from error


def _nats(logarithm: float) -> float:
    return -math.inf if logarithm < _NOTHING else float(logarithm)
