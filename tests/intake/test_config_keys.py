"""config.json key by key, at the bounds: what is refused names the place, what is honest passes."""

from typing import Any

import pytest

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import native
from unlearn_guard.intake.config import (
    _SIZES,
    attention_notes,
    check_config,
    check_no_code,
    code_notes,
    sections,
    text_config,
)
from unlearn_guard.records import FULL

SOUND: dict[str, Any] = {"model_type": "llama", "vocab_size": 32}


def said(precision: str = FULL, recipe: str | None = None, **changes: Any) -> list[tuple[str, str, str]]:
    """Where, found and expected of each defect."""
    try:
        check_config({**SOUND, **changes}, precision, recipe)
    except CheckpointError as error:
        return [(each.where.removeprefix("config.json: "), each.found, each.expected) for each in error.defects]
    return []


@pytest.mark.parametrize(("keys", "most"), [(keys, most) for keys, most, _ in _SIZES])
def test_every_size_has_a_largest_and_a_smallest(keys: tuple[str, ...], most: int) -> None:
    least = int(keys[0] in ("num_hidden_layers", "hidden_size", "vocab_size"))
    for key in keys:
        assert said(**{key: most}) == said(**{key: least}) == []
        for wrong in (most + 1, least - 1):
            ((where, found, expected),) = said(**{key: wrong})
            assert (where, found) == (key, str(wrong))
            assert expected.startswith(f"{least} to {most} (")


def test_all_sizes_that_are_wrong_are_named() -> None:
    changes = {"num_hidden_layers": None, "hidden_size": -1, "head_dim": -1, "num_experts": 1.5}
    assert [where for where, _, _ in said(**changes)] == ["hidden_size", "head_dim", "num_experts"]


def test_a_size_for_each_layer() -> None:
    assert said(intermediate_size=[1] * 1_000) == []
    assert said(intermediate_size=[1] * 999 + [-1]) == [
        ("intermediate_size", "-1", "0 to 4194304 (published models stay under 262 144)")
    ]
    assert said(intermediate_size=[1] * 1_000 + [-1]) == [
        ("intermediate_size", "a list of 1001", "at most 1000, one a layer")
    ]
    assert said(intermediate_size=[]) == []
    for key in ("num_hidden_layers", "hidden_size"):
        assert said(**{key: [1]}) == [(key, "[1]", "a whole number")]


@pytest.mark.parametrize("key", ["output_hidden_states", "output_attentions", "return_dict"])
def test_outputs_are_true_or_false(key: str) -> None:
    for value in (True, False, None, []):
        assert said(**{key: value}) == []
    for value in (0, "no"):
        assert said(**{key: value}) == [(key, repr(value), "true or false")]
        assert said(inner={key: value}) == [(f"inner: {key}", repr(value), "true or false")]


def test_heads_are_tied_or_not() -> None:
    assert said(tie_word_embeddings=None) == said(tie_word_embeddings=True) == []
    assert said(tie_word_embeddings=1) == [("tie_word_embeddings", "1", "true or false")]
    assert said(inner=[{"tie_word_embeddings": 0}]) == [("inner[0]: tie_word_embeddings", "0", "true or false")]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_type": ""}, ("model_type", "''", "a name such as 'llama'")),
        ({"model_type": ["llama"]}, ("model_type", "['llama']", "a name such as 'llama'")),
        ({"architectures": [5]}, ("architectures", "[5]", "a list of class names")),
        ({"architectures": {}}, ("architectures", "{}", "a list of class names")),
        ({"dtype": "int8"}, ("dtype", "'int8'", "one of float64, float32, float16, bfloat16")),
        ({"torch_dtype": 5}, ("torch_dtype", "5", "one of float64, float32, float16, bfloat16")),
    ],
)
def test_what_names_the_model(changes: dict, expected: tuple[str, str, str]) -> None:
    assert said(**changes) == [expected]
    assert said(architectures=None) == said(architectures=["LlamaForCausalLM"]) == []


def test_a_config_without_a_name_or_a_vocabulary() -> None:
    with pytest.raises(CheckpointError) as caught:
        check_config({"model_type": "vit"}, FULL)
    assert [(each.where, each.found) for each in caught.value.defects] == [("config.json: vocab_size", "nothing")]
    with pytest.raises(CheckpointError) as caught:
        check_config({"vocab_size": 5}, FULL)
    assert [(each.where, each.found) for each in caught.value.defects] == [("config.json: model_type", "nothing")]
    assert said(vocab_size=None, model_type="gemma3_text") == []  # its class has one


