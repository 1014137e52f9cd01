"""From GGUF's metadata to transformers' config. What a file says of its computation is carried over or refused.

transformers' own reader maps some keys and drops the rest without a word: a rope that is scaled, a sliding window of
Phi-3, Llama 3's rope factors. A model that computes something else is not the file's, so here a key of the
architecture that is not understood is a refusal.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import shown
from unlearn_guard.real.gguf_file import GgufFile

ARCHITECTURES: Mapping[str, str] = {
    "llama": "Llama, Mistral, SmolLM and their kin",
    "qwen2": "Qwen2, Qwen2.5",
    "qwen3": "dense Qwen3",
    "gemma3": "the text part of Gemma 3",
    "phi3": "Phi-3, Phi-4",
}
"""llama.cpp's names of what is read. It calls Mistral `llama`, too."""

_READ = (
    "context_length",
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.layer_norm_rms_epsilon",
    "attention.key_length",
    "attention.value_length",
    "attention.sliding_window",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
)
_DESCRIPTIVE = ("rope.scaling.finetuned", "tensor_data_layout")
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "expert_count": (0,),
    "expert_used_count": (0,),
    "attention.causal": (True,),
    "pooling_type": (0,),
    "use_parallel_residual": (False,),
    "rope.scaling.attn_factor": (0.0, 1.0),
    "attention.clamp_kqv": (0.0,),
}
"""Keys with the values that change nothing."""

ROPE_FACTORS = "rope_freqs.weight"
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
"""What llama.cpp computes Llama 3's factors from; the file has only the factors."""


def model_config(file: GgufFile, dtype: str) -> Any:
    """The config of the file's model. Raises CheckpointError for what is missing, or is not understood."""
    from transformers import AutoConfig

    said = _Said(file)
    values = _common(said)
    values |= _FAMILIES[file.architecture](said, values)
    said.finish()
    model_type = values.pop("model_type")
    return AutoConfig.for_model(model_type, dtype=dtype, **values)


class _Said:
    """The file's keys of its architecture, each asked for or else a defect."""

    def __init__(self, file: GgufFile) -> None:
        self.file, self.defects = file, list[Defect]()
        prefix = f"{file.architecture}."
        self.keys = {key.removeprefix(prefix): value for key, value in file.metadata.items() if key.startswith(prefix)}

    def wrong(self, key: str, found: Any, expected: str) -> None:
        where = f"{self.file.path.name}: {self.file.architecture}.{key}"
        self.defects.append(Defect(where=where, found=shown(found), expected=expected))

    def whole(self, key: str, default: int | None = None) -> int:
        value = self.keys.get(key, default)
        if type(value) is not int or not 1 <= value < 2**31:
            self.wrong(key, "nothing" if value is None else value, "a whole number, 1 or more")
            return 1
        return value

    def real(self, key: str, default: float | None = None) -> float:
        """A number that the file holds in float32, as it was written in decimals."""
        value = self.keys.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
            self.wrong(key, "nothing" if value is None else value, "a number above 0")
            return 1.0
        return float(str(np.float32(value)))

    def finish(self) -> None:
        for key, value in self.keys.items():
            if key in _NEUTRAL and value in _NEUTRAL[key]:
                continue
            if key not in _READ and key not in _DESCRIPTIVE:
                self.wrong(key, value, "no such key: it says of the computation what is not carried over")
        if self.defects:
            raise CheckpointError(f"{self.file.path.name} describes a model that is not read", self.defects)


