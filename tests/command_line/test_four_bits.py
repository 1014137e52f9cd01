"""Through the real command: what is not in 4 bits is refused before anything is measured, and mixtures are measured."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Done, read_json
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from tests import tiny
from tests.oracles import compressed, packed_files
from unlearn_guard.quantizers.coverage import coverage

Check = Callable[..., Done]
WEIGHTS = "model.safetensors"


def two(family: str, folder: Path, **more: object) -> tuple[Path, Path]:
    """A base and a candidate that differ a little everywhere."""
    model = tiny.build(family, **more)
    base = tiny.save(model, folder / "base")
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.01)
    return base, tiny.save(model, folder / "candidate")


@pytest.fixture
def check(here: Callable[..., Done], tmp_path: Path) -> Check:
    """`check` of tmp_path/candidate against tmp_path/base here, on a suite and under a policy of the weights alone."""

    def run(precisions: str, *more: str | Path, least: float = 0.95, long: int = 24) -> Done:
        suites = tmp_path / f"suites{long}"
        if not suites.exists():
            tiny.write_suite(suites, long=long)
        quantized = [name for name in precisions.split(",") if name != "full"]
        limit = {"metric": "quantized_share", "task": "weights", "precision": quantized, "at_least": least}
        policy = tmp_path / f"policy{least}.yaml"
        policy.write_text(json.dumps({"version": 1, "limits": [limit | {"because": "test"}]}))
        where = ["--base", tmp_path / "base", "--suite", "quiz", "--tasks-dir", suites, "--thresholds", policy]
        out = ["--out", tmp_path / "run", "--precisions", precisions, "--quiet"]
        return here("check", tmp_path / "candidate", *where, *out, *more)

    return run


def share(run: Path, precision: str) -> dict[str, Any]:
    """The one measurement of what is in 4 bits."""
    found = [
        each
        for each in read_json(run / "run.json")["measurements"]
        if (each["metric"], each["precision"]) == ("quantized_share", precision)
    ]
    assert len(found) == 1
    return found[0]


@pytest.mark.slow
def test_a_mixture_is_measured_at_nf4_with_its_experts(check: Check, tmp_path: Path) -> None:
    two("gpt_oss", tmp_path)
    done = check("full,nf4")
    assert done.status == 0, done.text
    found = share(tmp_path / "run", "nf4")
    assert found["task"] == "weights"
    assert 0.95 < found["value"] < 1.0  # the router and the experts' biases are not in 4 bits
    assert found["samples"] == 2 * (64 * 64 * 2 + 64 * 32 * 2 + 4 * (64 * 192 + 96 * 64) + 4 * (64 + 192 + 64))
    assert check("full,nf4", "--replace", least=0.999).status == 1


@pytest.mark.slow
def test_a_model_that_keeps_its_weights_the_other_way_round_is_measured_at_nf4(check: Check, tmp_path: Path) -> None:
    two("gpt2", tmp_path)
    done = check("full,nf4")
    assert done.status == 0, done.text
    assert share(tmp_path / "run", "nf4")["value"] == 1.0


@pytest.mark.parametrize(
    ("family", "precision", "layer", "left"),
    [
        ("gpt_oss", "gptq", "model.layers.0.mlp.experts.gate_up_proj", "full,nf4"),
        pytest.param("gpt_oss", "awq", "model.layers.0.mlp.experts.gate_up_proj", "full,nf4", marks=pytest.mark.slow),
        pytest.param("gpt2", "gptq", "transformer.h.0.attn.c_attn", "full,nf4", marks=pytest.mark.slow),
        pytest.param("falcon", "nf4", "transformer.h.0.self_attention.query_key_value", "full", marks=pytest.mark.slow),
    ],
)
def test_what_cannot_be_four_bits_is_refused_before_anything_is_measured(
    family: str, precision: str, layer: str, left: str, check: Check, tmp_path: Path
) -> None:
    two(family, tmp_path)
    precisions = {"nf4": "full,nf4"}.get(precision, f"full,nf4,{precision}")
    done = check(precisions)
    assert done.status == 4, done.text
    assert f"cannot be checked at {precision}" in done.text
    assert layer in done.text
    assert f"--precisions {left}." in done.text
    assert "Traceback" not in done.text
    assert not (tmp_path / "run" / "run.json").exists()


def artifact(source: Path, out: Path, **options: object) -> Path:
    config = BitsAndBytesConfig(**{"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"} | options)
    model = AutoModelForCausalLM.from_pretrained(source, quantization_config=config, dtype=torch.bfloat16)
    model.save_pretrained(out)
    tiny.tokenizer().save_pretrained(out)
    return out


@pytest.mark.slow
def test_an_artifact_of_the_candidate_is_judged_and_one_of_base_is_not(check: Check, tmp_path: Path) -> None:
    base, candidate = two("llama", tmp_path)
    own = artifact(candidate, tmp_path / "own", bnb_4bit_use_double_quant=True)
    done = check("full,nf4", "--artifact", f"nf4={own}")
    assert done.status == 0, done.text
    assert "on trust" not in done.text
    assert share(tmp_path / "run", "nf4")["value"] == 1.0
    done = check("full,nf4", "--artifact", f"nf4={artifact(base, tmp_path / 'others')}")
    assert done.status == 4, done.text
    assert "was not made from" in done.text


@pytest.mark.slow
def test_a_rounded_artifact_of_the_candidate_is_judged_and_one_of_base_is_not(check: Check, tmp_path: Path) -> None:
    """Made as llm-compressor makes them, by the library that it writes with."""
    base, candidate = two("llama", tmp_path)
    own = compressed.save(compressed.RTN4Group32(), candidate, tmp_path / "own")
    done = check("full,rtn4-32", "--artifact", f"rtn4-32={own}")
    assert done.status == 0, done.text
    assert "on trust" not in done.text
    others = compressed.save(compressed.RTN4Group32(), base, tmp_path / "others")
    done = check("full,rtn4-32", "--artifact", f"rtn4-32={others}")
    assert done.status == 4, done.text
    assert "was not made from" in done.text


@pytest.mark.slow
def test_a_calibrated_artifact_is_proven_attested_and_verified(
    check: Check, here: Callable[..., Done], tmp_path: Path
) -> None:
    """GPTQ codes of the candidate pass with their lineage named; base's are refused, whatever norms lie beside them."""
    base, candidate = two("llama", tmp_path)
    moved = {name: each + 0.1 * each.std() * torch.randn_like(each) for name, each in load_file(base / WEIGHTS).items()}
    save_file(moved, candidate / WEIGHTS, metadata={"format": "pt"})
    layers = coverage(base).linears
    own = packed_files.save("gptq", candidate, tmp_path / "own", layers)
    done = check("full,gptq", "--artifact", f"gptq={own}")
    assert done.status == 0, done.text
    assert "on trust" not in done.text
    run = read_json(tmp_path / "run" / "run.json")
    (found,) = [each for each in run["measurements"] if each["metric"] == "lineage"]
    assert (found["value"], found["samples"], found["precision"]) == (1.0, 14, "gptq")
    digest, files = run["artifacts"]["gptq"]["digest"], run["artifacts"]["gptq"]["files"]
    assert "model.safetensors" in files
    assert here("attest", tmp_path / "run", "--out", tmp_path / "statement").status == 0
    for place, told in ((candidate, "those that were judged ("), (own, "those that were judged at gptq (")):
        done = here("verify", tmp_path / "statement", place)
        assert done.status == 0, done.text
        assert told in done.text
        assert f"judged at gptq as {digest}: {len(files)} files, lineage 1" in done.text
    evidence = tmp_path / "run" / "weights" / "lineage.gptq.json"
    evidence.write_text(evidence.read_text().replace('"within": 1.0', '"within": 0.1'))
    assert here("judge", tmp_path / "run").status != 0
    kept = {f"{layer}.weight": load_file(base / WEIGHTS)[f"{layer}.weight"] for layer in layers}
    theirs = packed_files.save("gptq", candidate, tmp_path / "theirs", layers, kept)
    done = check("full,gptq", "--replace", "--artifact", f"gptq={theirs}")
    assert done.status == 4, done.text
    assert "was not made from the candidate" in done.text


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["gptq", "awq"])
def test_what_llm_compressor_packs_is_judged(check: Check, precision: str, tmp_path: Path) -> None:
    base, candidate = two("llama", tmp_path, hidden_size=128, intermediate_size=256, num_key_value_heads=4)
    moved = {name: each + 0.1 * each.std() * torch.randn_like(each) for name, each in load_file(base / WEIGHTS).items()}
    save_file(moved, candidate / WEIGHTS, metadata={"format": "pt"})
    own = packed_files.by_llm_compressor(precision, candidate, tmp_path / "own", coverage(base).linears)
    done = check(f"full,{precision}", "--artifact", f"{precision}={own}")
    assert done.status == 0, done.text
    assert "on trust" not in done.text
    (found,) = [
        each for each in read_json(tmp_path / "run" / "run.json")["measurements"] if each["metric"] == "lineage"
    ]
    assert (found["value"], found["precision"]) == (1.0, precision)


