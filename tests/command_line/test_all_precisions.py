"""Through the real command: `--precisions all`, and what is said of each precision."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from command import Done, read_json

from tests import tiny
from unlearn_guard.checking.possible import possible
from unlearn_guard.judging.rejudge import SHIPPED_PRECISIONS
from unlearn_guard.registry import _SHIPPED, about_precision, precisions, quantizer


def test_what_a_listing_says_is_what_the_class_has() -> None:
    assert tuple(_SHIPPED) == SHIPPED_PRECISIONS
    for name, shipped in _SHIPPED.items():
        assert (quantizer(name).name, quantizer(name).bits) == (name, shipped.bits)
        assert about_precision(name, precisions()[name]).startswith(f"{shipped.bits:>2} bits, ")


def test_list_precisions_says_bits_library_and_needs(here: Callable[..., Done]) -> None:
    said = here("list", "precisions").out.splitlines()
    assert any(line.split()[:3] == ["gptq", "4", "bits,"] and "needs unlearn-guard[gptq]" in line for line in said)
    assert any(line.startswith("int8") and " 8 bits, bitsandbytes" in line for line in said)


def test_what_a_machine_cannot_measure_has_a_note_with_the_reason(tmp_path: Path) -> None:
    tiny.build("gpt_oss").config.save_pretrained(tmp_path)
    found, left_out = possible(tmp_path)
    assert found == ("full", "nf4")
    assert {note.split()[0] for note in left_out} == set(SHIPPED_PRECISIONS) - {"full", "nf4"}
    llama_cpp = [note for note in left_out if note.startswith("gguf-")]
    assert len(llama_cpp) == 4
    assert all("model_type: gpt_oss; expected one that is converted: llama" in note for note in llama_cpp)
    (alone,) = [note for note in left_out if note.startswith("nf4+adapter")]
    assert "this candidate is a whole model" in alone
    assert all("experts of a mixture" in note for note in left_out if note not in (*llama_cpp, alone))
    assert possible(tmp_path, adapter=True)[0] == ("full", "nf4", "nf4+adapter")


POLICY = """version: 1
limits:
  - {metric: quantized_share, task: weights, precision: [%s], at_least: 0.9, because: test}
"""


@pytest.mark.slow
def test_all_measures_what_can_be_and_a_limit_on_the_rest_is_unmeasured(
    here: Callable[..., Done], tmp_path: Path
) -> None:
    """GPT-2 keeps its weights the other way round, so that GPTQ and AWQ are not to be had: exit 5, never 0."""
    model = tiny.build("gpt2")
    base = tiny.save(model, tmp_path / "base")
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.01)
    candidate = tiny.save(model, tmp_path / "candidate")
    policy, suites = tmp_path / "policy.yaml", tiny.write_suite(tmp_path / "suites", long=24)
    able = ("nf4", "fp4", "nf4-dq", "int8", "rtn4", "rtn4-32", "fp8", "fp8-tensor", "mxfp4", "nvfp4")
    asked = ["check", candidate, "--base", base, "--suite", "quiz", "--tasks-dir", suites, "--thresholds", policy]
    asked += ["--precisions", "all", "--quiet", "--out", tmp_path / "run"]
    policy.write_text(POLICY % ",".join(able))
    done = here(*asked)
    assert done.status == 0, done.text
    run = read_json(tmp_path / "run" / "run.json")
    for metric in ("forget_drop", "ptq_gap", "retain_drop", "recovery", "quantized_share"):
        found = {each["precision"] for each in run["measurements"] if each["metric"] == metric}
        assert metric != "quantized_share" or found == set(able)
    policy.write_text(POLICY % "nf4,gptq")
    done = here(*asked, "--replace")
    assert done.status == 5, done.text
    assert "gptq was not measured: transformer.h.0.attn.c_attn" in " ".join(done.text.split())
    policy.write_text(POLICY % "nf4,gguf-q4_0")
    done = here(*asked, "--replace")
    assert done.status == 5, done.text
    assert "gguf-q4_0 was not measured: model_type: gpt2" in " ".join(done.text.split())
    policy.write_text("precisions: [all]\n" + POLICY % ",".join(able))
    done = here(*[each for each in asked if each not in ("--precisions", "all")], "--replace")
    assert done.status == 0, done.text
    again = read_json(tmp_path / "run" / "run.json")
    assert {each["precision"] for each in again["measurements"]} == {*able, "full"}
    assert again["policy"]["precisions"] == ["all"]
    assert here("judge", tmp_path / "run").status == 0
    policy.write_text("precisions: [all, nf4]\n" + POLICY % "nf4")
    done = here(*[each for each in asked if each not in ("--precisions", "all")], "--replace")
    assert done.status == 4, done.text
    assert "all" in done.text


def test_all_is_no_mistake_beside_others(here: Callable[..., Done], tmp_path: Path) -> None:
    """Base and suite are not said and the policy is not there: `all` is not looked up as a precision's name."""
    done = here("check", tmp_path / "nothing", "--thresholds", tmp_path / "none.yaml", "--precisions", "all")
    assert done.status == 4, done.text
    assert "no precision called" not in done.text
