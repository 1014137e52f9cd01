"""What a user would load decides: each way in that was seen to pass is refused."""

from pathlib import Path

import pytest
import torch
from directories import WORD, Command, Edit, edit, lay, resave
from safetensors.torch import load_file, save_file
from transformers import AddedToken, AutoTokenizer

from tests import switched

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