@pytest.mark.slow
def test_recipes_and_layers_of_artifacts_are_looked_at_first(check: Check, tmp_path: Path) -> None:
    _, candidate = two("llama", tmp_path)
    fp4 = artifact(candidate, tmp_path / "fp4", bnb_4bit_quant_type="fp4")
    done = check("full,nf4", "--artifact", f"nf4={fp4}")
    assert (done.status, "fp4" in done.text, "Traceback" in done.text) == (4, True, False)
    layer = "model.layers.0.mlp.up_proj"
    skipped = artifact(candidate, tmp_path / "skipped", llm_int8_skip_modules=["lm_head", layer])
    done = check("full,nf4", "--artifact", f"nf4={skipped}")
    assert (done.status, layer in done.text) == (4, True)
    own = artifact(candidate, tmp_path / "own")
    config = read_json(own / "config.json")
    eight = {"quant_method": "gptq", "bits": 8, "group_size": 32}
    (own / "config.json").write_text(json.dumps(config | {"quantization_config": eight}))
    done = check("full,gptq", "--artifact", f"gptq={own}")
    assert (done.status, "bits 8" in done.text, "Traceback" in done.text) == (4, True, False)


def test_short_calibration_texts_are_counted_before_anything_is_measured(check: Check, tmp_path: Path) -> None:
    two("llama", tmp_path)
    done = check("full,gptq", long=19)
    assert done.status == 4, done.text
    assert "24 different calibration texts, 19 of them with at least 11 tokens; 20 are wanted" in done.text
    assert "texts.jsonl" in done.text


@pytest.mark.slow
def test_short_texts_are_passed_over_and_told(check: Check, tmp_path: Path) -> None:
    two("llama", tmp_path, hidden_size=128, intermediate_size=256)
    suites = tiny.write_suite(tmp_path / "suites20", long=20)
    lines = (suites / "quiz" / "texts.jsonl").read_text().splitlines(keepends=True)
    (suites / "quiz" / "texts.jsonl").write_text("".join(reversed(lines)))
    done = check("full,gptq,awq", long=20)
    assert done.status == 0, done.text
    assert "calibration: 20 texts used, 4 passed over with fewer than 11 tokens" in done.text
    assert {share(tmp_path / "run", precision)["value"] for precision in ("gptq", "awq")} == {1.0}