@pytest.mark.parametrize("key", ["quantization_config", "compression_config"])
def test_a_quantized_model_is_an_artifact_of_its_precision_alone(key: str) -> None:
    full = "an already quantized model (quant_method {})"
    assert said(**{key: {"quant_method": "gptq"}}) == [("quantization_config", full.format("'gptq'"), "full precision")]
    assert said(**{key: {}}) == [("quantization_config", full.format("'unknown'"), "full precision")]
    assert said(**{key: "x"}) == [("quantization_config", full.format("'x'"), "full precision")]
    assert said("gptq", **{key: {}}) == []
    assert said("gptq", **{key: "x"}) == [("quantization_config", "'x'", "the recipe of a gptq model")]
    assert said("gptq", "quant_config.json") == [("quantization_config", "nothing", "the recipe of a gptq model")]
    assert said("gptq", "quant_config.json", **{key: {}}) == []


CODE = {"AutoConfig": "a.B", "AutoModelForCausalLM": "a.C"}


@pytest.mark.parametrize("value", [None, False, {}])
@pytest.mark.parametrize(
    "key", ["auto_map", "trust_remote_code", "custom_pipelines", "custom_generate", "use_kernels", "kernel_config"]
)
def test_keys_that_reach_code_may_stand_empty(key: str, value: object) -> None:
    assert said(**{key: value}) == []
    ((where, _, expected),) = said(**{key: "x"})
    assert where == key
    assert expected.startswith("no such key: it ")


def test_an_auto_map_is_harmless_in_config_json_of_an_implemented_model_alone() -> None:
    assert said(auto_map=CODE) == []
    assert said(auto_map={**CODE, "x": "a.B"}) != []
    assert said(auto_map=CODE, model_type="no_such_model") != []
    assert said(auto_map=[1]) != []
    assert len(check_no_code({"auto_map": CODE, "model_type": "llama"}, "tokenizer_config.json")) == 1


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_kernels_inside_transformers_may_be_named(key: str) -> None:
    for value in (
        None,
        "eager",
        "sdpa",
        "flash_attention_2",
        "flash_attention_3",
        "flash_attention_4",
        "flex_attention",
    ):
        assert said(**{key: value}) == []
    assert attention_notes({**SOUND, key: "sdpa"}) == attention_notes({**SOUND, key: None}) == ()
    (note,) = attention_notes({**SOUND, "text_config": {key: "flash_attention_2"}, "vision_config": {key: "eager"}})
    assert note.startswith("config.json: asks for the attention of 'flash_attention_2', which")
    for value in ("grouped_mm", "paged|eager", "a/b", "", [], {}):
        assert [where for where, _, _ in said(**{key: value})] == [key]
    for value in (None, "eager", "grouped_mm", "batched_mm"):
        assert said(experts_implementation=value, _experts_implementation=value) == []
    assert len(said(experts_implementation="sdpa")) == 1


@pytest.mark.parametrize("key", ["output_loading_info", "use_safetensors", "device_map", "local_files_only"])
def test_arguments_of_the_loader_are_refused_in_config_json_alone(key: str) -> None:
    ((where, _, expected),) = said(**{key: None})
    assert (where, "the caller's argument" in expected) == (key, True)
    assert check_no_code({key: None}, "tokenizer_config.json") == []


@pytest.mark.parametrize(
    ("file", "document", "count"),
    [
        ("tokenizer_config.json", {"init_inputs": []}, 0),
        ("tokenizer_config.json", {"vocab": None, "merges": None}, 0),
        ("tokenizer_config.json", {"vocab": "x", "merges": "y", "init_inputs": [1]}, 3),
        ("config.json", {"vocab": "x", "merges": "y"}, 0),
        ("tokenizer_config.json", {"mecab_option": "", "sudachi_config_path": None}, 0),
        ("tokenizer_config.json", {"mecab_option": "x", "sudachi_config_path": "y", "sudachi_resource_dir": "z"}, 3),
        ("config.json", {"mecab_option": "x"}, 0),
        ("special_tokens_map.json", {"vocab_file": "x", "a_file": None, "file_b": "x"}, 1),
        ("tokenizer_config.json", {"vocab_file": "x"}, 0),
        ("config.json", {"fusion_config": {}}, 0),
        ("config.json", {"fusion_config": {"a": 1}}, 1),
        ("tokenizer_config.json", {"fusion_config": {"a": 1}}, 0),
        ("config.json", {"architecture": "resnet", "backbone": None}, 0),
        ("config.json", {"architecture": "a:b", "backbone": "c:d"}, 2),
        ("config.json", {"backbone": [":"]}, 0),
        ("generation_config.json", {"gguf_file": None}, 1),
    ],
)
def test_keys_that_a_library_opens_as_files(file: str, document: dict, count: int) -> None:
    found = check_no_code(document, file)
    assert len(found) == count
    assert all(each.where.startswith(f"{file}: ") for each in found)


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("_name_or_path", ["x", None], [5, {}]),
        ("_attn_implementation_autoset", [True, None], ["x"]),
        ("_flash_attn_2_enabled", [False], [[]]),
        ("_num_labels", [2], ["x", 2.5]),
        ("_load_in_4bit", [True], ["x"]),
        ("_load_in_8bit", [True], ["x"]),
        ("_commit_hash", [None], ["x", 1]),
        ("_sliding_window_pattern", [6, None, [1, 2.5, True], []], ["x", [[1]], {}, [1, "x"]]),
        ("_auto_class", [], [None, "x", 1]),
    ],
)
def test_private_keys_are_taken_with_their_types(key: str, good: list, bad: list) -> None:
    for value in good:
        assert said(model_type="gemma3_text", **{key: value}) == []
    for value in bad:
        ((where, found, _),) = said(model_type="gemma3_text", **{key: value})
        assert (where, found) == (key, repr(value))