def _common(said: _Said) -> dict[str, Any]:
    heads = said.whole("attention.head_count")
    width = said.whole("embedding_length")
    rotary = said.keys.get("rope.dimension_count") if said.file.architecture == "llama" else None
    head = said.whole("attention.key_length", rotary or width // heads)
    if said.keys.get("attention.value_length", head) != head:
        said.wrong("attention.value_length", said.keys["attention.value_length"], f"{head}, as the keys")
    if said.file.architecture != "phi3" and said.keys.get("rope.dimension_count", head) != head:
        said.wrong("rope.dimension_count", said.keys["rope.dimension_count"], f"{head}, the head's width")
    if said.file.architecture not in ("gemma3", "phi3", "llama") and said.keys.get("attention.sliding_window"):
        said.wrong("attention.sliding_window", said.keys["attention.sliding_window"], "none")
    layers = said.whole("block_count")
    if layers > len(said.file.tensors):
        said.wrong("block_count", layers, f"at most the file's {len(said.file.tensors)} tensors")
    values = {
        "hidden_size": width,
        "intermediate_size": said.whole("feed_forward_length"),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": said.whole("attention.head_count_kv", heads),
        "head_dim": head,
        "max_position_embeddings": said.whole("context_length"),
        "rms_norm_eps": said.real("attention.layer_norm_rms_epsilon"),
        "rope_parameters": _rope(said, head),
        "tie_word_embeddings": "output.weight" not in said.file.tensors,
        "vocab_size": _rows(said),
    }
    return values | _ids(said)


def _rows(said: _Said) -> int:
    table = said.file.tensors.get("token_embd.weight")
    rows = table.shape[0] if table is not None else 1
    if table is None:
        said.wrong("token_embd.weight", "nothing", "the embedding")
    elif said.keys.get("vocab_size", rows) != rows:
        said.wrong("vocab_size", said.keys["vocab_size"], f"{rows}, the embedding's rows")
    return rows


def _ids(said: _Said) -> dict[str, int | None]:
    names = {"bos_token_id": "bos", "eos_token_id": "eos", "pad_token_id": "padding"}
    found = {name: said.file.metadata.get(f"tokenizer.ggml.{key}_token_id") for name, key in names.items()}
    rows = _rows(said)
    for name, number in found.items():
        if number is not None and (type(number) is not int or not 0 <= number < rows):
            said.wrong(name, number, f"an id below {rows}")
    return found


def _rope(said: _Said, head: int) -> dict[str, Any]:
    base = said.real("rope.freq_base", 10_000.0)
    kind, factor = said.keys.get("rope.scaling.type", "none"), said.keys.get("rope.scaling.factor", 1.0)
    found: dict[str, Any] = {"rope_type": "default", "rope_theta": base}
    if kind == "linear" and factor not in (0.0, 1.0):
        found |= {"rope_type": "linear", "factor": said.real("rope.scaling.factor")}
    elif kind not in ("none", "linear"):
        said.wrong("rope.scaling.type", kind, "none or linear")
    if ROPE_FACTORS in said.file.tensors:
        found |= _llama3(said, base, head)
    return found


def _llama3(said: _Said, base: float, head: int) -> dict[str, Any]:
    """The rope whose factors the file holds: Llama 3.1's (8) or 3.2's (32)."""
    stored = said.file.tensors[ROPE_FACTORS]
    if stored.kind == 0 and stored.shape == (head // 2,):
        factors = np.fromfile(said.file.path, np.float32, head // 2, offset=stored.start)
        for factor in (8.0, 32.0):
            if np.allclose(factors, llama3_factors(base, head, factor), rtol=1e-5):
                return {"rope_type": "llama3", "factor": factor, **_LLAMA3}
        if (factors == 1).all():
            return {}
    said.wrong(ROPE_FACTORS, "factors of its own", "those of Llama 3.1 or 3.2")
    return {}


def llama3_factors(base: float, head: int, factor: float) -> "np.ndarray[Any, Any]":
    """By what each rotary wavelength is stretched; head / 2 numbers. Source: llama.cpp's convert_hf_to_gguf.py."""
    waves = 2 * math.pi * base ** (np.arange(0, head, 2) / head)
    low, high = _LLAMA3["low_freq_factor"], _LLAMA3["high_freq_factor"]
    smooth = np.clip((_LLAMA3["original_max_position_embeddings"] / waves - low) / (high - low), 0.0, 1.0)
    return 1 / ((1 - smooth) / factor + smooth)


def _llama(said: _Said, _: Mapping[str, Any]) -> dict[str, Any]:
    if not said.keys.get("attention.sliding_window"):
        return {"model_type": "llama"}
    return {"model_type": "mistral", "sliding_window": said.whole("attention.sliding_window")}


def _qwen2(said: _Said, values: Mapping[str, Any]) -> dict[str, Any]:
    if values["head_dim"] * values["num_attention_heads"] != values["hidden_size"]:
        said.wrong("attention.key_length", values["head_dim"], "embedding_length / attention.head_count")
    return {"model_type": "qwen2"}


def _gemma3(said: _Said, values: Mapping[str, Any]) -> dict[str, Any]:
    """One layer in six looks at everything; attention is scaled by the head's width, but for the 27B's (62 layers)."""
    large = values["num_hidden_layers"] == 62
    scale = values["hidden_size"] // values["num_attention_heads"] if large else values["head_dim"]
    local = {"rope_type": "default", "rope_theta": 10_000.0}
    return {
        "model_type": "gemma3_text",
        "query_pre_attn_scalar": scale,
        "sliding_window": said.whole("attention.sliding_window"),
        "rope_parameters": {"full_attention": values["rope_parameters"], "sliding_attention": local},
    }


def _phi3(said: _Said, values: Mapping[str, Any]) -> dict[str, Any]:
    rotary = said.whole("rope.dimension_count", values["head_dim"])
    trained = said.whole("rope.scaling.original_context_length", values["max_position_embeddings"])
    if trained != values["max_position_embeddings"]:
        said.wrong("rope.scaling.original_context_length", trained, "the context's length: no long rope is read")
    share = {} if rotary == values["head_dim"] else {"partial_rotary_factor": rotary / values["head_dim"]}
    return {
        "model_type": "phi3",
        "sliding_window": said.whole("attention.sliding_window") if said.keys.get("attention.sliding_window") else None,
        "original_max_position_embeddings": trained,
        "rope_parameters": {**values["rope_parameters"], **share},
        **share,
    }


_FAMILIES: Mapping[str, Callable[[_Said, Mapping[str, Any]], dict[str, Any]]] = {
    "llama": _llama,
    "qwen2": _qwen2,
    "qwen3": lambda *_: {"model_type": "qwen3"},
    "gemma3": _gemma3,
    "phi3": _phi3,
}
