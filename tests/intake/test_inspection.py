"""The facts that `inspect` shows of a checkpoint, one by one."""

import json
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import weights, write
from edited import numbers, opened

from unlearn_guard.intake import Intake, inspection, open_checkpoint


def facts(intake: Intake) -> dict[str, str]:
    return dict(inspection(intake).facts)


def test_every_fact_of_a_checkpoint(sound: Path) -> None:
    made = {**weights(), "model.norm.weight": ("F16", (16,), bytes(32))}
    write(sound, made, settings={"chat_template": "{{ messages }}"})
    (sound / "unlearn_guard.json").write_text(json.dumps({"method": "npo"}))
    intake = open_checkpoint(sound)
    count = sum(int(np.prod(shape)) for _, shape, _ in made.values())
    assert inspection(intake).facts == (
        ("digest", intake.checkpoint.digest),
        ("precision", "full"),
        ("architecture", "LlamaForCausalLM"),
        ("size", "2 layers, width 16, vocabulary 32"),
        ("parameters", f"{count} in 21 tensors, {4 * (count - 16) + 32} bytes"),
        ("dtype", f"F32 ({count - 16}), F16 (16)"),
        ("weights", intake.weights_digest),
        ("config", intake.config_digest),
        ("tokenizer", f"{intake.tokenizer_digest} (32 ids)"),
        ("chat template", "14 characters"),
        ("method, by its maker", "npo"),
    )
    assert inspection(intake).updates == ()
    assert inspection(intake).difference is None


def test_what_is_not_known_is_said_to_be_so(sound: Path) -> None:
    (sound / "config.json").write_text('{"model_type": "gpt2", "vocab_size": 32}')
    (sound / "tokenizer.json").rename(sound / "vocab.txt")
    found = facts(open_checkpoint(sound))
    assert found["architecture"] == "gpt2"
    assert found["size"] == "? layers, width ?, vocabulary 32"
    assert found["tokenizer"].endswith("(unknown ids)")
    assert (found["chat template"], found["method, by its maker"]) == ("none", "not said")
    (sound / "unlearn_guard.json").write_text("{}")
    assert facts(open_checkpoint(sound))["method, by its maker"] == "not said"


def test_an_older_model_s_own_words_for_its_sizes_are_read(sound: Path) -> None:
    (sound / "config.json").write_text('{"model_type": "gpt2", "vocab_size": 32, "n_layer": 3, "n_embd": 8}')
    assert facts(open_checkpoint(sound))["size"] == "3 layers, width 8, vocabulary 32"


@pytest.mark.parametrize("outer", [{}, {"vocab_size": 5}])
def test_the_language_model_of_several_parts_is_described(sound: Path, outer: dict) -> None:
    inner = {"vocab_size": 32, "num_hidden_layers": 9, "hidden_size": 7}
    (sound / "config.json").write_text(json.dumps({"model_type": "x", "text_config": inner, **outer}))
    if outer:
        (sound / "tokenizer.json").rename(sound / "vocab.txt")
    expected = "? layers, width ?, vocabulary 5" if outer else "9 layers, width 7, vocabulary 32"
    assert facts(open_checkpoint(sound))["size"] == expected


def test_edited_tensors_come_with_the_most_moved_first(tmp_path: Path) -> None:
    name, zeroed = "model.layers.{}.input_layernorm.weight", "model.norm.weight"
    made = {**weights(), zeroed: numbers(np.zeros(16))}
    moved = {
        **made,
        name.format(0): numbers(1.5 * np.frombuffer(made[name.format(0)][2], np.float32)),
        name.format(1): numbers(3 * np.frombuffer(made[name.format(1)][2], np.float32)),
        zeroed: numbers(np.ones(16)),
    }
    base, other = opened(write(tmp_path / "base", made)), opened(write(tmp_path / "other", moved))
    seen = inspection(other, base)
    assert [each.name for each in seen.updates] == [name.format(1), name.format(0), zeroed]
    assert dict(seen.facts)["base"] == base.checkpoint.digest
    assert dict(seen.facts)["tensors changed"] == "3 of 21"
    assert dict(seen.facts)["weights changed"] == f"48 of {other.parameters}"
    assert seen.notes == other.notes
