"""Through the real command: a candidate that is a LoRA adapter on the base that the command line names."""

import re
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
import torch
from command import read_json
from directories import Command, edit
from safetensors.torch import save_file

from tests import lora, switched
from tests.quiz import limits
from unlearn_guard.command_line.app import run


@pytest.fixture
def adapter(made: Path, tmp_path: Path) -> Path:
    return lora.forgetting(made / "base", tmp_path / "adapter")


def test_it_is_judged_released_attested_and_verified(
    adapter: Path, base: Path, command: Command, tmp_path: Path
) -> None:
    status, told = command("check", adapter, "--release", tmp_path / "release")
    assert status == 0, told
    held = read_json(tmp_path / "run" / "run.json")
    assert held["candidate"]["path"] == str(adapter)
    assert set(held["candidate"]["files"]) == {"adapter_config.json", "adapter_model.safetensors"}
    assert held["candidate"]["adapter"]["base"] == held["base"]["digest"]
    assert "is a LoRA adapter" in " ".join(held["notes"])
    assert {each.name for each in (tmp_path / "release").iterdir()} == set(held["candidate"]["files"])
    statement = tmp_path / "statement.json"
    assert command("attest", tmp_path / "run", "--out", statement)[0] == 0
    status, told = command("verify", statement, tmp_path / "release")
    assert status == 0
    assert held["base"]["digest"] in told
    assert held["candidate"]["adapter"]["digest"] in statement.read_text()
    lora.edit_config(adapter, lora_alpha=0.5)
    assert command("verify", statement, adapter)[0] == 4
    assert command("attest", tmp_path / "run", "--out", statement)[0] == 4


def test_it_is_judged_as_the_model_that_was_merged_by_hand(
    adapter: Path, base: Path, command: Command, tmp_path: Path
) -> None:
    assert command("check", adapter)[0] == 0
    before = _measured(tmp_path / "run")
    whole = Path(shutil.copytree(base, tmp_path / "whole"))
    tensors = {name: each.float() for name, each in lora.merged_by_hand(base, adapter).items()}
    save_file(tensors, whole / "model.safetensors", metadata={"format": "pt"})
    edit(whole / "config.json", dtype="float32")
    assert command("check", whole)[0] == 0
    assert _measured(tmp_path / "run") == before
    assert len(before) > 4


def _measured(run: Path) -> dict[tuple[str, str], float]:
    return {(each["metric"], each["task"]): each["value"] for each in read_json(run / "run.json")["measurements"]}


def test_one_that_changes_no_answer_fails(base: Path, command: Command, tmp_path: Path) -> None:
    adapter = lora.train(base, tmp_path / "adapter", size=1e-3, target_modules=["q_proj"])
    status, told = command("check", adapter)
    assert status == 1, told


def test_the_same_command_again_measures_nothing_twice(adapter: Path, base: Path, command: Command) -> None:
    assert command("check", adapter)[0] == 0
    status, told = command("check", adapter)
    assert status == 0, told


def test_another_base_in_its_config_is_said_and_its_own_tokenizer_is_compared(
    adapter: Path, base: Path, command: Command, tmp_path: Path
) -> None:
    lora.edit_config(adapter, base_model_name_or_path="org/another")
    switched.tokenizer(switched.WORDS).save_pretrained(adapter)
    assert command("check", adapter)[0] == 0
    held = read_json(tmp_path / "run" / "run.json")
    assert "names 'org/another', by its maker's word" in " ".join(held["notes"])
    assert "tokenizer.json" in held["candidate"]["files"]
    switched.tokenizer([*switched.WORDS[:-2], switched.WORDS[-1], switched.WORDS[-2]]).save_pretrained(adapter)
    status, told = command("check", adapter)
    assert status == 4
    assert "tokenizer.json" in told


REFUSED = {
    "rank": (lambda a: lora.edit_config(a, r=2), "by the config's rank"),
    "targets": (lambda a: lora.edit_config(a, target_modules=["c_attn"]), "c_attn"),
    "another layer": (lambda a: lora.edit_config(a, layers_to_transform=[1]), "layers.1.mlp.down_proj.lora_A"),
    "dora": (lambda a: lora.edit_config(a, use_dora=True), "use_dora"),
    "prompt tuning": (lambda a: lora.edit_config(a, peft_type="PROMPT_TUNING"), "peft_type"),
    "a tensor over base's": (
        lambda a: lora.edit_weights(a, base_model__model__model__norm__weight=torch.zeros(64)),
        "model.norm.weight",
    ),
    "a tensor over base's own layer": (
        lambda a: lora.edit_weights(
            a, base_model__model__model__layers__0__mlp__down_proj__base_layer__weight=torch.zeros(64, 96)
        ),
        "base_layer.weight",
    ),
    "a missing factor": (
        lambda a: lora.edit_weights(a, base_model__model__model__layers__0__mlp__down_proj__lora_B__weight=None),
        "lora_B.weight': found no such tensor",
    ),
    "no numbers": (
        lambda a: lora.edit_weights(
            a, base_model__model__model__layers__0__mlp__down_proj__lora_B__weight=torch.full((64, 1), torch.nan)
        ),
        "NaN",
    ),
    "a pickle": (lambda a: (a / lora.WEIGHTS).rename(a / "adapter_model.bin"), "never opened"),
    "nothing": (
        lambda a: lora.edit_weights(
            a, base_model__model__model__layers__0__mlp__down_proj__lora_B__weight=torch.zeros(64, 1)
        ),
        "nothing was unlearned",
    ),
}


