"""`unlearn --lora`: an adapter that peft reads, made by the methods that are losses, the same for a seed and a kill."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from killer import KilledError, Killer
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from unlearn_guard.errors import UsageError
from unlearn_guard.intake.adapter import open_adapter
from unlearn_guard.organism import base_path
from unlearn_guard.registry import method as find_method
from unlearn_guard.registry import methods
from unlearn_guard.unlearning.lora import Lora, assert_trains_adapters
from unlearn_guard.unlearning.making import UnlearnRequest, unlearn

WEIGHTS = "adapter_model.safetensors"
Make = Callable[..., UnlearnRequest]


def asked(request: UnlearnRequest, **lora: str) -> UnlearnRequest:
    return replace(request, lora={"r": "4", **lora})


def test_an_adapter_is_written_and_no_weight_of_base(request_for: Make) -> None:
    made = unlearn(asked(request_for()))
    assert {each.name for each in made.path.iterdir()} == {"adapter_config.json", WEIGHTS, "unlearn_guard.json"}
    found = open_adapter(made.path)
    assert found.settings["r"] == 4
    assert found.settings["lora_alpha"] == 8
    assert {name.rpartition(".")[2] for name in made.changed} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    assert found.manifest is not None
    assert found.manifest.hyperparameters is not None
    assert found.manifest.hyperparameters["lora"]["r"] == 4
    assert found.claimed == str(base_path())
    assert all(each.dtype == "F32" for each in found.tensors)
    served = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base_path()), made.path)
    assert sum(name.endswith("lora_B.default.weight") for name, _ in served.named_parameters()) == len(made.changed)


def test_targets_rank_and_alpha_are_taken(request_for: Make) -> None:
    made = unlearn(asked(request_for(), r="2", alpha="1", targets="q_proj, v_proj"))
    settings = json.loads((made.path / "adapter_config.json").read_text())
    assert (settings["r"], settings["lora_alpha"], set(settings["target_modules"])) == (2, 1, {"q_proj", "v_proj"})
    assert len(made.changed) == 12


def test_a_seed_gives_the_same_adapter_and_another_seed_another(request_for: Make) -> None:
    one, two, other = (
        open_adapter(unlearn(asked(request_for(out=out, seed=seed))).path).digest
        for out, seed in (("one", 1), ("two", 1), ("other", 2))
    )
    assert one == two
    assert one != other


@pytest.mark.usefixtures("every_step_saved")
def test_a_killed_run_goes_on_and_ends_the_same(request_for: Make) -> None:
    """NPO compares with base, which has to be base again after the kill."""
    whole = unlearn(asked(request_for("npo", out="whole")))
    with pytest.raises(KilledError):
        unlearn(asked(request_for("npo")), Killer(3))
    watcher = Killer(after=-1)
    resumed = unlearn(asked(request_for("npo")), watcher)
    assert watcher.steps == [3, 4]
    left, right = (load_file(each.path / WEIGHTS) for each in (whole, resumed))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.usefixtures("every_step_saved")
def test_another_rank_does_not_go_on_with_what_was_trained(request_for: Make) -> None:
    with pytest.raises(KilledError):
        unlearn(asked(request_for()), Killer(3))
    watcher = Killer(after=-1)
    unlearn(asked(request_for(), r="2"), watcher)
    assert watcher.steps == [1, 2, 3, 4]


REFUSED = {
    "gu": "chooses which of base's tensors",
    "gu_simnpo": "chooses which of base's tensors",
    "lunar": "edits base's weights itself",
    "mansu": "edits base's weights itself",
    "rmu": "edits base's weights itself",
    "sure": "chooses which of base's tensors",
    "surgical_ga": "chooses which of base's tensors",
}


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_shipped_method_makes_one_or_says_why_not(name: str) -> None:
    if name not in REFUSED:
        assert_trains_adapters(find_method(name), name)
        return
    with pytest.raises(UsageError, match=f"cannot make a LoRA adapter: .*{REFUSED[name]}"):
        assert_trains_adapters(find_method(name), name)


def test_what_cannot_be_trained_is_refused_before_anything_is(request_for: Make, tmp_path: Path) -> None:
    for request, told in (
        (asked(request_for("surgical_ga")), "cannot make a LoRA adapter"),
        (asked(request_for(), rank="4"), "no such hyperparameter"),
        (asked(request_for(), r="0"), "out of range"),
        (asked(request_for(), targets="c_attn"), "peft refuses it on this base"),
    ):
        with pytest.raises(UsageError, match=told) as caught:
            unlearn(request)
        assert caught.value.exit_status == 4
    assert not (tmp_path / "out").exists()


def test_alpha_is_twice_the_rank() -> None:
    assert Lora(r=5).settings["lora_alpha"] == 10
    with pytest.raises(UsageError, match="out of range"):
        Lora(r=5, alpha=0.0)
