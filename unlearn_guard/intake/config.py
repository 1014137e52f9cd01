"""config.json, checked before any library acts on it: no code, no secret doors, no absurd sizes.

transformers builds what a config asks for: 20 000 layers take it minutes, `_attn_implementation_internal`
made it run a stranger's code (CVE-2026-4372), a nested `trust_remote_code` overruled the caller's
False (CVE-2026-5241), `transformers_weights` loads other weights than those that lie beside it. So keys
that reach code or other files are refused wherever they stand.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from unlearn_guard.environment import EVERYWHERE
from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake import native
from unlearn_guard.intake.defects import listed, shown
from unlearn_guard.records import FULL

_ATTENTION_KEYS = ("_attn_implementation", "attn_implementation")
_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")
_EXPERTS = ("eager", "grouped_mm", "batched_mm")
IMPLEMENTATIONS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_ATTENTION_KEYS, _ATTENTION),
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
    "_commit_hash": (),  # written by transformers 4.2x, as null; dropped when read
}
"""Underscored keys of published configs that the model's class no longer has, each with its harmless types."""

_REACHING = ("implementation", "kernel", "module", "class", "file", "path", "code", "hash", "repo", "backend", "import")
"""Words in the name of a private key that may choose code or files: such a key is not taken on the class's word."""

_FLOATS = ("NaN", "Infinity", "-Infinity")
"""What transformers writes for the floats that JSON has no number for, as {"__float__": "Infinity"}."""

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

_ELSEWHERE = ("configuration_files", "transformers_weights", "fast_tokenizer_files", "gguf_file", "tokenizer_object")
"""Keys that make transformers read another file than the one that is checked. Nothing saves them: none is honest."""

_ARGUMENTS = ("output_loading_info", "use_safetensors", "device_map", "local_files_only")
"""Arguments of from_pretrained: where config.json names one, transformers takes the caller's for the config's."""

_OUTPUTS = ("output_hidden_states", "output_attentions", "return_dict")
"""Keys that a forward pass reads; a number in their place ends it."""

_EMPTY_ONLY: Mapping[str, tuple[Any, ...]] = {"init_inputs": ([],), "vocab": (None,), "merges": (None,)}
"""Keys of tokenizer_config.json whose value may be a file's path, with what old files hold there."""

_NATIVE_DICTIONARIES = ("mecab_option", "sudachi_config_path", "sudachi_resource_dir")
_MODEL_NAMES = ("architecture", "backbone")
"""Names that timm takes for an address where they have a colon (`hf-hub:org/name`, `local-dir:path`)."""

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
_AT_LEAST_ONE = ("vocab_size", *_SIZES[0][0], *_SIZES[1][0])
"""The sizes without which there is no model; others are 0 where a model has no such part (a dense one's experts)."""
_TABLE = 1_000
"""Entries of a size that is given for each layer."""
_DTYPES = ("float64", "float32", "float16", "bfloat16")


def check_config(config: Mapping[str, Any], precision: str, recipe: str | None = None) -> None:
    """Raise CheckpointError with every reason not to hand this config to transformers.

    `recipe`: the file beside it, if there is one, in which older quantizers kept theirs.
    """
    defects = [*check_no_code(config, "config.json"), *_identity(config), *_quantization(config, precision, recipe)]
    for path, section in sections(config):
        defects += _sizes(section, path)
        tied = section.get("tie_word_embeddings", False)
        if not isinstance(tied, bool) and tied is not None:
            defects.append(_wrong(f"{path}: tie_word_embeddings", tied, "true or false"))
        defects += [
            _wrong(f"{path}: {key}", section[key], "true or false")
            for key in _OUTPUTS
            if not isinstance(section.get(key), bool | list | None)
        ]
    if defects:
        raise CheckpointError("config.json must not be loaded", defects)


def check_no_code(document: Mapping[str, Any], file: str) -> list[Defect]:
    """Keys that make transformers import, fetch or choose code, or read other files, at any depth of a config file."""
    defects = []
    for path, section in sections(document, file):
        for key, value in section.items():
            where = f"{path}: {key if key.isidentifier() else shown(key)}"
            if key in _REMOTE and value not in (None, False, {}):
                if not (key == "auto_map" and file == "config.json" and _unused(value) and native.implements(section)):
                    fix = "The guard judges architectures that transformers itself implements."
                    defects.append(_wrong(where, value, f"no such key: it {_REMOTE[key]}", fix))
            elif key in IMPLEMENTATIONS:
                if not (value is None or value in IMPLEMENTATIONS[key]):
                    expected = f"one of {', '.join(IMPLEMENTATIONS[key])} (another name can fetch and run code)"
                    defects.append(_wrong(where, value, expected, "Delete the key: transformers chooses."))
            elif key.startswith("_") and file == "config.json":
                defects += _private(document, where, section, key)
            else:
                defects += _leads_elsewhere(file, where, key, value)
    return defects


def _unused(auto_map: Any) -> bool:
    """Whether this is an auto_map as models are published with: without trust_remote_code nothing reads it."""
    return isinstance(auto_map, Mapping) and all(name.startswith("Auto") for name in auto_map)


