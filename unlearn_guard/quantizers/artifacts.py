"""Ready-made quantized models: is the recipe the one that the precision's name means, and is every weight in 4 bits?"""

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from unlearn_guard.errors import Defect, QuantizationError, UsageError
from unlearn_guard.quantizers.calibrated_lineage import calibrated_lineage
from unlearn_guard.quantizers.coverage import Coverage, coverage, named
from unlearn_guard.quantizers.layers import directory_tensors, stored_tensors
from unlearn_guard.quantizers.lineage import bitsandbytes_differences
from unlearn_guard.quantizers.nearness import not_the_candidate_s
from unlearn_guard.quantizers.rounded import Rounded
from unlearn_guard.quantizers.share import elements, in_bits, stored_bytes
from unlearn_guard.quantizers.unquantized import unquantized_differences
from unlearn_guard.records import Checkpoint, LayerLineage
from unlearn_guard.registry import quantizer

CALIBRATED = ("gptq", "awq")
"""Those whose codes follow from texts, too."""

OURS = ("nf4", "nf4-dq", "fp4", "int8", *CALIBRATED)
"""The precisions whose recipes are known here; a third party's format looks after its own."""

BESIDE = ("quantize_config.json", "quant_config.json")
"""Where auto-gptq and the first releases of autoawq kept the recipe."""

_TOLD = 5

_METHODS = dict.fromkeys(OURS, "bitsandbytes") | {name: name for name in CALIBRATED}
COMPRESSED = "pack-quantized"
"""llm-compressor's layout of 4-bit integers, whichever way they were found."""

_LAYOUTS = {"gptq": ("gptq", "gptq_v2"), "awq": ("gemm",)}


def recipe_of(directory: Path) -> Mapping[str, Any] | None:
    """A model's quantization recipe: in config.json, or in a file beside it; None where there is neither."""
    config = _read(directory / "config.json")
    found = config.get("quantization_config", config.get("compression_config"))
    if found is None:
        found = next((_read(directory / name) for name in BESIDE if (directory / name).is_file()), None)
    return found if isinstance(found, Mapping) else None


def layout_of(recipe: Mapping[str, Any]) -> str | None:
    """How the codes are packed, where the recipe says: `gptq_v2` keeps zero points as they are, `gptq` less one."""
    found = recipe.get("checkpoint_format") or recipe.get("format") or recipe.get("version")
    return found.lower() if isinstance(found, str) else None


def assert_artifact(
    precision: str, artifact: Checkpoint, candidate: Checkpoint, location: str, *, base: Checkpoint | None = None
) -> tuple[LayerLineage, ...]:
    """Refuse, before anything is measured, what is not this candidate in this format. UsageError.

    What was found of each layer; empty where nothing can be shown: of a third party's format, and of a calibrated one
    where `base` is not given.
    """
    maker = quantizer(precision)
    if precision not in OURS and not isinstance(maker, Rounded):
        return ()
    recipe = recipe_of(artifact.path)
    assert_recipe(precision, recipe, location)
    found, files = coverage(candidate.path), directory_tensors(artifact.path)
    _assert_all(precision, maker.bits, found, stored_bytes(artifact.path), location)
    source, moved = stored_tensors(candidate), frozenset[str]()
    layers = tuple(LayerLineage(layer=name, weights=elements(found, name), within=1.0) for name in found.units)
    try:
        if isinstance(maker, Rounded):
            defects = [*islice(maker.differences(artifact.path, candidate, clipped=_clipped(recipe)), _TOLD)]
        elif precision not in CALIBRATED:
            defects = [*islice(bitsandbytes_differences(precision, files, source, found), _TOLD)]
        elif base is None:
            return ()
        else:
            layout = layout_of(recipe or {})
            read = calibrated_lineage(precision, layout, files, source, stored_tensors(base), found)
            layers, moved = read.layers, read.moved
            defects = [*islice(not_the_candidate_s(layers), _TOLD)]
    except QuantizationError as error:
        raise UsageError(f"{location} is not all of it in {precision}: {error.summary}") from error
    defects += islice(unquantized_differences(files, source, found, candidate.path, moved=moved), _TOLD)
    if defects:
        fix = f"Quantize this candidate, or leave {precision} to the guard: it quantizes the candidate itself."
        raise UsageError(f"{location} was not made from the candidate", defects, fix=fix)
    return layers


def _assert_all(precision: str, bits: int, found: Coverage, sizes: Mapping[str, int], location: str) -> None:
    left = [name for name in found.units if not in_bits(sizes, found, name, bits)]
    if left:
        found_bits = f"{len(left)} of {len(found.units)} weights left out of the {bits} bits"
        defect = Defect(where=named(left), found=found_bits, expected="none left out")
        fix = f"Quantize all of the model, or leave {precision} to the guard: it quantizes the candidate itself."
        raise UsageError(f"{location} is not all of it in {precision}", [defect], fix=fix)


