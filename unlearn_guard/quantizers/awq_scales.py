"""AWQ's scales undone: input channels are multiplied before rounding, and what comes before them is divided.

What comes before is a norm, whose weights say the scale, or a layer, whose outputs are divided by it: both are sought
inside one block of the model. A scale that nothing undoes makes the layer another one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unlearn_guard.quantizers.packed import Grid

BETTER = 0.8
"""A scale is one only where it takes a fifth off what remains of the difference."""

ALIKE = 0.05
"""The median share by which two estimates of one scale may differ."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaled:
    """How a layer is scaled: its outputs by `rows`, its inputs by `columns`; `norm` is whose weights say so.

    `by_row` and `by_column` are the best such scales, whether or not they are large enough to be told from rounding.
    """

    rows: Tensor | None = None
    columns: Tensor | None = None
    norm: str | None = None
    by_row: Tensor | None = None
    by_column: Tensor | None = None

    def of(self, weight: Tensor) -> Tensor:
        """The weight [out, in] as it was rounded."""
        weight = weight if self.columns is None else weight * self.columns
        return weight if self.rows is None else weight * self.rows[:, None]


def fit(codes: Grid, weight: Tensor, norms: Mapping[str, Tensor]) -> Scaled:
    """The scaling that leaves least; `norms` are the scales that the block's norms would give, by name."""

    def left(each: Scaled) -> float:
        return _left(codes, each.of(weight))

    fitting = {name: scale for name, scale in norms.items() if scale.shape == weight.shape[1:]}
    known = [Scaled(), *(Scaled(columns=scale, norm=name) for name, scale in fitting.items())]
    by_rows = [replace(each, rows=_slope(codes.weight, each.of(weight), 1)) for each in known]
    by_column = _slope(codes.weight, weight, 0)
    best = min(known, key=left)
    other = min([*by_rows, Scaled(columns=by_column)], key=left)
    if left(other) < BETTER * left(best):
        best = other
    by_row = best.rows if best.rows is not None else _slope(codes.weight, best.of(weight), 1)
    return replace(best, by_row=by_row, by_column=by_column)


def alike(scaled: Scaled, codes: Grid, weight: Tensor, norms: Mapping[str, Tensor]) -> Scaled:
    """The scale of the same kind for another weight: as much is fitted, so that neither is favoured.

    `norms` are the scales that the other model's norms would give.
    """
    columns = None
    if scaled.norm is not None:
        columns = norms.get(scaled.norm)
    elif scaled.columns is not None:
        columns = _slope(codes.weight, weight, 0)
    found = Scaled(columns=columns, norm=scaled.norm)
    return found if scaled.rows is None else replace(found, rows=_slope(codes.weight, found.of(weight), 1))


def ratio(one: Tensor, other: Tensor, where_zero: Tensor | None = None) -> Tensor | None:
    """By what `one` is larger, as a scale: positive and finite, else None. Of two zeros nothing is known: 1."""
    both = (one == 0) & (other == 0)
    scale = torch.where(both, 1.0 if where_zero is None else where_zero, one / other)
    return scale if bool((scale.isfinite() & (scale > 0)).all()) else None


def not_undone(fits: Mapping[str, Scaled], block: Sequence[str]) -> Iterator[str]:
    """The layers of a block whose scale no norm and no other layer undoes."""
    for name in block:
        own, others = fits[name], [fits[each] for each in block if each != name]
        if own.rows is not None:
            undone = any(_undoes(other.by_column, own.rows) for other in others if other.norm is None)
        elif own.columns is not None and own.norm is None:
            undone = any(_undoes(own.columns, other.by_row) for other in others)
        else:
            continue
        if not undone:
            yield name


def _undoes(columns: Tensor | None, rows: Tensor | None) -> bool:
    """Whether the last outputs are divided by what these inputs are multiplied by."""
    if columns is None or rows is None or len(rows) < len(columns):
        return False
    product = (columns * rows[len(rows) - len(columns) :]).clamp(min=1e-12)
    return float(product.log().abs().median()) < ALIKE


def _slope(stands_for: Tensor, weight: Tensor, dim: int) -> Tensor:
    """By what each row (1) or column (0) is multiplied, by least squares; 1 where it is zero."""
    size = (weight * weight).sum(dim)
    slope = (stands_for * weight).sum(dim) / size.clamp(min=torch.finfo(torch.float32).tiny)
    return torch.where(size > 0, slope, 1.0)


def _left(codes: Grid, weight: Tensor) -> float:
    """The root mean square of the difference in steps, what is clipped counted as two."""
    step = codes.step.clamp(min=torch.finfo(torch.float32).tiny)
    return float(((codes.weight - weight) / step).clamp(-2, 2).square().mean().sqrt())
