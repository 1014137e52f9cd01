"""What a user would load decides: a directory that loads the same model is judged, however it differs."""

import json
from pathlib import Path

import pytest
import torch
from command import read_json
from directories import WORD, Command, Edit, Tensors, edit, resave


def head(tensors: Tensors) -> Tensors:
    return {**tensors, "lm_head.weight": tensors["model.embed_tokens.weight"].clone()}


def buffers(tensors: Tensors) -> Tensors:
    return {**tensors, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}


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
