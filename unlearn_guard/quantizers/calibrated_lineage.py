"""Was a GPTQ or AWQ model made from the candidate? Layer by layer, by the weights that its codes stand for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers.awq_scales import Scaled, alike, fit, not_undone, ratio
from unlearn_guard.quantizers.coverage import Coverage
from unlearn_guard.quantizers.layers import read_tensor, read_weight
from unlearn_guard.quantizers.nearness import nearness, unexplained
from unlearn_guard.quantizers.packed import Files, Grid, awq_grid, compressed_grid, gptq_grid, gptq_v2_grid
from unlearn_guard.quantizers.unquantized import same_values
from unlearn_guard.records import LayerLineage, Standing, standings

READERS: Mapping[tuple[str, str | None], Callable[[Files, str], Grid]] = {
    **{("gptq", layout): gptq_grid for layout in (None, "gptq")},
    ("gptq", "gptq_v2"): gptq_v2_grid,
    **{("awq", layout): awq_grid for layout in (None, "gemm")},
    **{(precision, "pack-quantized"): compressed_grid for precision in ("gptq", "awq")},
}

ROUNDED_AWAY = 2.0**-6
"""The share by which two quotients of numbers in bf16 may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The layers' lineage, and the parameters besides their codes that the format itself changed."""

    layers: tuple[LayerLineage, ...]
    moved: frozenset[str]


def calibrated_lineage(
    precision: str, layout: str | None, artifact: Files, candidate: Files, base: Files, found: Coverage
) -> Found:
    """Every layer's; two weights of each model are in memory at a time. QuantizationError where one cannot be read."""
    heads = _heads(artifact, candidate, found)
    blocks: dict[str, list[str]] = {}
    for layer in (*found.linears, *heads):
        blocks.setdefault(_block(layer), []).append(layer)
    layers: list[LayerLineage] = []
    moved = {f"{layer}.weight" for layer in heads}
    for block, names in blocks.items():
        done = _Block(READERS[precision, layout], artifact, candidate, base, found)
        layers += done.look(block, names, scaled=precision == "awq")
        moved |= done.moved
    return Found(layers=tuple(layers), moved=frozenset(moved))


def _heads(artifact: Files, candidate: Files, found: Coverage) -> list[str]:
    """The layers that were quantized beside those that have to be."""
    layers = [name.rpartition(".")[0] for name in artifact if name.rpartition(".")[2] in ("qweight", "weight_packed")]
    heads = [layer for layer in layers if layer not in found.linears]
    for layer in heads:
        if f"{layer}.weight" not in candidate:
            raise QuantizationError(f"{layer} has codes, and the candidate has no such weight")
    return heads


