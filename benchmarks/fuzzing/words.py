"""What transformers reads in a checkpoint's files, gathered from the installed sources: keys, and values they take."""

import ast
import re
from functools import cache
from pathlib import Path

_FIELD = re.compile(r"^    ([a-z]\w*): [^=\n]+?(?:= (.+))?$", re.MULTILINE)
_READ = re.compile(
    r"(?:config|kwargs|settings|init_kwargs|tokenizer_config|config_dict|rope_parameters|rope_scaling|token_data)"
    r"(?:\.get|\.pop)?[\[(]\s*\"(\w+)\""
)
_ASKED = re.compile(r"attr\([^()\"]*config[^()\"]*, \"(\w+)\"|\"(\w+)\" (?:not )?in \w*(?:config|kwargs)\w*")
_ATTRIBUTE = re.compile(r"\bconfig\.(\w+)")
_PARAMETER = re.compile(r"^        (\w+)(?:: [^=\n]+)?\s?=.*,$", re.MULTILINE)

DECOYS = ("decoy.safetensors", "decoy.safetensors.index.json", "config.4.0.json", "tokenizer.4.0.json")
"""Files that a key may point at: other weights, another config, another vocabulary."""

SUSPICIOUS = (
    *("transformers_weights", "configuration_files", "fast_tokenizer_files", "attribute_map", "sub_configs"),
    *("keys_to_ignore_at_inference", "base_model_tp_plan", "base_model_prefix", "has_no_defaults_at_init"),
    *("fusion_config", "distributed_config", "layer_types", "_commit_hash", "name_or_path", "text_config"),
    *("auto_map", "trust_remote_code", "custom_generate", "model_input_names", "init_inputs", "name_or_path"),
    *("tokenizer_file", "vocab_file", "merges_file", "tokenizer_class", "backend", "is_local", "files_loaded"),
    *("gguf_file", "processor_class", "__class__", "__dict__", "self", "cls", "config", "from_slow", "legacy"),
    *("added_tokens_decoder", "extra_special_tokens", "additional_special_tokens", "chat_template", "response_schema"),
)
"""Keys that reach further than a number does, drawn more often than their share."""

NASTY: tuple[object, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 7, 16, 31, 32, 33, 64, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400),
    *(0.0, -0.0, 0.5, 1.0, 1.5, 2.0, 16.0, -1.5, 1e-9, 1e-300, 1e300, 1e38, 5e-324),
    *("", " ", "0", "1", "auto", "none", "null", "true", "default", "w1", "w2 w3", "</s>", "<unk>", "<s>", "a" * 300),
    *("\u0000", "\u202eabc", "\ud800", "\x1b[2J", "\n::error::x", "[bold red]x[/]", "\ufeff", "é", "e\u0301", "𝄞"),
    *("../x", "/etc/passwd", "https://example.org/x", "org/name", "org/name:Kernel", ".", "..", "a/b"),
    *("eager", "sdpa", "flash_attention_2", "flex_attention", "paged|eager", "float16", "bfloat16", "float8_e4m3fn"),
    *("gelu", "relu", "silu", "swish", "gelu_new", "linear", "tanh", "quick_gelu", "relu2"),
    *("linear", "dynamic", "yarn", "longrope", "llama3", "proportional"),
    *("LlamaForCausalLM", "Qwen2ForCausalLM", "GPT2LMHeadModel", "LlamaForSequenceClassification", "FSDPX"),
    *(
        "PreTrainedTokenizerFast",
        "LlamaTokenizer",
        "BertTokenizer",
        "GPT2Tokenizer",
        "TokenizersBackend",
        "T5Tokenizer",
    ),
    *("llama", "qwen2", "gpt2", "mistral", "gemma", "bert", "t5", "sliding_attention", "full_attention"),
    *("left", "right", "longest_first", "static", "quantized", "hybrid", "{{ messages }}", "{{ ''.__class__ }}"),
    *DECOYS,
    *([], {}, [None], [[]], [1], [3], [[3]], [[3], [4, 5]], [0, 1, 2, 3], [1.5], ["w1"], ["w1", "w1"], [list(DECOYS)]),
    *(["config.4.0.json"], ["tokenizer.4.0.json"], ["full_attention", "sliding_attention"], ["linear_attention"] * 2),
    *({"a": 1}, {"rope_type": "linear", "factor": 2.0}, {"rope_type": "default", "rope_theta": 1e4}, {"0": "w9"}),
    *({"rope_type": "dynamic", "factor": 4.0}, {"rope_type": "yarn", "factor": 2.0}, {"factor": 8.0, "type": "linear"}),
    *({"hidden_act": "gate"}, {"hidden_size": "intermediate_size"}, {"full_attention": {"rope_type": "default"}}),
    *({"content": "w3", "special": True}, {"__type": "AddedToken", "content": "w4", "lstrip": True, "special": True}),
    *({"31": {"content": "w9", "special": True}}, {"40": {"content": "zz", "special": False}}),
    *(
        {"40": {"content": "<|x|>", "special": True}},
        {"model_type": "llama"},
        {"bos_token": "w1"},
        {"image_token": "w2"},
    ),
)
"""Values for any key: wrong types, extremes, hostile texts, names of other parts, and settings of other models."""

