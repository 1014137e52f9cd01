"""Where an edit lies on base's grid, counted over whole checkpoints."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.tiny import build, save
from unlearn_guard.checking.checkpoints import open_sealed
from unlearn_guard.checking.weighing import _drift


def test_an_edit_of_a_matrix_of_zeros_has_no_bins_to_be_measured_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As merging an adapter into a layer that was initialised with zeros: counted, and no number is made of it."""
    monkeypatch.setenv("UNLEARN_GUARD_CACHE", str(tmp_path / "store"))
    model = build("llama")
    name = "model.layers.0.mlp.down_proj.weight"
    with torch.no_grad():
        model.get_parameter(name).zero_()
    base = open_sealed(str(save(model, tmp_path / "base")))
    with torch.no_grad():
        model.get_parameter(name).normal_()
    candidate = open_sealed(str(save(model, tmp_path / "candidate")))
    watch, placement = SimpleNamespace(advance=lambda *_: None), SimpleNamespace(device_map="cpu")
    bench = SimpleNamespace(base=base, watch=watch, notes=[], drift=(), placement=placement)
    found = {each.metric: each.value for each in _drift(bench, candidate)}
    assert "update_to_bin" not in found
    assert 0 < found["code_flip_rate"] < 1
    assert "zero in base" in bench.notes[0]
    with torch.no_grad():
        model.get_parameter("model.layers.1.mlp.down_proj.weight").mul_(1.5)
        model.get_parameter(name).zero_()
    honest = open_sealed(str(save(model, tmp_path / "honest")))
    assert {each.metric for each in _drift(bench, honest)} == {"code_flip_rate", "update_to_bin", "floor_survival"}
