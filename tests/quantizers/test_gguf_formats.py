"""GGUF against the package gguf, transformers, and published files; and llama.cpp against torch, row by row."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance

from tests import tiny
from unlearn_guard.errors import NonFiniteError, QuantizationError
from unlearn_guard.quantizers import gguf_header, gguf_writing, llama_cpp
from unlearn_guard.quantizers.ggml import decode, encode
from unlearn_guard.quantizers.gguf_formats import Q4_0, Q4_1, Q4_K_M, Q8_0
from unlearn_guard.quantizers.gguf_header import refusals_of
from unlearn_guard.quantizers.gguf_mix import kind_of
from unlearn_guard.quantizers.gguf_writing import write
from unlearn_guard.quantizers.layers import directory_tensors
from unlearn_guard.quantizers.llama_cpp import LlamaCpp
from unlearn_guard.quantizers.protocol import Calibration, Placement
from unlearn_guard.real.gguf_file import read_gguf
from unlearn_guard.real.gguf_weights import fill
from unlearn_guard.records import Checkpoint
from unlearn_guard.scoring.lm import GuardLM
from unlearn_guard.scoring.tokens import Tokens

FORMATS = [Q4_0(), Q4_1(), Q8_0(), Q4_K_M()]
CPU = Placement(device_map="cpu", dtype=torch.float32)
SIZES: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "initializer_range": 0.2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": len(tiny.WORDS)}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
ROPES = {
    "full_attention": {"rope_type": "default", "rope_theta": 50_000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
}
GEMMA = {"num_hidden_layers": 7, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 8}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "tied llama": ("llama", {"tie_word_embeddings": True}),
    "llama 3": ("llama", {"rope_parameters": {**LLAMA3, "original_max_position_embeddings": 16}}),
    "linear rope": ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}),
    "biased llama": ("llama", {"attention_bias": True}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "gemma3": ("gemma3_text", {**GEMMA, "rope_parameters": ROPES}),
    "phi3": ("phi3", {"pad_token_id": 0}),
}


def model_of(family: str, **more: Any) -> Any:
    """Random weights, norms and biases too, that no layer is trivial."""
    name, own = FAMILIES[family]
    return tiny.uneven(name, **{**SIZES, **HEADS, "tie_word_embeddings": False, **own, **more})


def saved(model: Any, out: Path) -> Checkpoint:
    return Checkpoint(path=tiny.save(model, out), digest="d")


def floats(model: Any, folder: Path) -> LlamaCpp:
    """The model's own fp32 weights behind llama.cpp."""
    checkpoint = saved(model, folder / "model")
    write(directory_tensors(checkpoint.path), model.config, folder / "f32.gguf", "F32")
    return LlamaCpp(folder / "f32.gguf", model.config, model.generation_config)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_float_gguf_agrees_with_transformers(family: str, tmp_path: Path) -> None:
    """To 1e-3 nats over the whole vocabulary; Gemma's GELU llama.cpp looks up in fp16."""
    model = model_of(family)
    theirs = floats(model, tmp_path)
    for prompt in ([5], tiny.prompts()[0].tolist(), torch.cat([*tiny.prompts()])[:48].tolist()):
        with torch.no_grad():
            ours_V = model(input_ids=torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
        apart = float((ours_V - theirs.log_probabilities(prompt)).abs().max())
        assert apart < (5e-3 if family == "gemma3" else 1e-3)
        nats, best = theirs.next_token(prompt, 7, fresh=True)
        assert nats == pytest.approx(float(ours_V[7]), abs=5e-3)
        assert best == int(ours_V.argmax())


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"mistral"}))  # of which a file says llama
def test_our_reader_of_gguf_files_reads_back_every_weight(family: str, tmp_path: Path) -> None:
    model = model_of(family)
    floats(model, tmp_path)
    with torch.device("meta"):
        again = type(model)(model.config)
    fill(again, read_gguf(tmp_path / "f32.gguf"), torch.float32)
    for name, weight in model.state_dict().items():
        assert torch.allclose(again.state_dict()[name], weight, atol=1e-7), name


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_llama_cpp_rounds_as_the_package_gguf(kind: str) -> None:
    weight = np.random.default_rng(0).standard_normal((48, 256), np.float32) * np.logspace(-4, 2, 48)[:, None]
    weight = weight.astype(np.float32)
    weight[3] = 0
    assert np.array_equal(encode(weight, kind), gguf.quants.quantize(weight, gguf.GGMLQuantizationType[kind]))


def test_q4_0_by_hand() -> None:
    """The largest weight, -8, makes the scale 1: the code is w + 8.5 cut off, so 2.5 becomes 3, and 7.9 is clipped."""
    row = np.zeros((1, 32), np.float32)
    row[0, :5] = [-8.0, 2.5, -1.4, 6.6, 7.9]
    stored = encode(row, "Q4_0")
    assert stored[0, :2].view(np.float16)[0] == 1.0
    assert decode(stored, "Q4_0")[0, :6].tolist() == [-8.0, 3.0, -1.0, 7.0, 7.0, 0.0]


