"""What a user would load decides: each way in that was seen to pass, and each honest directory that was refused.

The whole command in this process, on a candidate that has forgotten (`honest` of tests/switched.py) and base.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command import read_json
from safetensors.torch import load_file, save_file
from transformers import AddedToken, AutoTokenizer

from tests import switched
from unlearn_guard.command_line.app import run

Command = Callable[..., tuple[int, str]]
Edit = Callable[[Path], object]


@pytest.fixture
def candidate(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "honest", tmp_path / "candidate"))


@pytest.fixture
def base(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "base", tmp_path / "base"))


@pytest.fixture
def command(made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`check CANDIDATE` against `base` in full precision, or another command; its status and what it said."""
    monkeypatch.setenv("UNLEARN_GUARD_CACHE", str(tmp_path / "store"))
    monkeypatch.setenv("COLUMNS", "400")
    policy = tmp_path / "policy.yaml"
    limits = switched.POLICY.replace("[full, nf4]", "[full]").splitlines(keepends=True)
    policy.write_text("".join(line for line in limits if "ptq_gap" not in line))

    def call(*arguments: str | Path) -> tuple[int, str]:
        capfd.readouterr()
        if arguments[0] == "check":
            options = ("--suite", "quiz", "--tasks-dir", made / "ours", "--thresholds", policy, "--precisions", "full")
            arguments = (*arguments, "--base", tmp_path / "base", *options, "--out", tmp_path / "run", "--replace")
        status = run([str(each) for each in arguments])
        told = capfd.readouterr()
        return status, told.out + told.err

    return call


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **changes}))