TOKENIZER_PARTS: tuple[object, ...] = (
    *({"type": name} for name in ("Lowercase", "NFC", "NFKC", "NFD", "StripAccents", "Whitespace", "WhitespaceSplit")),
    *({"type": name} for name in ("Fuse", "ByteFallback", "BertPreTokenizer", "Nope", "UnicodeScripts")),
    {"type": "Replace", "pattern": {"String": "w1"}, "content": "w2"},
    {"type": "Replace", "pattern": {"Regex": "(a*)*b"}, "content": ""},
    {"type": "Replace", "pattern": {"Regex": "("}, "content": ""},
    {"type": "Prepend", "prepend": "w1 "},
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Strip", "content": "w", "start": 1, "stop": 0},
    {"type": "Sequence", "normalizers": []},
    {"type": "Sequence", "normalizers": [{"type": "Lowercase"}], "pretokenizers": [], "decoders": [], "processors": []},
    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    {"type": "Digits", "individual_digits": True},
    {"type": "Split", "pattern": {"String": "w"}, "behavior": "Removed", "invert": False},
    {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A",
     "type_id": 0}}], "pair": [], "special_tokens": {}},
    {"type": "BertProcessing", "sep": ["w1", 1], "cls": ["w2", 2]},
    {"type": "WordPiece", "prefix": "##", "cleanup": True},
    {"type": "CTC", "pad_token": "w1", "word_delimiter_token": "|", "cleanup": True},
    {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
    {"direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 9},
    {"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": 8,
     "pad_id": 3, "pad_type_id": 0, "pad_token": "w3"},
    {"id": 31, "content": "w9", "single_word": False, "lstrip": False,
     "rstrip": False, "normalized": True, "special": True},
    {"id": 5, "content": "w5", "single_word": False, "lstrip": True,
     "rstrip": True, "normalized": False, "special": False},
)  # fmt: skip
"""Normalizers, pre-tokenizers, post-processors, decoders and rendering settings of tokenizer.json."""
TOKENIZER_KEYS = (
    *("version", "truncation", "padding", "added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder"),
    *("model", "type", "vocab", "merges", "unk_token", "dropout", "byte_fallback", "fuse_unk", "ignore_merges"),
    *("continuing_subword_prefix", "end_of_word_suffix", "max_input_chars_per_word", "unk_id", "content", "id"),
    *("single_word", "lstrip", "rstrip", "normalized", "special", "single", "pair", "special_tokens"),
)

JINJA = (
    *("{% for m in messages %}", "{% endfor %}", "{{ m.content }}"),
    *("{{ m['content'] }}", "{%- if true -%}", "{% endif %}"),
    *("{{ ''.__class__ }}", "{{ x|attr('y') }}", "{% include 'x' %}", "{% set x = 1 %}", "{{ 9**9 }}", "{{ 'a' * 9 }}"),
    "{% for i in range(999) %}x{% endfor %}",
    *("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{# x #}", "{#", "{{", "%}"),
    *("{% raw %}", "{% endraw %}", "{% break %}", "{{ raise_exception('x') }}"),
    *("{{ strftime_now('%Y') }}", "{% call f() %}"),
    *("{{ messages | length / 0 }}", "{{ undefined.x }}", "\x00", "\ud800", "\u202e", "{% trans %}", "{{ lipsum() }}"),
    *("{% generation %}", "{% endgeneration %}", "{{ cycler }}"),
    *("{{ namespace(a=1) }}", "{{ tools | tojson }}", "\ufeff"),
    *("{% filter upper %}x{% endfilter %}", "{% block a %}{% endblock %}"),
    *("{% extends 'x' %}", "{% import 'x' as y %}"),
    *("{{ [1]*99999 }}", "{{ (1,2)[0:1] }}", "{{ 1 if x else 2 }}", "{{ 5 % 0 }}", "{{ '%s' % x }}", "{{ x is y }}"),
    *("{{ x | nope }}", "{% if x is nope %}{% endif %}", "{{ '" + "(" * 300 + "' }}", "{{ " + "-" * 3000 + "1 }}"),
)  # fmt: skip
"""Pieces of a chat template."""

NAMES = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "chat_template.jinja", "chat_template.json", "vocab.json", "merges.txt", "vocab.txt"),
    *("tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "spm.model", "tekken.json", "vocab.bpe"),
    *("tiktoken.model", "model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "adapter_config.json"),
    *("pytorch_model.bin.index.json", "adapter_model.safetensors"),
    *("consolidated.safetensors", "model.fp16.safetensors"),
    *("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model-00003-of-00002.safetensors"),
    *("unlearn_guard.json", "quantize_config.json", "quant_config.json"),
    *("hf_quant_config.json", "processor_config.json"),
    *("preprocessor_config.json", "modeling_x.py", "custom_generate/generate.py", "additional_chat_templates/x.jinja"),
    *("additional_chat_templates/default.jinja", "additional_chat_templates/chat_template.jinja", "x.jinja"),
    *("additional_chat_templates/../x.jinja", "original/params.json", "onnx/model.onnx", "model.gguf", "README.md"),
    *(".safetensors", ".safetensors.index.json", "Config.json", "CONFIG.JSON", "config.json ", "config.json\n"),
    *("\x1b[2J.safetensors", "\u202ecnos.safetensors", "a" * 240 + ".bin", "mistral-common.json", "tokenizer.model.v3"),
    *("bytes-\udcff.safetensors", "bytes-\udcff.jinja", "bytes-\udcff.bin", "tf_model.h5", "flax_model.msgpack"),
    *("sentence_bert_config.json", "modules.json", "training_args.bin", "args.json", "params.json", "index.json"),
    *("model.safetensors.bak", "model.SAFETENSORS", "audio_tokenizer_config.json", "chat_template/x.jinja", "config"),
    *DECOYS,
)  # fmt: skip
"""Names of files that some loader knows, and names that no printer likes."""


@cache
def config_words(model_type: str) -> tuple[tuple[str, ...], dict[str, list[object]]]:
    """Keys that transformers reads in config.json, those of this model first; and defaults of keys, as values."""
    home = _home()
    values: dict[str, list[object]] = {}
    every: set[str] = set()
    own: set[str] = set()
    for file in sorted(home.glob("models/*/configuration_*.py")):
        for key, default in _FIELD.findall(file.read_text(encoding="utf-8")):
            every.add(key)
            own |= {key} if file.parent.name == model_type else set()
            try:
                value = ast.literal_eval(default)
            except (ValueError, SyntaxError, MemoryError):
                continue
            if value not in values.setdefault(key, []) and len(values[key]) < 24:
                values[key].append(value)
    core = (
        "configuration_utils.py",
        "modeling_utils.py",
        "modeling_rope_utils.py",
        "masking_utils.py",
        "cache_utils.py",
    )
    for name in (*core, f"models/{model_type}/modeling_{model_type}.py"):
        text = (home / name).read_text(encoding="utf-8")
        own |= _read(text) | set(_ATTRIBUTE.findall(text))
        own |= {key for key, _ in _FIELD.findall(text)} if "configuration" in name else set()
    return (*sorted(own), *sorted(own), *sorted(own), *sorted(every)), values


@cache
def generation_words() -> tuple[str, ...]:
    """Keys that transformers reads in generation_config.json."""
    from transformers import GenerationConfig

    text = (_home() / "generation/configuration_utils.py").read_text(encoding="utf-8")
    return tuple(sorted({*GenerationConfig().to_dict(), *_read(text)}))


@cache
def tokenizer_words() -> tuple[str, ...]:
    """Keys that transformers reads in tokenizer_config.json and the files beside it."""
    home, found = _home(), set()
    names = [*sorted(home.glob("tokenization_*.py")), home / "models/auto/tokenization_auto.py"]
    for file in [*names, *sorted(home.glob("models/*/tokenization_*.py"))]:
        text = file.read_text(encoding="utf-8")
        found |= _read(text) | (set(_PARAMETER.findall(text)) if "models" in file.parts else set())
    tokens = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
    sides = ("padding_side", "truncation_side", "model_max_length", "clean_up_tokenization_spaces", "add_prefix_space")
    flags = ("split_special_tokens", "add_bos_token", "add_eos_token", "chat_template", "tokenizer_class")
    return (*sorted(found), *(tokens + sides + flags) * 8)


def _read(text: str) -> set[str]:
    return set(_READ.findall(text)) | {one or two for one, two in _ASKED.findall(text)}


def _home() -> Path:
    import transformers

    return Path(transformers.__file__).parent
