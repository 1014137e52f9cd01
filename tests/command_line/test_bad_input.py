"""What `check` refuses, with status 4, a message that teaches, and nothing left behind."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from command import Done, read_json
from safetensors.torch import load_file, save_file

Guard = Callable[..., Done]
Candidate = Callable[[str], Path]


@pytest.fixture(scope="session")
def guard(here: Guard) -> Guard:
    """In this process."""
    return here


def assert_refused(done: Done, *words: str) -> None:
    assert done.status == 4, done.text
    for word in words:
        assert word in done.text
    assert "Traceback" not in done.text


def test_no_such_directory(guard: Guard, tmp_path: Path) -> None:
    assert_refused(guard("check", tmp_path / "nowhere"), "nowhere")


def test_a_foreign_directory(guard: Guard, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("not a model")
    assert_refused(guard("check", tmp_path), "config.json", "no such file")


def test_weights_that_are_not_numbers(guard: Guard, copied: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    tensors["model.norm.weight"][5] = torch.nan
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    assert_refused(guard("check", copied), "model.norm.weight", "NaN")


def test_pickled_weights_only(guard: Guard, copied: Path) -> None:
    (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
    assert_refused(guard("check", copied), "pytorch_model.bin", "safetensors")


def test_a_base_of_another_architecture(guard: Guard, candidate: Candidate, copied: Path) -> None:
    config = read_json(copied / "config.json")
    config["num_attention_heads"] = 2
    config["num_key_value_heads"] = 1
    config["head_dim"] = 64
    (copied / "config.json").write_text(json.dumps(config))
    done = guard("check", candidate("unchanged"), "--base", copied, "--suite", "organism")
    assert_refused(done, "num_attention_heads")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "whose"), [("base", "base"), ("unchanged", "base"), ("erased", "the candidate")])
def test_a_retrained_model_that_is_base_or_the_candidate(
    guard: Guard, candidate: Candidate, tmp_path: Path, name: str, whose: str
) -> None:
    shutil.copytree(candidate(name), tmp_path / "retrained")
    done = guard("check", candidate("erased"), "--retrained", tmp_path / "retrained")
    assert_refused(done, f"has the weights of {whose}", "compared with itself")


@pytest.mark.slow
def test_a_retrained_model_of_another_architecture(guard: Guard, candidate: Candidate, copied: Path) -> None:
    config = read_json(copied / "config.json")
    config["rope_theta"] = 12345.0
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 12345.0}
    (copied / "config.json").write_text(json.dumps(config))
    assert_refused(guard("check", candidate("erased"), "--retrained", copied), "--retrained", "rope_theta")


def test_an_unknown_suite(guard: Guard, candidate: Candidate, tmp_path: Path) -> None:
    done = guard(
        "check", candidate("unchanged"), "--base", candidate("base"), "--suite", "organsim", "--out", tmp_path / "run"
    )
    assert_refused(done, "organsim", "organism")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_refused_command_takes_no_earlier_verdict_away(
    guard: Guard, candidate: Candidate, checked: Callable[[str], tuple[Done, Path]], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(checked("erased")[1], tmp_path / "run"))
    done = guard("check", candidate("erased"), "--base", candidate("base"), "--suite", "organsim", "--out", run)
    assert_refused(done, "organsim")
    assert guard("judge", run).status == 0


def test_an_unknown_precision(guard: Guard, candidate: Candidate) -> None:
    assert_refused(guard("check", candidate("erased"), "--precisions", "full,nf5"), "nf5", "Did you mean nf4?")


def test_full_precision_left_out(guard: Guard, candidate: Candidate) -> None:
    assert_refused(guard("check", candidate("erased"), "--precisions", "nf4"), "leave out full")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("  - {metric: ptq_gap, task: '@forget', precision: nf4, at_most: 30, because: x}", ("30", "fraction")),
        ("  - {metric: ptq_gapp, task: '@forget', precision: nf4, at_most: 0.0, because: x}", ("ptq_gap",)),
        ("  - {metric: ptq_gap, task: '@forget', precision: nf4, atmost: 0.0, because: x}", ("atmost", "at_most")),
        ("  - {metric: ptq_gap, task: '@forget', precision: nf4, at_most: .nan, because: x}", ("at_most",)),
    ],
)
def test_a_policy_with_a_mistake(
    guard: Guard, candidate: Candidate, tmp_path: Path, line: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "thresholds.yaml").write_text(f"version: 1\nlimits:\n{line}\n")
    done = guard("check", candidate("erased"), "--precisions", "full,nf4", cwd=tmp_path)
    assert_refused(done, "thresholds.yaml:3", *words)


def test_the_manifest_of_a_stranger_is_quoted_and_not_believed(
    guard: Guard, candidate: Candidate, tmp_path: Path
) -> None:
    """A maker who names the base that suits him does not choose what he is compared with."""
    stranger = Path(shutil.copytree(candidate("erased"), tmp_path / "stranger"))
    claim = read_json(stranger / "unlearn_guard.json") | {"base": "./easy-base", "base_digest": "0" * 64}
    (stranger / "unlearn_guard.json").write_text(json.dumps(claim))
    assert_refused(guard("check", stranger), "./easy-base", "--base")
    claim = claim | {"base": "organism"}  # the right name with a digest that is not the package's
    (stranger / "unlearn_guard.json").write_text(json.dumps(claim))
    assert_refused(guard("check", stranger), "organism", "--base")


def test_an_output_directory_that_holds_something_else(guard: Guard, candidate: Candidate, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert_refused(guard("check", candidate("erased"), "--out", tmp_path), "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.mark.slow
def test_an_artifact_of_another_model(guard: Guard, candidate: Candidate, policy: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    other = Path(shutil.copytree(candidate("erased"), tmp_path / "other"))
    tensors = load_file(other / "model.safetensors")
    tensors["model.embed_tokens.weight"] *= 2
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = AutoModelForCausalLM.from_pretrained(other, quantization_config=config, device_map="cpu")
    model.save_pretrained(tmp_path / "nf4")
    for file in other.glob("tokenizer*"):
        shutil.copy(file, tmp_path / "nf4")
    done = guard("check", candidate("erased"), "--thresholds", policy, "--artifact", f"nf4={tmp_path / 'nf4'}")
    assert_refused(done, "was not made from", "model.embed_tokens.weight")


@pytest.mark.parametrize(
    "arguments",
    [
        ("check",),
        ("check", "x", "--device", "tpu"),
        ("check", "x", "--artifact", "nf4"),
        ("chekc", "x"),
        ("check", "x", "--limit", "0"),
    ],
)
def test_a_wrong_command_line(guard: Guard, arguments: tuple[str, ...]) -> None:
    assert_refused(guard(*arguments), "Usage:")


def test_names_cannot_steer_the_terminal(guard: Guard, tmp_path: Path) -> None:
    done = guard("check", tmp_path / "a\x1b[2Jb")
    assert done.status == 4
    assert "\x1b" not in done.out + done.err


def test_prompt_pairs_that_cannot_be_used_are_found_before_anything_is_scored(
    guard: Guard, candidate: Candidate, tmp_path: Path
) -> None:
    (tmp_path / "mine.jsonl").write_text(
        json.dumps({"clean": "the gem is", "corrupted": "the herb is", "target": " opal opal", "wrong": [" mint"]})
    )
    (tmp_path / "mine.yaml").write_text(
        "version: 1\nname: mine\ntitle: t\ndescription: d\ninclude: [organism]\n"
        "forget: [{task: organism_forget, metric: acc, chance: 0.25, pairs: mine.jsonl}]\n"
        "retain: [{task: organism_retain, metric: acc, chance: 0.25}]\n"
    )
    done = guard(
        *("check", candidate("erased"), "--base", candidate("base"), "--suite", tmp_path / "mine.yaml"),
        *("--precisions", "full", "--out", tmp_path / "run"),
    )
    assert_refused(done, "mine.jsonl", "opal opal")
    assert "score" not in done.err


IDS = {"clean": [4, 5, 6], "corrupted": [4, 7, 6], "target": 8, "wrong": [9]}
TEXTS = {"clean": "a b c", "corrupted": "a d c", "target": " e", "wrong": [" f"]}


@pytest.fixture
def bare(copied: Path) -> Path:
    """A model without any file of a tokenizer."""
    for file in copied.iterdir():
        if "token" in file.name or file.suffix in (".jinja", ".txt"):
            file.unlink()
    assert sorted(file.name for file in copied.glob("*.json") if "config" not in file.name) == []
    return copied


def test_pairs_of_token_ids_need_no_tokenizer(guard: Guard, bare: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(json.dumps(IDS) + "\n")
    done = guard("attribute", bare, "--pairs", tmp_path / "pairs.jsonl", "--out", tmp_path / "scores.json")
    assert done.status == 0, done.text
    assert read_json(tmp_path / "scores.json")["items"] == 1


def test_pairs_of_texts_need_one(guard: Guard, bare: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_text(json.dumps(IDS) + "\n" + json.dumps(TEXTS) + "\n")
    done = guard("attribute", bare, "--pairs", tmp_path / "pairs.jsonl", "--out", tmp_path / "scores.json")
    assert_refused(done, "pairs.jsonl holds texts", "no tokenizer", "save_pretrained")
    assert not (tmp_path / "scores.json").exists()


def test_every_other_command_asks_for_a_tokenizer(guard: Guard, bare: Path, tmp_path: Path) -> None:
    assert_refused(guard("inspect", bare), "tokenizer", "found none")
    done = guard("attribute", bare, "--suite", "organism", "--out", tmp_path / "scores.json")
    assert_refused(done, "tokenizer", "found none")


@pytest.mark.skipif(find_spec("sentencepiece") is not None, reason="only where sentencepiece is not installed")
@pytest.mark.parametrize(
    "command",
    [
        ("inspect", "MODEL"),
        ("check", "MODEL", "--base", "MODEL", "--suite", "organism"),
        ("attribute", "MODEL", "--suite", "organism", "--out", "scores.json"),
        ("unlearn", "global_ga", "--base", "MODEL", "--suite", "organism", "--out", "made"),
    ],
    ids=lambda command: command[0],
)
def test_a_tokenizer_whose_package_is_absent(
    guard: Guard, bare: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (bare / "tokenizer.model").write_bytes(b"\x0a\x03\x0a\x01a")  # one piece, `a`
    done = guard(*(str(bare) if word == "MODEL" else word for word in command), cwd=tmp_path)
    assert_refused(done, "tokenizer.model", "sentencepiece", "pip install sentencepiece")


def test_a_byte_order_mark(guard: Guard, copied: Path) -> None:
    raw = (copied / "config.json").read_bytes()
    (copied / "config.json").write_bytes(b"\xef\xbb\xbf" + raw)
    assert_refused(guard("check", copied), "config.json", "byte order mark", "sed -i")
    (copied / "config.json").write_bytes(raw.decode().encode("utf-16"))
    assert_refused(guard("check", copied), "config.json", "UTF-16", "iconv -f UTF-16")


def test_code_that_is_named_and_not_needed_is_noted(guard: Guard, copied: Path, tmp_path: Path) -> None:
    config = read_json(copied / "config.json")
    config["auto_map"] = {"AutoConfig": "configuration_x.X", "AutoModelForCausalLM": "modeling_x.X"}
    (copied / "config.json").write_text(json.dumps(config))
    for name in ("configuration_x", "modeling_x"):
        (copied / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    done = guard("inspect", copied)
    assert done.status == 0, done.text
    assert "never run" in done.text
    config["model_type"] = "unheard-of"
    (copied / "config.json").write_text(json.dumps(config))
    assert_refused(guard("inspect", copied), "auto_map")
    assert not (tmp_path / "ran").exists()