def _leads_elsewhere(file: str, where: str, key: str, value: Any) -> list[Defect]:
    """Keys whose value transformers, or a library it calls, opens as a file, a folder or an address."""
    if key in _ARGUMENTS and file == "config.json":
        expected = "no such key: transformers would take the caller's argument of this name for the config's"
        return [_wrong(where, value, expected, "Delete the key.")]
    refused = key in _ELSEWHERE
    if file == "tokenizer_config.json":
        refused |= key in _EMPTY_ONLY and not any(value is each or value == each for each in _EMPTY_ONLY[key])
        refused |= key in _NATIVE_DICTIONARIES and bool(value)
    elif file == "special_tokens_map.json":
        refused |= key.endswith("_file") and value is not None
    elif key == "fusion_config":
        refused |= bool(value)  # it patches the model's class while it is loaded
    elif key in _MODEL_NAMES:
        refused |= isinstance(value, str) and ":" in value
    if not refused:
        return []
    expected = "no such key: it makes a library read other files than those that are judged"
    return [_wrong(where, value, expected, "Delete the key, and keep one file of each kind under its usual name.")]


def _private(document: Mapping[str, Any], where: str, section: Mapping[str, Any], key: str) -> list[Defect]:
    """A private key is harmless where it is known, or plain and the model's own class in transformers has it."""
    value, kinds = section[key], PRIVATE.get(key)
    if key == "__float__" and len(section) == 1 and value in _FLOATS:
        return []
    if kinds is not None and (value is None or isinstance(value, kinds)):
        return []
    reaching = any(word in key.lower() for word in _REACHING)
    if kinds is None and not reaching and _plain(value) and key in native.private_keys(document):
        return []
    expected = " or ".join([*(kind.__name__ for kind in kinds or ()), "null"])
    if not kinds:
        expected = f"no private key but {', '.join(PRIVATE)}, or a number of the model's own class in transformers"
    return [_wrong(where, value, expected, "Private keys set library internals (CVE-2026-4372): delete it.")]


def _plain(value: Any) -> bool:
    """Null, true, false, a number, or a list of these: what can name neither code nor a file."""
    values = value if isinstance(value, list) else [value]
    return all(each is None or isinstance(each, bool | int | float) for each in values)


def code_notes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """What a config that passed names of the checkpoint's own code, and that it is not run."""
    named = {
        str(value)
        for _, section in sections(config)
        if isinstance(section.get("auto_map"), Mapping)
        for value in section["auto_map"].values()
    }
    if not named:
        return ()
    own = shown(str(config.get("model_type")))
    return (
        f"config.json: auto_map names code of the checkpoint ({listed(sorted(named))}), which was never run: "
        f"what is judged is transformers' own class for {own}, as loaded without trust_remote_code",
    )


def attention_notes(config: Mapping[str, Any]) -> tuple[str, ...]:
    """What a config that passed names to compute attention with, where it is not what the guard computes with."""
    named = {str(section[key]) for _, section in sections(config) for key in _ATTENTION_KEYS if section.get(key)}
    if not (others := sorted(named - {*EVERYWHERE})):
        return ()
    how = "which the guard leaves to transformers: it is a way to compute the same, not part of the model"
    return (f"config.json: asks for the attention of {listed(others)}, {how}",)


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
    if text_config(config).get("vocab_size") is None and not native.has_vocabulary(config):
        defects.append(_wrong("config.json: vocab_size", "nothing", "the rows of the embedding: a language model's"))
    for key in ("dtype", "torch_dtype"):
        value = config.get(key)
        if value is not None and value not in _DTYPES:
            defects.append(_wrong(f"config.json: {key}", value, f"one of {', '.join(_DTYPES)}"))
    return defects


def _sizes(section: Mapping[str, Any], path: str) -> list[Defect]:
    """Sizes that would take minutes or the machine's memory. Null is the class's default, a list one size a layer."""
    defects = []
    for keys, most, because in _SIZES:
        for key in keys:
            value, where = section.get(key), f"{path}: {key}"
            table = isinstance(value, list) and key not in _AT_LEAST_ONE
            if value is None:
                continue
            if table and len(value) > _TABLE:
                defects.append(_wrong(where, f"a list of {len(value)}", f"at most {_TABLE}, one a layer"))
            for size in value[:_TABLE] if table else [value]:
                least = int(key in _AT_LEAST_ONE)
                if type(size) is not int:
                    defects.append(_wrong(where, size, "a whole number"))
                elif not least <= size <= most:
                    defects.append(_wrong(where, size, f"{least} to {most} ({because})"))
    return defects


def _quantization(config: Mapping[str, Any], precision: str, recipe: str | None) -> list[Defect]:
    where = "config.json: quantization_config"
    found = config.get("quantization_config", config.get("compression_config"))
    if precision == FULL and found is not None:
        method = found.get("quant_method", "unknown") if isinstance(found, Mapping) else found
        fix = "Give the full-precision checkpoint, and this one as `--artifact PRECISION=PATH`."
        return [_wrong(where, f"an already quantized model (quant_method {shown(method)})", "full precision", fix)]
    if precision != FULL and not isinstance(found, Mapping):
        fix = "A full-precision model is given as CHECKPOINT; the guard quantizes it itself."
        if recipe is not None:
            fix = (
                f'Put what {recipe} holds there, and "quant_method": "{precision}": transformers reads no other place.'
            )
        return [_wrong(where, "nothing" if found is None else found, f"the recipe of a {precision} model", fix)]
    return []


def _wrong(where: str, found: Any, expected: str, fix: str = "") -> Defect:
    plain = isinstance(found, str) and (found == "nothing" or found.startswith(("an already", "a list of ")))
    return Defect(where=where, found=found if plain else shown(found), expected=expected, fix=fix)