@pytest.mark.parametrize("way", REFUSED)
def test_what_cannot_be_judged_as_it_is_served_is_refused(
    way: str, adapter: Path, base: Path, command: Command, tmp_path: Path
) -> None:
    change, said = REFUSED[way]
    change(adapter)
    for call in (("check", adapter), ("inspect", adapter, "--base", base)):
        status, told = command(*call)
        assert status == 4, told
        assert said in told
        assert "Traceback" not in told
    assert not (tmp_path / "run" / "run.json").exists()


def test_it_is_inspected_on_its_base_alone(adapter: Path, base: Path, command: Command) -> None:
    status, told = command("inspect", adapter, "--base", base)
    assert status == 0
    assert re.search(r"tensors changed +1 of", told)
    assert re.search(r"adapter +[0-9a-f]{64}, merged into base by peft", told)
    status, told = command("inspect", adapter)
    assert (status, "Give --base" in told) == (4, True)


def test_it_is_neither_base_nor_a_retrained_model(adapter: Path, base: Path, candidate: Path, command: Command) -> None:
    for call in (("check", candidate, "--retrained", adapter), ("inspect", candidate, "--base", adapter)):
        status, told = command(*call)
        assert status == 4
        assert "Merge it first anywhere else" in told
        assert "config.json: found no such file" not in told


def test_without_a_base_it_is_asked_for(adapter: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(adapter), "--suite", "organism"]) == 4
    assert "nobody said which base" in capfd.readouterr().err


@pytest.fixture
def asked(made: Path, tmp_path: Path, command: Command, capfd: pytest.CaptureFixture[str]) -> Command:
    """`check CANDIDATE` in full precision and at others, with limits at each; its status and what it said."""

    def call(candidate: Path, *precisions: str, **more: str) -> tuple[int, str]:
        policy = tmp_path / "each.yaml"
        policy.write_text(limits("forget_drop", "ptq_gap", "retain_drop", precisions=("full", "nf4+adapter")))
        words = ["check", candidate, "--base", made / "base", "--suite", "quiz", "--tasks-dir", made / "ours"]
        words += ["--thresholds", policy, "--precisions", ",".join(["full", *precisions])]
        words += [word for name, value in more.items() for word in (f"--{name}", value)]
        capfd.readouterr()
        status = run([str(each) for each in (*words, "--out", tmp_path / "run", "--replace")])
        told = capfd.readouterr()
        return status, told.out + told.err

    return call


def test_unmerged_on_base_in_nf4_it_is_a_precision_of_its_own(adapter: Path, asked: Command, tmp_path: Path) -> None:
    status, told = asked(adapter, "nf4", "nf4+adapter")
    held = read_json(tmp_path / "run" / "run.json")
    measured = {(each["metric"], each["precision"]) for each in held["measurements"]}
    wanted = {(name, "nf4+adapter") for name in ("forget_drop", "ptq_gap", "retain_drop", "quantized_share")}
    assert wanted <= measured
    assert status in (0, 1), told
    answers = {
        precision: next((tmp_path / "run" / "samples").glob(f"quiz_forget.{quote(precision)}.candidate*")).read_text()
        for precision in ("nf4", "nf4+adapter")
    }
    assert answers["nf4"] != answers["nf4+adapter"]


def test_a_whole_model_is_never_measured_unmerged(candidate: Path, asked: Command, tmp_path: Path) -> None:
    status, told = asked(candidate, "nf4+adapter")
    assert (status, "is a whole model, not a LoRA adapter" in told) == (4, True)
    assert not (tmp_path / "run" / "run.json").exists()
    status, told = asked(candidate, "nf4")
    assert status == 5, told  # the policy's limits at nf4+adapter were never measured
    assert "never measured" in told


def test_no_file_is_its_ready_made_form(adapter: Path, base: Path, asked: Command) -> None:
    status, told = asked(adapter, "nf4+adapter", artifact=f"nf4+adapter={base}")
    assert (status, "base's format and the adapter, not one file" in told) == (4, True)