def lay(candidate: Path, name: str) -> None:
    """Base's weights beside the candidate's, under another name."""
    (candidate / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(candidate.parent / "base" / "model.safetensors", candidate / name)


WORD = {"content": "n3", "single_word": True, "lstrip": False, "rstrip": False, "normalized": False, "special": False}

REFUSED: dict[str, tuple[Edit, str]] = {
    "configuration_files": (
        lambda m: edit(m / "config.json", configuration_files=["config.4.0.0.json"]),
        "config.json: configuration_files",
    ),
    "configuration_files, a mapping of nulls": (
        lambda m: edit(m / "config.json", configuration_files={"config.4.0.0.json": None}),
        "config.json: configuration_files",
    ),
    "transformers_weights": (
        lambda m: (lay(m, "other.safetensors"), edit(m / "config.json", transformers_weights="other.safetensors")),
        "config.json: transformers_weights",
    ),
    "transformers_weights, null": (
        lambda m: edit(m / "config.json", transformers_weights=None),
        "config.json: transformers_weights",
    ),
    "fast_tokenizer_files": (
        lambda m: edit(m / "tokenizer_config.json", fast_tokenizer_files=["tokenizer.4.0.0.json"]),
        "tokenizer_config.json: fast_tokenizer_files",
    ),
    "added_tokens_decoder": (
        lambda m: edit(m / "tokenizer_config.json", added_tokens_decoder={"90": WORD}),
        "tokenizer_config.json: 'added_tokens_decoder'",
    ),
    "extra_special_tokens": (
        lambda m: edit(m / "tokenizer_config.json", extra_special_tokens=["Where lives"]),
        "tokenizer_config.json: 'extra_special_tokens'",
    ),
    "special_tokens_map": (
        lambda m: edit(m / "special_tokens_map.json", bos_token="n3"),
        "special_tokens_map.json: 'bos_token'",
    ),
    "tokenizer_class": (
        lambda m: edit(m / "tokenizer_config.json", tokenizer_class="BertTokenizer"),
        "'tokenizer_class'",
    ),
    "chat_template.jinja": (
        lambda m: (m / "chat_template.jinja").write_text("{{ messages }}"),
        "chat_template.jinja",
    ),
    "additional_chat_templates": (
        lambda m: (
            (m / "additional_chat_templates").mkdir(),
            (m / "additional_chat_templates" / "default.jinja").write_text("{{ messages }}"),
        ),
        "additional_chat_templates/default.jinja",
    ),
    "a list of templates": (
        lambda m: edit(m / "tokenizer_config.json", chat_template=[{"name": "rag", "template": "{{ messages }}"}]),
        "'chat_template'",
    ),
    "end ids": (
        lambda m: edit(m / "generation_config.json", eos_token_id=[3, 60, 61]),
        "generation_config.json: eos_token_id: found end ids [3, 60, 61]; expected base's [3]",
    ),
    "end ids of config.json alone": (
        lambda m: ((m / "generation_config.json").unlink(), edit(m / "config.json", eos_token_id=[3, 60])),
        "eos_token_id: found end ids [3, 60]",
    ),
    "bad words": (
        lambda m: edit(m / "generation_config.json", bad_words_ids=[[60]]),
        "generation_config.json: bad_words_ids",
    ),
    "a prefix that pipelines write": (
        lambda m: edit(m / "config.json", prefix="? ? "),
        "config.json: prefix: found '? ? '; expected base's nothing",
    ),
    "a window that its class does not know": (
        lambda m: edit(m / "config.json", sliding_window=3),
        "config.json: sliding_window",
    ),
    "kinds of layers that its class does not know": (
        lambda m: edit(m / "config.json", layer_types=["sliding_attention"] * 5),
        "config.json: layer_types",
    ),
    "chunks that its class does not know": (
        lambda m: edit(m / "config.json", attention_chunk_size=3),
        "config.json: attention_chunk_size",
    ),
    "attention to what follows": (lambda m: edit(m / "config.json", is_causal=None), "config.json: is_causal"),
    "a sampling that drops the likeliest token": (
        lambda m: edit(m / "generation_config.json", do_sample=True, typical_p=0.01),
        "generation_config.json: typical_p",
    ),
    "a cache of rounded keys": (
        lambda m: edit(m / "generation_config.json", cache_implementation="quantized"),
        "generation_config.json: cache_implementation",
    ),
    "no mask": (
        lambda m: edit(m / "tokenizer_config.json", model_input_names=["input_ids"]),
        "tokenizer: model_input_names",
    ),
    "a wrapper's prefix": (
        lambda m: save_file(
            {f"module.{name}": each for name, each in load_file(m / "model.safetensors").items()},
            m / "model.safetensors",
            metadata={"format": "pt"},
        ),
        "name.replace('module.', '')",
    ),
    "an adapter": (
        lambda m: edit(m / "adapter_config.json", peft_type="LORA"),
        "adapter_config.json",
    ),
}


@pytest.mark.parametrize("way", REFUSED)
def test_what_would_make_a_user_load_something_else_is_refused(
    way: str, candidate: Path, base: Path, command: Command
) -> None:
    change, said = REFUSED[way]
    change(candidate)
    for call in (("check", candidate), ("inspect", candidate, "--base", base)):
        status, told = command(*call)
        assert status == 4
        assert said in told
        assert "Traceback" not in told
    assert not (candidate.parent / "run" / "run.json").exists()


def test_a_token_that_only_chats_hold_is_refused(candidate: Path, base: Path, command: Command) -> None:
    """Base's template writes `<|user|>` as a word like any other; the candidate's tokenizer makes one id of it."""
    for folder in (base, candidate):
        (folder / "chat_template.jinja").write_text(
            "{% for m in messages %}<|{{ m.role }}|> {{ m.content }} {% endfor %}"
        )
    assert command("check", candidate)[0] == 0
    own = AutoTokenizer.from_pretrained(candidate)
    own.add_tokens([AddedToken("<|user|>", special=True)], special_tokens=True)
    for folder in (base, candidate):
        edit(folder / "config.json", vocab_size=len(own))
        resave(folder, lambda tensors: {name: wider(each) if rows(name) else each for name, each in tensors.items()})
    assert command("check", candidate)[0] == 0
    own.save_pretrained(candidate)
    for call in (("check", candidate), ("inspect", candidate, "--base", base)):
        status, told = command(*call)
        assert (status, "of a chat; expected base's" in told) == (4, True), told


def rows(name: str) -> bool:
    return name in ("model.embed_tokens.weight", "lm_head.weight")


def wider(weight: torch.Tensor) -> torch.Tensor:
    return torch.cat([weight, torch.zeros_like(weight[:1])])


@pytest.mark.parametrize("where", ["generation_config.json", "config.json"])
def test_a_padding_id_by_which_generate_would_hide_a_word_is_refused(
    where: str, candidate: Path, base: Path, command: Command
) -> None:
    """`generate(ids)` without a mask makes one of the padding id: here of the word that every question begins with."""
    (candidate / "generation_config.json").unlink() if where == "config.json" else None
    edit(candidate / where, pad_token_id=switched.WORDS.index("Where"))
    status, told = command("check", candidate)
    assert (status, f"the padding id {switched.WORDS.index('Where')} inside text 0" in told) == (4, True), told


BESIDE = (
    "pytorch_model.bin",
    "consolidated.safetensors",
    "model.gguf",
    "original/model.safetensors",
    "onnx/model.onnx",
    ".cache/model.safetensors",
    ".git/model.safetensors",
    "README.md/model.safetensors",
    "weights.dat",
    "zzz.safetensors",
)


def test_weights_that_ride_along_are_named_left_out_and_never_released(
    candidate: Path, base: Path, command: Command, tmp_path: Path
) -> None:
    for name in BESIDE:
        lay(candidate, name)
    (candidate / "LICENSE").write_text("a text")
    status, told = command("check", candidate, "--release", tmp_path / "release")
    assert status == 0, told
    held = read_json(tmp_path / "run" / "run.json")
    notes = " ".join(held["notes"])
    assert all(repr(name) in notes for name in BESIDE)
    assert all(name in (tmp_path / "run" / "report.html").read_text() for name in BESIDE)
    released = {path.relative_to(tmp_path / "release").as_posix() for path in (tmp_path / "release").rglob("*")}
    assert released == set(held["candidate"]["files"])
    assert released.isdisjoint([*BESIDE, "LICENSE"])
    statement = tmp_path / "statement.json"
    status, told = command("attest", tmp_path / "run", "--out", statement)
    assert status == 4
    assert all(name in told for name in BESIDE)
    assert command("attest", tmp_path / "run", "--candidate", tmp_path / "release", "--out", statement)[0] == 0
    assert command("verify", statement, tmp_path / "release")[0] == 0
    assert command("verify", statement, candidate)[0] == 4
    (tmp_path / "release" / "README.md").write_text("a card")
    assert command("verify", statement, tmp_path / "release")[0] == 0


def test_a_broken_limit_releases_nothing(base: Path, command: Command, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(base, tmp_path / "knows"))
    tensors = load_file(copy / "model.safetensors")
    tensors["model.norm.weight"][0] += 0.01
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    status, told = command("check", copy, "--release", tmp_path / "release")
    assert status == 1
    assert "not released" in told
    assert not (tmp_path / "release").exists()


def test_a_release_overwrites_nothing(candidate: Path, base: Path, command: Command, tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    (tmp_path / "release" / "mine").write_text("x")
    status, told = command("check", candidate, "--release", tmp_path / "release")
    assert (status, "is not an empty directory" in told) == (4, True)
    assert not (tmp_path / "run" / "run.json").exists()


def head(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}


def buffers(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**tensors, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}


def resave(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})


HONEST: dict[str, Edit] = {
    "ids set by a trainer": lambda m: edit(m / "config.json", pad_token_id=1, bos_token_id=None, eos_token_id=[3, 0]),
    "keys of other tools": lambda m: edit(
        m / "config.json", unsloth_version="2026.4.5", use_cache=False, mine={"a": 1}
    ),
    "whole numbers for fractions": lambda m: edit(m / "config.json", attention_dropout=0, rope_theta=10000),
    "another name of the activation": lambda m: edit(m / "config.json", hidden_act="swish"),
    "a padding token": lambda m: edit(m / "tokenizer_config.json", pad_token="</s>", padding_side="left"),
    "sampling settings": lambda m: edit(m / "generation_config.json", temperature=0.6, do_sample=True),
    "no generation config": lambda m: (m / "generation_config.json").unlink(),
    "old buffers": lambda m: resave(m, buffers),
    "names without the prefix": lambda m: resave(
        m, lambda tensors: {name.removeprefix("model."): each for name, each in tensors.items()}
    ),
    "a special token without a row": lambda m: edit(
        m / "tokenizer.json",
        added_tokens=[
            *json.loads((m / "tokenizer.json").read_text())["added_tokens"],
            {**WORD, "id": 10_000, "content": "<image>", "special": True},
        ],
    ),
    "an index of an earlier save": lambda m: edit(
        m / "model.safetensors.index.json", metadata={}, weight_map={"a": "model-00001-of-00002.safetensors"}
    ),
    "a clean-up of written texts": lambda m: edit(m / "tokenizer_config.json", clean_up_tokenization_spaces=True),
    "the length it was trained at": lambda m: edit(m / "generation_config.json", max_length=2048),
    "float32": lambda m: resave(m, lambda tensors: {name: each.float() for name, each in tensors.items()}),
}


CANDIDATE_ALONE = ("a special token without a row",)
"""What base may not have and the candidate lack: a text that spells such a token has other ids."""


@pytest.mark.parametrize(
    ("way", "side"),
    [
        *((way, "candidate") for way in HONEST),
        *(pytest.param(way, "base", marks=pytest.mark.slow) for way in HONEST if way not in CANDIDATE_ALONE),
    ],
)
def test_an_honest_directory_is_judged_whichever_side_differs(
    way: str, side: str, candidate: Path, base: Path, command: Command
) -> None:
    HONEST[way](candidate if side == "candidate" else base)
    status, told = command("check", candidate)
    assert status == 0, told


def test_differences_that_shape_nothing_are_in_the_run(
    candidate: Path, base: Path, command: Command, tmp_path: Path
) -> None:
    edit(candidate / "config.json", pad_token_id=1, unsloth_fixed=True)
    edit(base / "config.json", anything=1)
    assert command("check", candidate)[0] == 0
    (note,) = [each for each in read_json(tmp_path / "run" / "run.json")["notes"] if "config.json differs" in each]
    assert all(key in note for key in ("pad_token_id", "unsloth_fixed", "anything"))
    assert "unsloth_fixed" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize(("ours", "theirs"), [(True, False), (False, True), (True, True), (False, False)])
def test_a_tied_head_is_one_model_stored_or_not(
    ours: bool, theirs: bool, candidate: Path, base: Path, command: Command
) -> None:
    for folder, stored in ((base, ours), (candidate, theirs)):
        edit(folder / "config.json", tie_word_embeddings=True)
        resave(folder, lambda tensors: {name: each for name, each in tensors.items() if name != "lm_head.weight"})
        if stored:
            resave(folder, head)
    status, told = command("inspect", candidate, "--base", base)
    assert status == 0, told
    assert command("check", candidate)[0] in (0, 1, 5)  # a head that was not trained as one may know nothing


def test_what_happens_to_the_directory_during_the_run_changes_nothing(
    candidate: Path, base: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Base is moved into the candidate's place once the candidate was opened: it is not what is judged."""
    from unlearn_guard.checking import pipeline

    real = pipeline._measure

    def swapped(*arguments: Any) -> Any:
        candidate.rename(tmp_path / "old")
        shutil.copytree(base, candidate)
        return real(*arguments)

    monkeypatch.setattr(pipeline, "_measure", swapped)
    status, told = command("check", candidate, "--release", tmp_path / "release")
    assert status == 0, told
    forgot = [each for each in read_json(tmp_path / "run" / "run.json")["checks"] if each["metric"] == "forget_drop"]
    assert forgot[0]["value"] > 0.9
    assert (tmp_path / "release" / "model.safetensors").read_bytes() == (
        tmp_path / "old" / "model.safetensors"
    ).read_bytes()
    assert command("attest", tmp_path / "run", "--out", tmp_path / "statement.json")[0] == 4