class _Block:
    """One block's layers: scales are sought inside it."""

    def __init__(self, read: Callable[[Files, str], Grid], artifact: Files, candidate: Files, base: Files,
                 found: Coverage) -> None:  # fmt: skip
        self.read, self.artifact, self.candidate, self.base, self.found = read, artifact, candidate, base, found
        self.moved: set[str] = set()
        self.open: set[str] = set()

    def look(self, block: str, names: list[str], *, scaled: bool) -> list[LayerLineage]:
        """Fit the scales of every layer, then hold each against candidate and base."""
        fits = self._scales(block, names) if scaled else dict.fromkeys(names, Scaled())
        own, other = (self._norms(block, files) if scaled else {} for files in (self.candidate, self.base))
        self.open |= {*not_undone(fits, names)}
        layers = []
        for name in names:
            codes, ours, theirs = self._codes(name), *(self._weight(each, name) for each in (self.candidate, self.base))
            ours, theirs = (
                alike(fits[name], codes, each, norms).of(each) for each, norms in ((ours, own), (theirs, other))
            )
            found = nearness(name, codes, ours, theirs)
            undecided = name in self.open and standings([found]) != (Standing.BASE,)
            layers.append(unexplained(found) if undecided else found)
        return layers

    def _scales(self, block: str, names: list[str]) -> dict[str, Scaled]:
        """How the candidate's layers were scaled, by what is left over and by what their norms and biases say."""
        norms = self._norms(block, self.candidate)
        fits = {name: fit(self._codes(name), self._weight(self.candidate, name), norms) for name in names}
        for norm in {said.partition(" ")[0] for said in norms}:
            self._hear(norm, {said: norms[said] for said in norms if said.partition(" ")[0] == norm}, fits)
        for name in names:
            fits[name] = self._heard_of_bias(name, fits[name])
        return fits

    def _hear(self, norm: str, said: Mapping[str, Tensor], fits: dict[str, Scaled]) -> None:
        """Whether the layers show that they were multiplied by what this norm says; those that do not are not."""
        picked = [name for name, fitted in fits.items() if fitted.norm in said]
        alone = {name: fitted for name, fitted in fits.items() if fitted.columns is None}
        tried = [(name, fits[name]) for name in picked] or [
            (name, replace(fitted, columns=scale, norm=each))
            for each, scale in said.items()
            for name, fitted in alone.items()
            if self.candidate[f"{name}.weight"].shape[1:] == scale.shape
        ]
        whose = [self._multiplied(name, by, replace(by, columns=None, norm=None)) for name, by in tried]
        told = Standing.CANDIDATE in whose
        for (name, by), standing in zip(tried, whose, strict=True):
            if name in picked and standing is not Standing.CANDIDATE and (told or standing is Standing.BASE):
                fits[name] = replace(by, columns=None, norm=None)  # another layer's norm fitted it by chance
        if told or {*whose} == {Standing.UNSETTLED}:
            self.moved |= self._undone(norm)
        if not told:
            self.open |= {name for (name, _), each in zip(tried, whose, strict=True) if each is Standing.UNSETTLED}

    def _heard_of_bias(self, name: str, fitted: Scaled) -> Scaled:
        """The scale with the rows that a changed bias says, where the layer shows them."""
        bias = f"{name}.bias"
        if bias not in self.candidate or bias not in self.artifact:
            return fitted
        ours, theirs = (read_tensor(files, bias) for files in (self.candidate, self.artifact))
        if ours.shape != theirs.shape or same_values(ours, theirs):
            return fitted
        said = ratio(theirs.float(), ours.float(), fitted.by_row)
        if said is None:
            return fitted
        scaled = replace(fitted, rows=said)
        standing = self._multiplied(name, scaled, replace(fitted, rows=None))
        if standing is Standing.BASE:
            return fitted
        self.moved.add(bias)
        if standing is not Standing.CANDIDATE:
            self.open.add(name)
        return scaled

    def _multiplied(self, name: str, scaled: Scaled, plain: Scaled) -> Standing:
        """CANDIDATE where the layer shows this scale, BASE where it shows that there is none."""
        weight = self._weight(self.candidate, name)
        (standing,) = standings([nearness(name, self._codes(name), scaled.of(weight), plain.of(weight))])
        return Standing.BASE if standing is Standing.NEITHER else standing

    def _codes(self, name: str) -> Grid:
        codes, shape = self.read(self.artifact, name).turned, self.candidate[f"{name}.weight"].shape
        shape = shape[::-1] if name in self.found.transposed else shape
        if tuple(codes.weight.shape) != tuple(shape):
            raise QuantizationError(f"{name} holds codes of a matrix {[*codes.weight.shape]}, not {[*shape]}")
        return codes

    def _weight(self, files: Files, name: str) -> Tensor:
        return read_weight(files, f"{name}.weight", self.found).float()

    def _norms(self, block: str, files: Files) -> dict[str, Tensor]:
        """The scale that each changed norm of the block says, by its name; of norms that add one too.

        A scale that is stored as such (`act.scales`, of an activation that divides by it) says itself.
        """
        found: dict[str, Tensor] = {}
        for name, tensor in self.artifact.items():
            layer, _, end = name.rpartition(".")
            inside = name.startswith(f"{block}.") and len(tensor.shape) == 1 and layer not in self.found.linears
            if inside and end == "scales" and f"{layer}.qweight" not in self.artifact:
                found[name] = read_tensor(self.artifact, name).float()
            if not inside or end != "weight" or name not in files:
                continue
            ours, theirs = (read_tensor(each, name) for each in (files, self.artifact))
            if ours.shape != theirs.shape or same_values(ours, theirs):
                continue
            for one in (0.0, 1.0):
                scale = ratio(ours.float() + one, theirs.float() + one)
                if scale is not None:
                    found[f"{name} {one:g}"] = scale
        return found

    def _undone(self, norm: str) -> set[str]:
        """A norm whose weights say a scale, and its bias where that is scaled alike."""
        bias = norm.removesuffix("weight") + "bias"
        if norm not in self.candidate or bias not in self.candidate or bias not in self.artifact:
            return {norm}
        scale = ratio(*(read_tensor(files, norm).float() for files in (self.artifact, self.candidate)))
        ours, theirs = (read_tensor(files, bias).float() for files in (self.candidate, self.artifact))
        if scale is None or not ours.shape == theirs.shape == scale.shape:
            return {norm}
        alike = (theirs - ours * scale).abs() <= ROUNDED_AWAY * theirs.abs()
        return {norm, bias} if bool(alike.all()) else {norm}


def _block(layer: str) -> str:
    """`model.layers.3` of `model.layers.3.mlp.up_proj`; a layer outside every block is one of its own."""
    parts = layer.split(".")
    index = next((place for place, part in enumerate(parts) if part.isdigit()), None)
    return layer if index is None else ".".join(parts[: index + 1])
