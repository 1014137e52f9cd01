"""Does llama.cpp compute what transformers computes? A cut of the very model is asked in both, before it is rounded.

A key of a config that one of them heeds and the other does not would make another model of it, and its numbers would
say nothing. The cut has the model's own weights, in fp32: a layer of each kind, at least two, and some of the rows of
the vocabulary.
"""

import copy
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from unlearn_guard.environment import with_attention
from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers.gguf_writing import write
from unlearn_guard.quantizers.layers import directory_tensors, read_tensor
from unlearn_guard.quantizers.llama_cpp import LlamaCpp
from unlearn_guard.records import StoredTensor

NATS = 0.02
"""How far two log-probabilities may lie apart: llama.cpp looks up Gemma's GELU in a table of fp16 numbers."""

_ROWS, _LENGTHS = 512, (1, 9, 40)


def assert_agrees(source: Mapping[str, StoredTensor], config: Any, beside: Path) -> None:
    """Raise QuantizationError where the two say otherwise. What is written lies in a folder beside, for the while."""
    small, state = _cut(source, config)
    with tempfile.TemporaryDirectory(dir=beside.parent) as folder:
        save_file(state, Path(folder) / "model.safetensors")
        write(directory_tensors(Path(folder)), small, Path(folder) / "model.gguf", "F32")
        theirs = LlamaCpp(Path(folder) / "model.gguf", small, None)
        worst = max(_apart(_by_transformers(small, state), theirs, length, small) for length in _LENGTHS)
        del theirs
    if not worst <= NATS:
        raise QuantizationError(
            f"llama.cpp computes another model than transformers: {worst:.3f} nats apart in fp32, where {NATS} are "
            "allowed",
            fix="This architecture, or a setting of its config.json, is not carried over: leave the GGUF formats out.",
        )


def _cut(source: Mapping[str, StoredTensor], config: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    small = copy.deepcopy(config)
    kinds = list(getattr(config, "layer_types", None) or ())
    layers = max(2, 1 + max((kinds.index(kind) for kind in kinds), default=0))
    small.num_hidden_layers = min(layers, config.num_hidden_layers)
    if kinds:
        small.layer_types = kinds[: small.num_hidden_layers]
    small.vocab_size = min(_ROWS, config.vocab_size)
    small.pad_token_id = small.bos_token_id = small.eos_token_id = None
    beyond = tuple(f"model.layers.{layer}." for layer in range(small.num_hidden_layers, config.num_hidden_layers))
    state = {}
    for name in source:
        if not name.startswith(beyond or ("\0",)):
            weight = read_tensor(source, name).float()
            of_tokens = name.startswith(("model.embed_tokens.", "lm_head."))
            state[name] = weight[: small.vocab_size].clone() if of_tokens else weight
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    return small, state


def _by_transformers(config: Any, state: Mapping[str, torch.Tensor]) -> Any:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(with_attention(config), dtype=torch.float32)
    found = model.load_state_dict(state, strict=False)
    missing = [name for name in found.missing_keys if not (config.tie_word_embeddings and name == "lm_head.weight")]
    if missing or found.unexpected_keys:
        raise QuantizationError(f"a cut of the model does not load: {[*missing, *found.unexpected_keys][:5]}")
    model.tie_weights()
    return model.eval()


@torch.no_grad()
def _apart(model: Any, theirs: LlamaCpp, length: int, config: Any) -> float:
    """The largest difference over the vocabulary, among tokens that are not hopeless."""
    tokens = [(17 * place + 5 * length) % config.vocab_size for place in range(length)]
    ours_V = model(input_ids=torch.tensor([tokens])).logits[0, -1].float().log_softmax(-1)
    found_V = theirs.log_probabilities(tokens)
    likely_V = ours_V > -20
    return float((ours_V - found_V).abs()[likely_V].max())
