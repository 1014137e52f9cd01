"""Names that training wrappers leave behind, and the lines that take them out again."""

import re

import pytest

from unlearn_guard.intake.wrappers import wrapping

OWN = ("model.embed_tokens.weight", "model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight")


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: f"_fsdp_wrapped_module.{name}",
        lambda name: f"_forward_module.{name}",
        lambda name: name.replace("mlp.", "mlp._orig_mod."),
        lambda name: re.sub(r"layers\.(\d+)\.", r"layers.\1._checkpoint_wrapped_module.", name),
        lambda name: re.sub(r"layers\.(\d+)\.", r"layers.\1._fsdp_wrapped_module._checkpoint_wrapped_module.", name),
    ],
)
def test_the_lines_it_names_give_the_model_s_own_names(wrapped) -> None:
    names = [wrapped(name) for name in OWN]
    defect = wrapping(names, OWN)
    assert defect is not None
    (line,) = re.findall(r"Strip it: `state = (.*)`, then", defect.fix)
    known = {"load_file": lambda _: dict(zip(names, OWN, strict=True))}
    assert eval(line, known) == {name: name for name in OWN}


def test_a_model_s_own_name_that_ends_in_a_wrapper_s_is_kept() -> None:
    own = ("temporal_module.weight",)
    defect = wrapping(["module.temporal_module.weight"], own)
    assert defect is not None
    (line,) = re.findall(r"Strip it: `state = (.*)`, then", defect.fix)
    assert [*eval(line, {"load_file": lambda _: {"module.temporal_module.weight": 0}})] == [*own]


def test_a_part_that_the_model_itself_has_is_no_wrapper_s() -> None:
    own = ("vision.module.weight",)
    assert wrapping(own, own) is None
    assert wrapping(("other_module.weight",), OWN) is None


@pytest.mark.parametrize("name", ["base_model.model.{}", "{}.lora_A.weight", "{}.base_layer.weight"])
def test_an_adapter_that_was_not_merged_is_named(name: str) -> None:
    defect = wrapping([name.format(each) for each in OWN], OWN)
    assert defect is not None
    assert "merge_and_unload()" in defect.fix


def test_every_wrapper_that_is_there_is_named_and_stripped_longest_first() -> None:
    defect = wrapping([f"_fsdp_wrapped_module.module.{name}" for name in OWN], OWN)
    assert defect is not None
    assert defect.found.startswith("'module.', '_fsdp_wrapped_module.' in tensors' names")
    assert "name.replace('_fsdp_wrapped_module.', '').replace('module.', '')" in defect.fix
    assert wrapping(OWN, OWN) is None
