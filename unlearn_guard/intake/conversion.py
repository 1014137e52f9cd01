"""What tensors on disk become by transformers' conversions: the rows of one parameter, or of several.

A converter is asked with numbered rows in the place of weights. Experts that lie one by one make one parameter; a
projection that is stored whole makes one for each of its parts.
"""

import bisect
import copy
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unlearn_guard.intake.blueprint import Blueprint, config_errors
from unlearn_guard.intake.defects import listed, refusal, shown
from unlearn_guard.intake.weights import Tensor
from unlearn_guard.records import Span, StoredTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A tensor on disk that becomes a parameter, or several, alone or with others by one of transformers' converters.

    `renamed` is the first parameter's name, and `pattern` the one of the converter's that the name on disk fits.
    """

    tensor: Tensor
    converter: Any
    pattern: str
    renamed: str


def targets(name: str, parts: Sequence[Part]) -> list[str]:
    """The parameters that these tensors should make, `name` first, as transformers would name them."""
    if parts[0].converter is None:
        return [name]
    first, *others = parts[0].converter.target_patterns
    return [name, *(name.replace(first, each) for each in others)]


def assemble(name: str, parts: Sequence[Part], plan: Blueprint) -> dict[str, list[StoredTensor]]:
    """The parameters that these tensors make, by name. Raises CheckpointError where they make none.

    Where a converter does more than put rows in another order (a transposition), no span says where a parameter's
    bytes are: the parts then stand under names of their own, `PARAMETER|NAME ON DISK`, and are compared one by one.
    """
    first = parts[0].tensor
    if len({id(each.converter) for each in parts}) > 1 or (parts[0].converter is None and len(parts) > 1):
        raise refusal(f"tensor {shown(name)}", f"{len(parts)} tensors that become it: {_named(parts)}", "one")
    if parts[0].converter is None:
        if first.shape != plan.shapes[name]:
            expected = f"shape {list(plan.shapes[name])}"
            raise refusal(f"tensor {shown(first.name)}", f"shape {list(first.shape)}", expected)
        return {name: [_whole(name, first)]}
    if len({each.tensor.dtype for each in parts}) > 1:
        kinds = ", ".join(sorted({each.tensor.dtype for each in parts}))
        raise refusal(f"tensor {shown(name)}", f"parts of different dtypes ({kinds})", "one dtype")
    made = _assert_shapes(name, parts, plan)
    if (rows := _rows(name, parts, made, plan)) is None:
        return {each: [] for each in made} | {
            name: [_whole(f"{name}|{part.tensor.name}", part.tensor) for part in parts]
        }
    return {
        each: [StoredTensor(name=each, dtype=first.dtype, shape=plan.shapes[each], spans=tuple(_spans(found, parts)))]
        for each, found in rows.items()
    }


def _named(parts: Sequence[Part]) -> str:
    return listed([part.tensor.name for part in parts], most=4)


def _whole(name: str, tensor: Tensor) -> StoredTensor:
    spans = (Span(file=tensor.file, start=tensor.start, stop=tensor.stop),)
    return StoredTensor(name=name, dtype=tensor.dtype, shape=tensor.shape, spans=spans)


def _assert_shapes(name: str, parts: Sequence[Part], plan: Blueprint) -> list[str]:
    """The names of what these tensors make, each of the shape that the model has."""
    import torch

    made = _convert(name, parts, plan, [torch.empty(part.tensor.shape, device="meta") for part in parts])
    for each, found in {name: None, **made}.items():
        shape = None if found is None else tuple(found.shape)
        if each not in plan.shapes or shape != plan.shapes[each]:
            what = "fit no conversion of transformers" if shape is None else f"make shape {list(shape)}"
            expected = f"shape {list(plan.shapes[each])}" if each in plan.shapes else "no such parameter"
            raise refusal(f"tensor {shown(each)}", f"{len(parts)} parts that {what}: {_named(parts)}", expected)
    return list(made)


def _rows(name: str, parts: Sequence[Part], names: Sequence[str], plan: Blueprint) -> dict[str, list[int]] | None:
    """The rows of each parameter, counted over all tensors that make them; None where rows do not tell."""
    import torch

    tensors, counts = [part.tensor for part in parts], [math.prod(_by_row(part.tensor.shape)) for part in parts]
    numbers = torch.arange(sum(counts)).split(counts)
    shaped = [each.reshape(_by_row(tensor.shape)) for each, tensor in zip(numbers, tensors, strict=True)]
    made = _convert(name, parts, plan, shaped)
    rows = {each: found.reshape(-1).tolist() for each, found in made.items()}
    shapes = [tensor.shape for tensor in tensors] + [plan.shapes[each] for each in names]
    known = (
        {*made} == {*names}
        and len({tuple(shape[1:][-1:]) for shape in shapes}) == 1  # one width, which is none of a single axis
        and all(tuple(found.shape) == _by_row(plan.shapes[each]) for each, found in made.items())
        and sorted(row for found in rows.values() for row in found) == list(range(sum(counts)))  # none lost or doubled
        and not any(count and (each.stop - each.start) % count for each, count in zip(tensors, counts, strict=True))
    )
    return rows if known else None


def _by_row(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of one number a row. What has a single axis has a row for each element."""
    return tuple(shape) if len(shape) < 2 else (*shape[:-1], min(shape[-1], 1))


def _spans(rows: Sequence[int], parts: Sequence[Part]) -> Iterator[Span]:
    """Runs of neighbouring rows of one tensor, as bytes."""
    tensors, counts = [part.tensor for part in parts], [math.prod(_by_row(part.tensor.shape)) for part in parts]
    starts = [0, *itertools.accumulate(counts)]
    begin = 0
    while begin < len(rows):
        which = bisect.bisect_right(starts, rows[begin]) - 1
        tensor, first = tensors[which], rows[begin] - starts[which]
        end = begin + 1
        while end < len(rows) and rows[end] == rows[end - 1] + 1 and rows[end] != starts[which + 1]:
            end += 1
        width = (tensor.stop - tensor.start) // counts[which]
        start = tensor.start + first * width
        yield Span(file=tensor.file, start=start, stop=start + (end - begin) * width)
        begin = end


def _convert(name: str, parts: Sequence[Part], plan: Blueprint, values: Sequence[Any]) -> Mapping[str, Any]:
    """What transformers' converter makes of these values in the place of the parts; nothing where it refuses them."""
    converter = copy.deepcopy(parts[0].converter)
    for part, value in zip(parts, values, strict=True):
        converter.add_tensor(part.renamed, part.tensor.name, part.pattern, value)
    try:
        made = converter.convert(name, model=plan.model, config=plan.model.config)
    except config_errors():
        return {}
    return {each: found[0] if isinstance(found, list) else found for each, found in made.items()}
