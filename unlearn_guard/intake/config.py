"""config.json, checked before any library acts on it: no code, no secret doors, no absurd sizes.

transformers builds what a config asks for: 20 000 layers take it minutes, `_attn_implementation_internal`
made it run a stranger's code (CVE-2026-4372), a nested `trust_remote_code` overruled the caller's
False (CVE-2026-5241). So keys that reach code are refused wherever they stand.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import shown
from unlearn_guard.records import FULL

_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")
_EXPERTS = ("eager", "grouped_mm", "batched_mm")
IMPLEMENTATIONS: Mapping[str, tuple[str, ...]] = {
    "_attn_implementation": _ATTENTION,
    "attn_implementation": _ATTENTION,
    "_experts_implementation": _EXPERTS,
    "experts_implementation": _EXPERTS,
}
"""Names of kernels inside transformers and its wheels; `org/name` here would fetch and run a hub kernel."""

PRIVATE: Mapping[str, tuple[type, ...]] = {
    "_name_or_path": (str,),  # where it was saved from; transformers overwrites it with where it is loaded from
    "_attn_implementation_autoset": (bool,),  # written by transformers 4.4x, read by nothing
    "_flash_attn_2_enabled": (bool,),  # written by transformers 4.3x, read by nothing
    "_num_labels": (int,),  # written by transformers before 4; a classifier's
    "_load_in_4bit": (bool,),  # the two that transformers writes into a bitsandbytes quantization_config
    "_load_in_8bit": (bool,),
}
"""Underscored keys that published configs hold, each with its harmless types. Every other one is refused."""

HISTORY = ("_name_or_path", "_attn_implementation_autoset")
"""Keys of config.json that say where a model was saved, and shape nothing."""

_REMOTE = {
    "auto_map": "names Python files of the checkpoint to import",
    "trust_remote_code": "asks to run the checkpoint's own code",
    "custom_pipelines": "names Python files of the checkpoint to import",
    "custom_generate": "names code to run while generating",
    "use_kernels": "fetches kernels, which are code, from the hub",
    "kernel_config": "fetches kernels, which are code, from the hub",
}

_SIZES: tuple[tuple[tuple[str, ...], int, str], ...] = (
    (("num_hidden_layers", "n_layer", "num_layers", "n_layers"), 1_000, "the deepest published models have under 200"),
    (("hidden_size", "n_embd", "d_model", "n_embed"), 262_144, "the widest published models have under 32 768"),
    (("intermediate_size", "n_inner", "ffn_dim", "d_ff"), 4_194_304, "published models stay under 262 144"),
    (("vocab_size",), 8_388_608, "the largest published vocabularies have under 400 000 entries"),
    (("num_attention_heads", "n_head", "num_heads", "n_heads"), 8_192, "published models stay under 256"),
    (("num_key_value_heads",), 8_192, "published models stay under 256"),
    (("head_dim",), 65_536, "published models stay under 1 024"),
    (("max_position_embeddings", "n_positions", "n_ctx"), 1_073_741_824, "published models stay under 20 million"),
    (("num_local_experts", "num_experts", "n_routed_experts"), 16_384, "published models stay under 1 024"),
)
_OPTIONAL = ("n_inner", "head_dim", "num_key_value_heads", "ffn_dim", "n_ctx")
_DTYPES = ("float64", "float32", "float16", "bfloat16", "auto")


def check_config(config: Mapping[str, Any], precision: str) -> None:
    """Raise CheckpointError with every reason not to hand this config to transformers."""
    defects = [*check_no_code(config, "config.json"), *_identity(config), *_quantization(config, precision)]
    for path, section in sections(config):
        defects += _sizes(section, path)
        tied = section.get("tie_word_embeddings", False)
        if not isinstance(tied, bool) and tied is not None:
            defects.append(_wrong(f"{path}: tie_word_embeddings", tied, "true or false"))
    if defects:
        raise CheckpointError("config.json must not be loaded", defects)


def check_no_code(document: Mapping[str, Any], file: str) -> list[Defect]:
    """Keys that make transformers import, fetch or choose code, at any depth of a config file."""
    defects = []
    for path, section in sections(document, file):
        for key, value in section.items():
            where = f"{path}: {key if key.isidentifier() else shown(key)}"
            if key in _REMOTE and value not in (None, False, {}):
                fix = "The guard judges architectures that transformers itself implements."
                defects.append(_wrong(where, value, f"no such key: it {_REMOTE[key]}", fix))
            elif key in IMPLEMENTATIONS:
                if not (value is None or value in IMPLEMENTATIONS[key]):
                    expected = f"one of {', '.join(IMPLEMENTATIONS[key])} (another name can fetch and run code)"
                    defects.append(_wrong(where, value, expected, "Delete the key: transformers chooses."))
            elif key.startswith("_") and file == "config.json":
                defects += _private(where, key, value)
    return defects


def _private(where: str, key: str, value: Any) -> list[Defect]:
    kinds = PRIVATE.get(key)
    if kinds is not None and (value is None or isinstance(value, kinds)):
        return []
    expected = "no private key but " + ", ".join(PRIVATE) if kinds is None else f"{kinds[0].__name__} or null"
    return [_wrong(where, value, expected, "Private keys set library internals (CVE-2026-4372): delete it.")]


def sections(document: Mapping[str, Any], path: str = "config.json") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The document and every object nested in it, with the path that names it in messages."""
    stack: list[tuple[str, Any]] = [(path, document)]
    while stack:
        where, value = stack.pop()
        if isinstance(value, Mapping):
            yield where, value
            stack += [(f"{where}: {key if key.isidentifier() else shown(key)}", child) for key, child in value.items()]
        elif isinstance(value, list):
            stack += [(f"{where}[{index}]", child) for index, child in enumerate(value)]


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part that describes the language model: the config itself, or its `text_config`."""
    nested = config.get("text_config")
    return nested if isinstance(nested, Mapping) and "vocab_size" not in config else config


def _identity(config: Mapping[str, Any]) -> list[Defect]:
    defects = []
    if not isinstance(config.get("model_type"), str) or not config["model_type"]:
        found = config.get("model_type", "nothing")
        defects.append(_wrong("config.json: model_type", found, "a name such as 'llama'", "Save the model again."))
    names = config.get("architectures")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        defects.append(_wrong("config.json: architectures", names, "a list of class names"))
    vocabulary = text_config(config).get("vocab_size")
    if vocabulary is None:
        defects.append(_wrong("config.json: vocab_size", "nothing", "the rows of the embedding: a language model's"))
    for key in ("dtype", "torch_dtype"):
        value = config.get(key)
        if value is not None and value not in _DTYPES:
            defects.append(_wrong(f"config.json: {key}", value, f"one of {', '.join(_DTYPES)}"))
    return defects


def _sizes(section: Mapping[str, Any], path: str) -> list[Defect]:
    defects = []
    for keys, most, because in _SIZES:
        for key in keys:
            if key not in section or (section[key] is None and key in _OPTIONAL):
                continue
            value, where = section[key], f"{path}: {key}"
            if type(value) is list and path != "config.json":
                continue  # a table indexed by layer, in some nested sections
            if type(value) is not int:
                defects.append(_wrong(where, value, "a whole number"))
            elif not 1 <= value <= most:
                defects.append(_wrong(where, value, f"1 to {most} ({because})"))
    return defects


def _quantization(config: Mapping[str, Any], precision: str) -> list[Defect]:
    where = "config.json: quantization_config"
    found = config.get("quantization_config", config.get("compression_config"))
    if precision == FULL and found is not None:
        method = found.get("quant_method", "unknown") if isinstance(found, Mapping) else found
        fix = "Give the full-precision checkpoint, and this one as `--artifact PRECISION=PATH`."
        return [_wrong(where, f"an already quantized model (quant_method {shown(method)})", "full precision", fix)]
    if precision != FULL and not isinstance(found, Mapping):
        fix = "A full-precision model is given as CHECKPOINT; the guard quantizes it itself."
        return [_wrong(where, "nothing" if found is None else found, f"the recipe of a {precision} model", fix)]
    return []


def _wrong(where: str, found: Any, expected: str, fix: str = "") -> Defect:
    plain = isinstance(found, str) and (found in ("nothing",) or found.startswith("an already"))
    return Defect(where=where, found=found if plain else shown(found), expected=expected, fix=fix)