@pytest.mark.parametrize(("kind", "levels"), [("Q4_K", 15), ("Q5_K", 31), ("Q6_K", 31)])
def test_no_weight_of_a_k_quant_moves_by_more_than_a_step(kind: str, levels: int) -> None:
    weight = np.random.default_rng(0).standard_normal((16, 512), np.float32)
    apart = np.abs(decode(encode(weight, kind), kind) - weight)
    blocks = np.abs(weight).reshape(16, -1, 32).max(-1).repeat(32, 1)
    assert (apart <= blocks * 2 / levels).all()


def test_rows_that_are_no_whole_blocks_are_refused() -> None:
    with pytest.raises(QuantizationError, match="rows of 48 weights are no whole blocks of 32"):
        encode(np.zeros((2, 48), np.float32), "Q4_0")


def test_the_types_of_the_published_files() -> None:
    """Gemma 3 270M in Q4_K_M and SmolLM2-135M in Q4_1, as their publishers' llama-quantize wrote them."""
    down = [kind_of("Q4_K_M", f"blk.{n}.ffn_down.weight", (640, 2048), layers=18, tied=True) for n in range(18)]
    more = (0, 1, 4, 7, 10, 13, 15, 16, 17)
    assert down == ["Q6_K" if n in more else "Q4_K" for n in range(18)]
    value = [kind_of("Q4_K_M", f"blk.{n}.attn_v.weight", (256, 640), layers=18, tied=True) for n in range(18)]
    assert value == ["Q8_0" if n in more else "Q5_0" for n in range(18)]
    for name, shape, kind in (
        ("attn_k", (256, 640), "Q5_0"),
        ("ffn_up", (2048, 640), "Q5_0"),
        ("attn_output", (640, 1024), "Q4_K"),
        ("attn_norm", (640,), "F32"),
    ):
        assert kind_of("Q4_K_M", f"blk.3.{name}.weight", shape, layers=18, tied=True) == kind
    assert kind_of("Q4_K_M", "token_embd.weight", (262144, 640), layers=18, tied=True) == "Q8_0"
    assert kind_of("Q4_1", "token_embd.weight", (49152, 576), layers=30, tied=True) == "Q8_0"
    assert kind_of("Q4_1", "blk.0.ffn_down.weight", (576, 1536), layers=30, tied=True) == "Q4_1"


def test_the_head_and_not_the_embedding_has_more_bits_where_they_are_two() -> None:
    assert kind_of("Q4_0", "token_embd.weight", (320, 256), layers=2, tied=False) == "Q4_0"
    assert kind_of("Q4_0", "output.weight", (320, 256), layers=2, tied=False) == "Q6_K"
    assert kind_of("Q8_0", "output.weight", (320, 256), layers=2, tied=False) == "Q8_0"


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_what_llama_cpp_computes_with_is_the_rounded_weights(form: Any, tmp_path: Path) -> None:
    """It also rounds activations to 8 bits, so: nearer to the rounded model in torch than that is to the whole one."""
    model = model_of("llama", hidden_size=256, intermediate_size=256)
    checkpoint = saved(model, tmp_path / "model")
    made = form.quantize(checkpoint, Calibration(texts=()), _empty(tmp_path / "made"), CPU)
    theirs = form.load(made, CPU)
    rounded = model_of("llama", hidden_size=256, intermediate_size=256)
    fill(rounded, read_gguf(made.path / "model.gguf"), torch.float32)
    prompt = tiny.prompts()[0]
    with torch.no_grad():
        whole_V, rounded_V = (each(input_ids=prompt[None]).logits[0, -1].log_softmax(-1) for each in (model, rounded))
    found_V = theirs.log_probabilities(prompt.tolist())
    activations = 0.4 if form.bits == 4 else 2.0  # of 8-bit weights it moves as much as the weights do
    assert (found_V - rounded_V).norm() < activations * (whole_V - rounded_V).norm()


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_rows_are_answered_as_torch_answers_them(tmp_path: Path) -> None:
    """Choices of one and of several tokens, greedy or not, and a written text; the longest row makes more room."""
    model = model_of("llama", max_position_embeddings=2048)
    tokens = Tokens(tiny.tokenizer())
    theirs = GuardLM(floats(model, tmp_path), tokens, batch_size=4, precision="gguf")
    ours = GuardLM(model, tokens, batch_size=4, precision="full")
    long = " ".join(tiny.NAMES * 30)
    pairs = [("Where lives n1 ?", f" {place}") for place in tiny.PLACES[:4]]
    pairs += [
        ("Where lives n2 ?", " p1 p2 p3"),
        ("Where lives n2 ?", " p4"),
        (long, " p1"),
        ("Where", " lives n3 ? p2"),
    ]
    asked = [Instance("loglikelihood", {}, pair, 0, ("task", 0, 1)) for pair in pairs]
    for (found, greedy), (expected, same) in zip(theirs.loglikelihood(asked), ours.loglikelihood(asked), strict=True):
        assert found == pytest.approx(expected, abs=1e-3)
        assert greedy == same
    best = int(model(torch.tensor([tokens.texts(["Where lives n1 ?"])[0]])).logits[0, -1].argmax())
    certain = [Instance("loglikelihood", {}, ("Where lives n1 ?", f" {tiny.WORDS[best]}"), 0, ("task", 0, 1))]
    assert theirs.loglikelihood(certain)[0][1] is True
    write_on = [
        Instance("generate_until", {}, ("Where lives n1 ?", {"until": ["."], "max_gen_toks": 12}), 0, ("t", 0, 1))
    ]
    assert theirs.generate_until(write_on) == ours.generate_until(write_on)