def test_a_private_key_says_what_it_may_be() -> None:
    assert said(_name_or_path=5)[0][2] == "str or null"
    assert said(_num_labels="x")[0][2] == "int or null"
    assert said(_commit_hash="x")[0][2].startswith("no private key but _name_or_path, ")
    assert said(_other=1)[0][2].startswith("no private key but _name_or_path, ")


def test_floats_that_json_lacks_stand_alone_in_an_object() -> None:
    for value in ("NaN", "Infinity", "-Infinity"):
        assert said(limit={"__float__": value}) == []
    for value in ({"__float__": "Infinity", "a": 1}, {"__float__": "1"}, {"__floats__": "NaN"}):
        assert len(said(limit=value)) == 1


def test_odd_keys_are_quoted_where_they_are_named() -> None:
    assert said(**{"a b": {"trust_remote_code": True}})[0][0] == "'a b': trust_remote_code"
    assert said(x={"gguf_file": 1})[0][0] == "x: gguf_file"
    assert [path for path, _ in sections({"a": [{}, {"b c": {}}]}, "f")] == [
        "f",
        "f: a[1]",
        "f: a[1]: 'b c'",
        "f: a[0]",
    ]


def test_code_that_is_named_is_told_once_and_sorted() -> None:
    assert code_notes({"auto_map": None, "model_type": "phi3"}) == ()
    (note,) = code_notes(
        {"auto_map": {"b": "y.Y", "a": "x.X"}, "model_type": "phi3", "in": [{"auto_map": {"a": "x.X"}}]}
    )
    assert "('x.X', 'y.Y')" in note
    assert "own class for 'phi3'" in note


def test_the_language_model_s_part() -> None:
    inner = {"vocab_size": 1}
    assert text_config({"text_config": inner}) is inner
    outer = {"text_config": inner, "vocab_size": 2}
    assert text_config(outer) is outer
    odd = {"text_config": 5}
    assert text_config(odd) is odd


HOSTILE: dict[str, Any] = {
    "trust_remote_code": True,
    "attn_implementation": "a/b",
    "_unheard_of": "x",
    "gguf_file": "x",
    "device_map": "auto",
}
HONEST: dict[str, Any] = {"_name_or_path": "x", "hidden_act": "silu", "ids": [1, [2]], "inner": {"a": {"b": 1}}}


@pytest.mark.parametrize("key", HOSTILE)
def test_what_stands_before_or_after_a_hostile_key_hides_none_of_them(key: str) -> None:
    for honest, value in HONEST.items():
        for document in ({key: HOSTILE[key], honest: value}, {honest: value, key: HOSTILE[key]}):
            for placed in (document, {"a": document, "z": [1]}, {"a": [1], "z": document}, {"a": [document, [1], {}]}):
                (defect,) = check_no_code(placed, "config.json")
                assert defect.where.endswith(f": {key}")


def test_every_hostile_key_of_a_document_is_named_in_any_order() -> None:
    for keys in ([*HOSTILE], [*reversed(HOSTILE)]):
        found = check_no_code({key: HOSTILE[key] for key in keys}, "config.json")
        assert [each.where for each in found] == [f"config.json: {key}" for key in keys]


@pytest.mark.parametrize("key", ["_kernel_size", "_Kernel_size", "_backend_number"])
def test_a_private_key_whose_name_may_choose_code_is_not_taken_on_the_class_s_word(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "private_keys", lambda _: frozenset({key, "_width"}))
    assert said(_width=1) == []
    assert [where for where, *_ in said(**{key: 1})] == [key]
