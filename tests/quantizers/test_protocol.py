"""What all quantizers share: group sizes, calibration digests, the registry's door."""

from importlib.metadata import EntryPoint

import pytest

from unlearn_guard import registry
from unlearn_guard.errors import PluginError, QuantizationError
from unlearn_guard.quantizers.gptq import GPTQ
from unlearn_guard.quantizers.protocol import Calibration, Quantizer, largest_group


@pytest.mark.parametrize(
    ("widths", "group"), [([128, 384], 128), ([128, 192], 64), ([96, 128], 32), ([128, 100], None)]
)
def test_the_largest_group_that_divides_every_width(widths: list[int], group: int | None) -> None:
    assert largest_group({f"l{width}": (8, width) for width in widths}) == group


def test_no_group_divides() -> None:
    with pytest.raises(QuantizationError, match=r"divides every input width \[100\]"):
        GPTQ().recipe({"l": (8, 100)})


def test_the_recipe_tells_group_and_versions() -> None:
    recipe = GPTQ().recipe({"l": (8, 192)})
    assert recipe["group"] == 64
    assert set(recipe["versions"]) == {"gptqmodel", "optimum", "transformers", "torch"}


def test_calibration_texts_are_told_apart() -> None:
    assert Calibration(texts=("a", "b")).digest != Calibration(texts=("b", "a")).digest
    assert Calibration(texts=("a b",)).digest != Calibration(texts=("a", "b")).digest


@pytest.mark.parametrize("name", ["full", "nf4", "gptq", "awq"])
def test_ours_keep_the_protocol(name: str) -> None:
    made = registry.quantizer(name)
    assert isinstance(made, Quantizer)
    assert made.name == name


def test_an_unknown_precision_names_a_near_one() -> None:
    with pytest.raises(PluginError, match="Did you mean gptq"):
        registry.quantizer("gptqq")


def plug_in(monkeypatch: pytest.MonkeyPatch, *entries: EntryPoint) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)


def test_a_third_party_quantizer_comes_in(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = list(registry.precisions())
    assert ours[:4] == ["full", "nf4", "gptq", "awq"]
    plug_in(monkeypatch, EntryPoint("mine", "unlearn_guard.quantizers.full:Full", registry.QUANTIZERS))
    assert list(registry.precisions()) == [*ours, "mine"]
    assert registry.quantizer("mine").bits == 16


def test_nobody_takes_the_name_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, EntryPoint("nf4", "evil:NF4", registry.QUANTIZERS))
    with pytest.raises(PluginError, match=r"claimed by .*nf4:NF4 and by evil:NF4"):
        registry.precisions()


def test_a_broken_plug_in_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch, EntryPoint("broken", "no_such_module:Thing", registry.QUANTIZERS))
    assert "broken" in registry.precisions()  # listing imports nothing
    with pytest.raises(PluginError, match=r"no_such_module:Thing does not load"):
        registry.quantizer("broken")