def test_a_row_s_answer_depends_on_no_row_before_it(tmp_path: Path) -> None:
    form, checkpoint = Q4_0(), saved(model_of("llama"), tmp_path / "model")
    model = form.load(form.quantize(checkpoint, Calibration(texts=()), _empty(tmp_path / "made"), CPU), CPU)
    prompt = tiny.prompts()[0].tolist()
    first = model.next_token(prompt, 7, fresh=True)
    model.next_token(prompt[:5], 7, fresh=True)
    model.next_token([*prompt, 9, 9], 7, fresh=True)
    assert model.next_token(prompt, 7, fresh=True) == first


@pytest.mark.parametrize(
    ("family", "more", "where"),
    [
        ("llama", {"hidden_act": "gelu"}, "hidden_act: found gelu; expected silu"),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "found dynamic"),
        ("mistral", {"sliding_window": 8}, "sliding_window: found 8 of"),
        ("llama", {"intermediate_size": 72}, "input widths: found 72; expected multiples of 32"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(
    family: str, more: dict[str, Any], where: str, tmp_path: Path
) -> None:
    model = model_of(family, **more)
    assert where in "; ".join(map(str, refusals_of(model.config)))
    with pytest.raises(QuantizationError, match="cannot be written as GGUF"):
        Q4_0().quantize(saved(model, tmp_path / "m"), Calibration(texts=()), _empty(tmp_path / "out"), CPU)


def test_another_architecture_is_refused() -> None:
    assert "found gpt2; expected one that is converted: llama" in str(refusals_of(tiny.build("gpt2").config)[0])


@pytest.mark.parametrize("key", ["rope.freq_base", "attention.layer_norm_rms_epsilon"])
def test_a_setting_that_is_lost_is_noticed(key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = gguf_header.keys_of
    monkeypatch.setattr(gguf_writing, "keys_of", lambda config: right(config) | {key: 0.7})
    with pytest.raises(QuantizationError, match="another model than transformers"):
        Q4_0().quantize(saved(model_of("llama"), tmp_path / "m"), Calibration(texts=()), _empty(tmp_path / "out"), CPU)


def test_rotary_dimensions_left_as_they_are_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_writing, "as_llama_cpp", lambda weight, *_: weight.float().numpy())
    with pytest.raises(QuantizationError, match="another model than transformers"):
        Q4_0().quantize(saved(model_of("llama"), tmp_path / "m"), Calibration(texts=()), _empty(tmp_path / "out"), CPU)


def _answers(said: Any) -> Any:
    return SimpleNamespace(handle_completions=lambda _: said if isinstance(said, str) else json.dumps(said))


def _said(**more: Any) -> dict[str, Any]:
    entry = {"id": 7, "logprob": -1.5, "top_logprobs": [{"id": 3, "logprob": -0.5}], **more}
    return {"choices": [{"logprobs": {"content": [entry]}}], "usage": {"prompt_tokens": 2}}


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (_said(logprob=None), NonFiniteError),
        (_said(logprob=float("nan")), NonFiniteError),
        (_said(id=8), QuantizationError),
        ({**_said(), "usage": {"prompt_tokens": 3}}, QuantizationError),
        ({"error": {"message": "no"}}, QuantizationError),
    ],
)
def test_what_llama_cpp_does_not_answer_is_no_answer(said: Any, error: type[Exception], tmp_path: Path) -> None:
    model = LlamaCpp(tmp_path / "m.gguf", SimpleNamespace(vocab_size=9), None)
    model._server, model._room = _answers(_said()), 512
    assert model.next_token([1, 2], 7, fresh=True) == (-1.5, 3)
    model._server = _answers(said)
    with pytest.raises(error):
        model.next_token([1, 2], 7, fresh=True)


def test_a_probability_of_zero_is_no_large_number() -> None:
    assert llama_cpp._nats(-3.4028234663852886e38) == -float("inf")
    assert llama_cpp._nats(-87.0) == -87.0


def test_a_file_that_llama_cpp_does_not_load_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(QuantizationError, match="does not load"):
        LlamaCpp(tmp_path / "m.gguf", SimpleNamespace(vocab_size=9), None).next_token([1], 2, fresh=True)