def _clipped(recipe: Mapping[str, Any] | None) -> bool:
    """Whether llm-compressor sought its scales for the least squared error: then they may clip the largest weights."""
    return "mse" in str(dict(recipe or {}).get("config_groups")).lower()


def assert_recipe(precision: str, recipe: Mapping[str, Any] | None, location: str) -> None:
    """Refuse an artifact whose recipe is not the 4-bit format that its precision names. UsageError, every defect."""
    if precision not in OURS:
        return
    if recipe is None:
        found = Defect(where="quantization_config", found="no recipe", expected=f"that of a {precision} model")
        raise UsageError(f"{location} cannot be judged at {precision}", [found])
    calibrated = precision in CALIBRATED
    defects = list(_packed(precision, recipe) if calibrated else _bitsandbytes(precision, recipe))
    if defects:
        method, bits = recipe.get("quant_method", "not named"), recipe.get("bits", recipe.get("w_bit", "not named"))
        said = f"quant_method {method!r}, bits {bits!r}" if calibrated else f"quant_method {method!r}"
        raise UsageError(
            f"{location} cannot be judged at {precision}: its recipe is another ({said})",
            defects,
            fix=f"Give a {precision} model of 4 bits, or leave it to the guard: it quantizes the candidate itself.",
        )


def _bitsandbytes(precision: str, recipe: Mapping[str, Any]) -> Iterator[Defect]:
    yield from _method(precision, recipe)
    four, eight = (bool(recipe.get(f"load_in_{n}bit") or recipe.get(f"_load_in_{n}bit")) for n in (4, 8))
    if precision == "int8":
        if not eight or four:
            yield _wrong("load_in_8bit", "4 bits" if four else eight, "true")
        return
    if not four or eight:
        yield _wrong("load_in_4bit", "8 bits" if eight else four, "true")
    kind = recipe.get("bnb_4bit_quant_type", "fp4")  # the library's own default
    if kind != precision.removesuffix("-dq"):
        yield _wrong("bnb_4bit_quant_type", kind, precision.removesuffix("-dq"))
    if precision == "nf4-dq" and not recipe.get("bnb_4bit_use_double_quant"):
        yield _wrong("bnb_4bit_use_double_quant", recipe.get("bnb_4bit_use_double_quant"), "true")


def _packed(precision: str, recipe: Mapping[str, Any]) -> Iterator[Defect]:
    if recipe.get("quant_method") == "compressed-tensors":
        yield from _compressed(recipe)
        return
    yield from _method(precision, recipe)
    bits = recipe.get("bits", recipe.get("w_bit"))
    if type(bits) is not int or bits != 4:
        yield _wrong("bits", bits, "4")
    layout, known = layout_of(recipe), _LAYOUTS[precision]
    if (layout is not None and layout not in known) or recipe.get("is_marlin_format"):
        yield _wrong("checkpoint_format", layout or "marlin", " or ".join(known))
    said = {str(recipe[key]).lower() for key in ("checkpoint_format", "format") if recipe.get(key) is not None}
    if len(said) > 1:
        yield _wrong("checkpoint_format and format", " and ".join(sorted(said)), "one and the same")


def _compressed(recipe: Mapping[str, Any]) -> Iterator[Defect]:
    """llm-compressor's recipe: 4-bit integers of weights alone, as they are."""
    if layout_of(recipe) != COMPRESSED:
        yield _wrong("format", layout_of(recipe), COMPRESSED)
    groups = recipe.get("config_groups")
    for name, group in groups.items() if isinstance(groups, Mapping) and groups else (("config_groups", None),):
        said = group if isinstance(group, Mapping) else {}
        weights = said.get("weights")
        kind = (weights.get("num_bits"), weights.get("type")) if isinstance(weights, Mapping) else None
        if kind != (4, "int"):
            yield _wrong(f"{name}: weights", kind, "4 bits, int")
        for end in ("input_activations", "output_activations"):
            if said.get(end) is not None:
                yield _wrong(f"{name}: {end}", said[end], "none: the weights alone")
    if recipe.get("transform_config"):
        yield _wrong("transform_config", recipe["transform_config"], "none")


def _method(precision: str, recipe: Mapping[str, Any]) -> Iterator[Defect]:
    method = recipe.get("quant_method")
    if method is not None and str(method).lower() != _METHODS[precision]:
        yield _wrong("quant_method", method, _METHODS[precision])


def _wrong(key: str, found: object, expected: str) -> Defect:
    shown = "nothing" if found is None else repr(found)[:80]
    return Defect(where=f"quantization_config: {key}", found=shown, expected=expected)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a recipe: {error}") from error
    return found if isinstance(found, Mapping) else {}
