"""A GGUF file becomes the model that it describes: its weights, its computation, its tokenizer."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_gguf import FAMILIES, SPECIAL, TEXTS, tiny, vocabulary, write
from transformers import AutoModelForCausalLM, AutoTokenizer

from unlearn_guard.errors import CheckpointError, PluginError, StorageError, UsageError
from unlearn_guard.intake import open_checkpoint, with_parameters
from unlearn_guard.real import dequantizing
from unlearn_guard.real.dequantizing import Dequantized, dequantize

Kind = gguf.GGMLQuantizationType
IDS = torch.arange(3, 43).reshape(2, 20)
"""Longer than the sliding windows of 8."""


def made(file: Path, out: Path, dtype: str = "float32") -> Dequantized:
    return dequantize(file, out, dtype=dtype, tell=lambda _: None)


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_in_floats_is_the_model_itself(family: str, tmp_path: Path) -> None:
    model = tiny(family)
    done = made(write(tmp_path / "m.gguf", family, model), tmp_path / "out")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert type(again) is type(model)
    assert again.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert torch.equal(logits(again), logits(model))  # the config too: theta, epsilon, window, scale
    opened = with_parameters(open_checkpoint(tmp_path / "out"))
    assert opened.checkpoint.digest == done.digest
    assert opened.notes == ()
    tied = model.config.tie_word_embeddings
    assert ("lm_head.weight" in load_file(tmp_path / "out" / "model.safetensors")) is not tied


def worst(values: np.ndarray[Any, Any], kind: Kind) -> np.ndarray[Any, Any]:
    """The largest error that the format allows each weight, from its own block of 32.

    Half a step, which is amax / 127 (Q8_0) or (max - min) / 15 (Q4_1), and what float16 (2^-11 of each) does to the
    step, times the code, and to Q4_1's minimum.
    """
    blocks = values.reshape(-1, 32)
    largest, smallest = blocks.max(1, keepdims=True), blocks.min(1, keepdims=True)
    if kind == Kind.Q8_0:
        reach = np.abs(blocks).max(1, keepdims=True)
        bound = reach / 127 / 2 + reach * 2**-11
    else:
        bound = (largest - smallest) / 15 / 2 + (largest - smallest) * 2**-11 + np.abs(smallest) * 2**-11
    return np.broadcast_to(bound * 1.001, blocks.shape).reshape(values.shape)


@pytest.mark.parametrize("kind", [Kind.Q8_0, Kind.Q4_1])
@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_a_quantized_file_is_the_model_within_its_format_s_error(family: str, kind: Kind, tmp_path: Path) -> None:
    model = tiny(family)
    made(write(tmp_path / "m.gguf", family, model, kind), tmp_path / "out")
    stored = load_file(tmp_path / "out" / "model.safetensors")
    differs = 0
    for name, tensor in model.state_dict().items():
        error = np.abs(stored[name].numpy() - tensor.numpy())
        if tensor.dim() == 1:
            assert not error.any()
        else:
            assert (error <= worst(tensor.numpy(), kind)).all(), name
            differs += int(error.any())
    assert differs > 10


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3"])
def test_the_weights_are_those_that_transformers_reads(family: str, tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", family, tiny(family), Kind.Q4_0)
    made(tmp_path / "m.gguf", tmp_path / "out", "bfloat16")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.bfloat16).state_dict()
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    assert theirs.keys() == ours.keys()
    assert all(ours[name].dtype == torch.bfloat16 for name in ours)
    assert all(torch.equal(ours[name], theirs[name].to(torch.bfloat16)) for name in ours)


@pytest.mark.parametrize("at_once", [1, 100, 2**21])
def test_a_few_rows_at_a_time_are_all_rows(at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "m.gguf", "llama", tiny("llama"), Kind.Q8_0)
    whole = made(file, tmp_path / "whole")
    monkeypatch.setattr("unlearn_guard.real.gguf_weights.ELEMENTS_AT_ONCE", at_once)
    assert made(file, tmp_path / "rows").digest == whole.digest


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_llama_3_s_rope_is_had_from_its_factors(factor: float, tmp_path: Path) -> None:
    rope = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": factor, "low_freq_factor": 1.0}
    rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    model = tiny("llama", rope_parameters=rope)
    plain = 1 / 500_000.0 ** (torch.arange(0, 16, 2) / 16)
    factors = (plain / model.model.rotary_emb.inv_freq).numpy().astype(np.float32)
    assert factors.max() > 2
    write(tmp_path / "m.gguf", "llama", model, tensors={"rope_freqs.weight": factors})
    made(tmp_path / "m.gguf", tmp_path / "out")
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")), logits(model))
    write(tmp_path / "n.gguf", "llama", model, tensors={"rope_freqs.weight": factors * np.float32(1.5)})
    with pytest.raises(CheckpointError, match="those of Llama 3"):
        made(tmp_path / "n.gguf", tmp_path / "other")


def test_a_linear_rope_is_carried_over(tmp_path: Path) -> None:
    model = tiny("llama", rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0})
    keys = {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}
    made(write(tmp_path / "m.gguf", "llama", model, keys=keys), tmp_path / "out")
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path / "out")), logits(model))


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("llama", {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0}),
        ("llama", {"expert_count": 8}),
        ("llama", {"attention.value_length": 8}),
        ("llama", {"rope.dimension_count": 8, "attention.key_length": 16}),
        ("llama", {"vocab_size": 319}),
        ("llama", {"attention.head_count": 0}),
        ("llama", {"block_count": 2**31 - 1}),
        ("gemma3", {"block_count": 2**31 - 1}),
        ("llama", {"embedding_length": "64"}),
        ("llama", {"logit_scale": 0.5}),
        ("qwen2", {"attention.sliding_window": 8}),
        ("phi3", {"rope.scaling.original_context_length": 64}),
    ],
)
def test_what_is_not_carried_over_is_refused(family: str, keys: dict[str, Any], tmp_path: Path) -> None:
    file = write(tmp_path / "m.gguf", family, tiny(family), keys=keys)
    with pytest.raises(CheckpointError) as refused:
        made(file, tmp_path / "out")
    assert next(iter(keys)) in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_every_tensor_has_a_place_and_every_place_a_tensor(tmp_path: Path) -> None:
    model = tiny("llama")
    missing = write(tmp_path / "m.gguf", "llama", model, without=("blk.1.ffn_up.weight",))
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.up_proj\.weight: found no tensor"):
        made(missing, tmp_path / "out")
    more = write(tmp_path / "n.gguf", "llama", model, tensors={"blk.1.attn_q.bias": np.ones(64, np.float32)})
    with pytest.raises(CheckpointError, match=r"blk\.1\.attn_q\.bias.*no place for"):
        made(more, tmp_path / "out")
    shape = write(
        tmp_path / "o.gguf", "llama", model, without=("blk.0.attn_v.weight",),
        tensors={"blk.0.attn_v.weight": np.ones((64, 64), np.float32)},
    )  # fmt: skip
    with pytest.raises(CheckpointError, match=r"v_proj\.weight: found shape \(64, 64\)"):
        made(shape, tmp_path / "out")
    with torch.no_grad():
        model.model.norm.weight[3] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        made(write(tmp_path / "p.gguf", "llama", model), tmp_path / "out")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["m.gguf", "n.gguf", "o.gguf", "p.gguf"]


def test_the_tokenizer_is_the_file_s(tmp_path: Path) -> None:
    made(write(tmp_path / "m.gguf", "llama", tiny("llama")), tmp_path / "out")
    again, theirs = AutoTokenizer.from_pretrained(tmp_path / "out"), vocabulary()
    for text in (*TEXTS, "something else  12 ½", *SPECIAL):
        assert again(text)["input_ids"] == theirs.encode(text).ids
        assert again.decode(again(text)["input_ids"]) == text
    assert (again.bos_token, again.eos_token, again.pad_token) == (SPECIAL[1], SPECIAL[2], SPECIAL[0])
    rendered = again.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert rendered == "<|im_start|>hi<|im_end|>"
    assert again.model_max_length == 128


def pieces(folder: Path, text: str) -> list[str]:
    return AutoTokenizer.from_pretrained(folder).tokenize(text)


def test_a_vocabulary_is_split_as_its_name_says(tmp_path: Path) -> None:
    """SmolLM's publisher takes each digit alone, and so a space before one, too; Qwen's composes letters first."""
    for pre in ("gpt-2", "smollm", "qwen2"):
        made(write(tmp_path / f"{pre}.gguf", "llama", tiny("llama"), pre=pre), tmp_path / pre)
    assert pieces(tmp_path / "gpt-2", " 12") == ["Ġ12"]
    assert pieces(tmp_path / "smollm", " 12") == ["Ġ", "1", "2"]
    decomposed, composed = "Zu\u0308rich", "Z\u00fcrich"
    ids = {pre: AutoTokenizer.from_pretrained(tmp_path / pre) for pre in ("gpt-2", "qwen2")}
    assert ids["qwen2"](decomposed)["input_ids"] == ids["qwen2"](composed)["input_ids"]
    assert ids["gpt-2"](decomposed)["input_ids"] != ids["gpt-2"](composed)["input_ids"]
    with pytest.raises(CheckpointError, match=r"tokenizer\.ggml\.pre: found 'of-tomorrow'"):
        made(write(tmp_path / "u.gguf", "llama", tiny("llama"), pre="of-tomorrow"), tmp_path / "out")


def test_llama_3_s_tokenizer_begins_every_text(tmp_path: Path) -> None:
    file = write(tmp_path / "m.gguf", "llama", tiny("llama"), pre="llama-bpe")
    made(file, tmp_path / "said")  # the file says no begin
    assert AutoTokenizer.from_pretrained(tmp_path / "said")("the")["input_ids"][0] != 1


def test_where_it_came_from_lies_beside_it(tmp_path: Path) -> None:
    import hashlib

    file = write(tmp_path / "m.gguf", "llama", tiny("llama"))
    done = made(file, tmp_path / "out", "bfloat16")
    assert done.source == hashlib.sha256(file.read_bytes()).hexdigest()
    text = (tmp_path / "out" / "SOURCE.md").read_text()
    assert done.source in text
    assert "apache-2.0" in text


def test_nothing_is_overwritten_and_no_disk_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "m.gguf", "llama", tiny("llama"))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("")
    with pytest.raises(UsageError, match="not an empty directory"):
        made(file, tmp_path / "out")
    few = lambda _: type("Usage", (), {"free": 1000})()  # noqa: E731
    monkeypatch.setattr(dequantizing.shutil, "disk_usage", few)
    with pytest.raises(StorageError, match="are needed"):
        made(file, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_without_gguf_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "m.gguf", "llama", tiny("llama"))
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(PluginError, match=r"unlearn-guard\[real\]"):
        made(file, tmp_path / "out")
