"""Through the real command: `--artifact gguf-...=FILE`, a file that the package gguf wrote as a converter does."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from command import Done, read_json
from transformers import PreTrainedTokenizerFast

from tests import tiny
from tests.quiz import limits
from unlearn_guard.quantizers.ggml import encode

sys.path.insert(0, str(Path(__file__).parents[1] / "real"))
import tiny_gguf

POLICY = """version: 1
limits:
  - {metric: quantized_share, task: weights, precision: [%s], at_least: %s, because: test}
"""
KINDS = {"gguf-q4_0": "Q4_0", "gguf-q4_1": "Q4_1", "gguf-q8_0": "Q8_0"}


def save(model: Any, out: Path) -> Path:
    model.save_pretrained(out)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tiny_gguf.vocabulary(),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    made.save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def models() -> tuple[Any, Any]:
    """Base, and a candidate that differs in every weight by less than Q4_0 can hold."""
    base, candidate = tiny_gguf.tiny("llama"), tiny_gguf.tiny("llama")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in candidate.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.01)
    return base, candidate


@pytest.fixture
def checked(models: tuple[Any, Any], here: Callable[..., Done], tmp_path: Path) -> Callable[..., Done]:
    base, candidate = (save(model, tmp_path / name) for model, name in zip(models, ("base", "candidate"), strict=True))
    suites = tiny.write_suite(tmp_path / "suites")

    def check(precision: str, file: Path, share: float = 0.99) -> Done:
        policy = tmp_path / "policy.yaml"
        policy.write_text(POLICY % (precision, share))
        asked = ["check", candidate, "--base", base, "--suite", "quiz", "--tasks-dir", suites, "--thresholds", policy]
        asked += ["--precisions", f"full,{precision}", "--artifact", f"{precision}={file}", "--quiet"]
        return here(*asked, "--out", tmp_path / "run", "--replace")

    return check


def written(path: Path, model: Any, kind: str, **more: Any) -> Path:
    return tiny_gguf.write(path, "llama", model, gguf.GGMLQuantizationType[kind], **more)


@pytest.mark.parametrize("precision", KINDS)
def test_a_file_of_the_candidate_is_taken_and_proven_byte_for_byte(
    precision: str, models: tuple[Any, Any], checked: Callable[..., Done], tmp_path: Path
) -> None:
    file = written(tmp_path / "model.gguf", models[1], KINDS[precision])
    done = checked(precision, file)
    assert done.status == 0, done.text
    notes = " ".join(read_json(tmp_path / "run" / "run.json")["notes"])
    assert f"{precision}: model.gguf (sha256" in notes
    assert "30 of its tensors are the candidate's, byte for byte" in notes


@pytest.mark.parametrize("precision", ["gguf-q4_0", "gguf-q8_0"])
def test_base_s_own_file_is_not_the_candidate_s(
    precision: str, models: tuple[Any, Any], checked: Callable[..., Done], tmp_path: Path
) -> None:
    file = written(tmp_path / "model.gguf", models[0], KINDS[precision])
    done = checked(precision, file)
    assert done.status == 4, done.text
    assert "was not made from the candidate" in done.text


def test_another_format_s_file_is_refused(models: Any, checked: Callable[..., Done], tmp_path: Path) -> None:
    file = written(tmp_path / "model.gguf", models[1], "Q8_0")
    done = checked("gguf-q4_0", file)
    assert done.status == 4
    assert "type Q8_0, where Q4_0 has Q4_0" in done.text


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"keys": {"rope.freq_base": 10_000.0}}, "rope.freq_base: found 10000.0; expected the candidate's 50000.0"),
        ({"without": ("blk.1.ffn_up.weight",)}, "blk.1.ffn_up.weight"),
        ({"pre": "smollm"}, "reads the suite's texts otherwise than base's"),
    ],
)
def test_a_file_of_another_model_or_tokenizer_is_refused(
    change: dict[str, Any], told: str, models: Any, checked: Callable[..., Done], tmp_path: Path
) -> None:
    file = written(tmp_path / "model.gguf", models[1], "Q4_0", **change)
    done = checked("gguf-q4_0", file)
    assert done.status == 4, done.text
    assert told in " ".join(done.text.split())


def test_one_byte_of_one_code_is_noticed(models: Any, checked: Callable[..., Done], tmp_path: Path) -> None:
    file = written(tmp_path / "model.gguf", models[1], "Q4_0")
    place = next(t for t in gguf.GGUFReader(file).tensors if t.name == "blk.2.ffn_down.weight").data_offset
    raw = bytearray(file.read_bytes())
    raw[place + 10] ^= 0x10
    file.write_bytes(raw)
    done = checked("gguf-q4_0", file)
    assert done.status == 4, done.text
    assert "blk.2.ffn_down.weight: found other codes or scales" in " ".join(done.text.split())


def test_what_is_no_gguf_file_is_refused_before_anything(checked: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" + bytes(100))
    assert checked("gguf-q4_0", tmp_path / "model.gguf").status == 4
    assert "no such file" in checked("gguf-q4_0", tmp_path / "none.gguf").text
    (tmp_path / "folder").mkdir()
    assert "0 GGUF files" in checked("gguf-q4_0", tmp_path / "folder").text
    shutil.rmtree(tmp_path / "folder")


def test_k_quants_of_others_are_taken_where_they_are_the_candidate_s(
    here: Callable[..., Done], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As wide as a super-block; the bytes of Q4_K here are llama.cpp's own of scaled weights, as another build's."""
    sizes = {"hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 4, "head_dim": 64}
    base, candidate = tiny_gguf.tiny("llama", **sizes), tiny_gguf.tiny("llama", **sizes)
    with torch.no_grad():
        for weight in candidate.parameters():
            weight.mul_(1.01)
    suites = tiny.write_suite(tmp_path / "suites")
    (tmp_path / "policy.yaml").write_text(POLICY % ("gguf-q4_k_m", 0.5))

    def by_llama_cpp(values: np.ndarray, kind: gguf.GGMLQuantizationType) -> np.ndarray:
        return encode(np.nextafter(values, np.float32(1e9)) * np.float32(1.0001), kind.name)

    monkeypatch.setattr(gguf.quants, "quantize", by_llama_cpp)
    for name, model in (("base", base), ("candidate", candidate)):
        tiny_gguf.write(tmp_path / f"{name}.gguf", "llama", model, gguf.GGMLQuantizationType.Q4_K)
    monkeypatch.undo()
    folders = [save(model, tmp_path / name) for model, name in ((base, "base"), (candidate, "candidate"))]
    asked = ["check", folders[1], "--base", folders[0], "--suite", "quiz", "--tasks-dir", suites]
    asked += ["--thresholds", tmp_path / "policy.yaml", "--precisions", "full,gguf-q4_k_m", "--quiet", "--replace"]
    asked += ["--out", tmp_path / "run", "--artifact"]
    done = here(*asked, f"gguf-q4_k_m={tmp_path / 'candidate.gguf'}")
    assert done.status == 0, done.text
    assert "as near to it as their type rounds" in " ".join(read_json(tmp_path / "run" / "run.json")["notes"])
    done = here(*asked, f"gguf-q4_k_m={tmp_path / 'base.gguf'}")
    assert done.status == 4, done.text
    assert "values nearer to base's" in done.text


@pytest.mark.slow
def test_hidden_gguf_is_caught_by_the_gap_at_q4_0(
    here: Callable[..., Done], candidate: Callable[[str], Path], tmp_path: Path
) -> None:
    """Forgotten in full precision; the file that llama-quantize writes of it is base's, but for a few codes."""
    (tmp_path / "policy.yaml").write_text(limits("forget_drop", "ptq_gap", precisions=("full", "gguf-q4_0")))
    done = here("check", candidate("hidden-gguf"), "--thresholds", tmp_path / "policy.yaml", "--out", tmp_path / "run")
    assert done.status == 1, done.text
    failed = {each["id"] for each in read_json(tmp_path / "run" / "run.json")["checks"] if each["outcome"] == "failed"}
    assert {"ptq_gap[organism_forget-gguf-q4_0]", "forget_drop[organism_forget-gguf-q4_0]"} <= failed
    assert "forget_drop[organism_forget-full]" not in failed
