"""What GPTQ and AWQ share: gptqmodel makes both, and the same proof is asked of both.

gptqmodel is the maintained successor of auto-gptq (which no longer imports with transformers 5) and of
autoawq (deprecated by its authors), and what transformers itself loads both formats with.
"""

import importlib.metadata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_guard.errors import PluginError, QuantizationError
from unlearn_guard.quantizers import worker
from unlearn_guard.quantizers.artifacts import COMPRESSED, layout_of, recipe_of
from unlearn_guard.quantizers.coverage import linear_shapes
from unlearn_guard.quantizers.decoding import load_decoded
from unlearn_guard.quantizers.layers import (
    assert_complete,
    assert_untouched,
    directory_tensors,
    load_model,
    stored_tensors,
)
from unlearn_guard.quantizers.packed import Grid, assert_computes, compressed_grid
from unlearn_guard.quantizers.protocol import Calibration, Placement, directory_digest, largest_group
from unlearn_guard.records import Checkpoint, StoredTensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class GPTQModelQuantizer:
    """A format of gptqmodel at 4 bits, in groups of 128 inputs or the largest of 64 and 32 that divides."""

    name: str
    bits = 4
    calibrated = True
    groups = (128, 64, 32)
    layouts: Mapping[str | None, Callable[[Mapping[str, StoredTensor], str], Grid]]
    """How the codes of each layout are read."""

    def recipe(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:
        """Format, group size, versions. PluginError without gptqmodel, QuantizationError where no group divides."""
        try:
            versions = {
                name: importlib.metadata.version(name) for name in ("gptqmodel", "optimum", "transformers", "torch")
            }
        except importlib.metadata.PackageNotFoundError as error:
            raise PluginError(
                f"precision {self.name} needs {error.name}, which is not installed",
                fix="Install it with: pip install 'unlearn-guard[gptq]', or leave it out: --precisions full,nf4",
            ) from error
        group = largest_group(shapes, self.groups)
        if group is None:
            widths = sorted({width for _, width in shapes.values()})
            raise QuantizationError(f"{self.name}: no group of 128, 64 or 32 divides every input width {widths}")
        return {"quantizer": self.name, "bits": self.bits, "group": group, "versions": versions}

    def quantize(self, checkpoint: Checkpoint, calibration: Calibration, out: Path, placement: Placement) -> Checkpoint:
        """Let the library quantize in its own process, then hold what it wrote against what was asked."""
        if not calibration.texts:
            raise QuantizationError(f"{self.name} needs calibration texts and got none; name some in the suite file")
        shapes = linear_shapes(checkpoint.path)
        group = int(calibration.group or self.recipe(shapes)["group"])
        device = "cpu" if placement.device_map == "cpu" else "cuda"
        log = worker.quantize(self.name, checkpoint.path, out, calibration.texts, group=group, device=device)
        assert_no_fallback(self.name, log, shapes)
        written = directory_tensors(out)
        missing = [layer for layer in shapes if f"{layer}.qweight" not in written]
        if missing:
            raise QuantizationError(f"{self.name} left {len(missing)} layers unquantized: {', '.join(missing[:5])}")
        source = stored_tensors(checkpoint)
        # AWQ moves scales into the norms; embeddings and head are nobody's to touch.
        kept = [
            name
            for name in source
            if name[: -len(".weight")] not in shapes and "layers." not in name and "norm" not in name
        ]
        assert_untouched(source, written, kept)
        return Checkpoint(path=out, digest=directory_digest(out), precision=self.name, method=checkpoint.method)

    def load(self, checkpoint: Checkpoint, placement: Placement) -> "PreTrainedModel":
        """The model with the library's kernels, each layer of which computes what its codes on disk say."""
        self.recipe({})  # a clear word when the library is missing
        worker.prepare_environment()
        files, recipe = directory_tensors(checkpoint.path), recipe_of(checkpoint.path) or {}
        if layout_of(recipe) == COMPRESSED:
            return load_decoded(checkpoint.path, placement, lambda layer: compressed_grid(files, layer).weight.T)
        layers = [name[: -len(".qweight")] for name in files if name.endswith(".qweight")]
        if not layers:
            raise QuantizationError(f"{checkpoint.path} holds no {self.name} weights")
        assert_complete(checkpoint.path, layers, self.name)
        grid = self.layouts.get(layout_of(recipe))
        if grid is None:
            raise QuantizationError(f"{checkpoint.path}: {self.name} in the layout {layout_of(recipe)!r} is not known")
        model = load_model(checkpoint.path, placement, **self._config(checkpoint.path, recipe))
        modules = dict(model.named_modules())
        for layer in layers:
            assert_computes(layer, modules[layer], grid(files, layer).weight)
        return model

    def _config(self, directory: Path, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """The config with a recipe that lies beside it, where auto-gptq kept it and transformers no longer looks."""
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(directory, trust_remote_code=False, local_files_only=True)
        if getattr(config, "quantization_config", None) is not None:
            return {}
        config.quantization_config = {"quant_method": self.name, **recipe}
        return {"config": config}


def assert_no_fallback(method: str, log: Sequence[Mapping[str, str]], shapes: Mapping[str, tuple[int, int]]) -> None:
    """Every layer stands in the library's log exactly once, with a finite loss and no word of a fallback.

    gptqmodel writes `fallback(rtn): ...` in place of a loss where it gave up and rounded to nearest,
    999999999 where there was nothing to compute a loss from, and `not applicable` for a layer that AWQ
    did not scale. The last is AWQ as published only for an attention output whose value heads are
    grouped: there is no earlier layer of its width to fold a scale into.
    """
    rows = [row for row in log if row.get("process") == method]
    seen = Counter(f"{row['layer']}.{row['module']}" for row in rows)
    layers = {_log_name(name): name for name in shapes}
    missing = [name for key, name in layers.items() if seen[key] != 1]
    if missing:
        raise QuantizationError(
            f"{method}: the library's log does not account for {len(missing)} layers: {', '.join(missing[:5])}"
        )
    losses = {layers[f"{row['layer']}.{row['module']}"]: row["loss"] for row in rows}
    bad = [
        f"{name} ({loss})" for name, loss in losses.items() if not (_is_loss(loss) or _has_no_scale(name, loss, shapes))
    ]
    if bad:
        raise QuantizationError(f"{method} fell back to plain rounding in {len(bad)} layers: {', '.join(bad[:5])}")


def _has_no_scale(layer: str, loss: str, shapes: Mapping[str, tuple[int, int]]) -> bool:
    value = shapes.get(layer.replace(".o_proj", ".v_proj"))
    grouped = layer.endswith(".o_proj") and (value is None or value[0] != shapes[layer][1])
    return loss == "not applicable" and grouped


def _log_name(layer: str) -> str:
    """`model.layers.3.mlp.up_proj` is `3.mlp.up_proj` in the log."""
    parts = layer.split(".")
    index = next(place for place, part in enumerate(parts) if part.isdigit())
    return ".".join(parts[index:])


def _is_loss(text: str) -> bool:
    try:
        return 0.0 <= float(text) < 1e8
    except ValueError:
        return False
