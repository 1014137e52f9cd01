"""How much each weight matters to what should stay: the diagonal of the retain Fisher information.

The empirical one, from true per-example squares: F_i = mean over texts of (d log p(text) / d w_i)^2. The square of a
batch's gradient is another number, as texts cancel in it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from unlearn_guard.errors import NonFiniteError, UsageError
from unlearn_guard.unlearning.corpora import Text, batch
from unlearn_guard.unlearning.scoring import score
from unlearn_guard.unlearning.session import current

_INFINITY = 0x7F800000  # the bit pattern; above it lie the NaNs


def fisher(model: PreTrainedModel, texts: Sequence[Text], names: Sequence[str], *, rows: int = 8) -> dict[str, Tensor]:
    """The Fisher diagonal of each named linear weight or stack of experts, fp32, of the weight's shape.

    One backward pass for `rows` texts: of a linear layer, example b's gradient is D_b^T X_b, with X what went in and D
    the gradient of what came out. Neither `rows` nor padding changes the numbers. Memory: these tensors, one more of
    the largest, and the inputs of the named layers. A stack of experts sees some tokens of each text: its gradient is
    taken one text at a time. The model is left as it was.

    Raises UsageError for a name that is no linear layer's weight or a layer that the texts do not pass once, and
    NonFiniteError.
    """
    stacks = {name: one for name, one in model.named_parameters() if name in set(names) and one.dim() == 3}
    layers = _linears(model, [name for name in names if name not in stacks])
    if not names:
        raise UsageError("the Fisher information of no weight is asked for")
    found = {name: torch.zeros_like(model.get_parameter(name), dtype=torch.float32) for name in names}
    seen = dict.fromkeys(layers, 0)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place].ids))
    with _frozen(model), _squaring(layers, found, seen):
        for start in range(0, len(order), rows):
            asked = batch(texts, order[start : start + rows], model.device)
            total = score(model, asked).nll_B.sum()
            if total.requires_grad:
                total.backward()
            done = start + len(asked.index)
            strange = [name for name in layers if seen[name] != done]
            if strange:
                raise UsageError(f"{strange[0]} is not used exactly once for a text: its gradient is not known")
            current().advance(done, len(texts))
        _square_stacks(model, texts, stacks, found)
    for name, squares in found.items():
        squares /= len(texts)
        if not squares.isfinite().all():
            raise NonFiniteError(f"the Fisher information of {name} is NaN or infinite", fix="Load the model in fp32.")
    return found


def _linears(model: PreTrainedModel, names: Sequence[str]) -> dict[str, nn.Linear]:
    modules = dict(model.named_modules())
    found = {}
    for name in names:
        layer = modules.get(name.removesuffix(".weight"))
        if not isinstance(layer, nn.Linear) or not name.endswith(".weight"):
            raise UsageError(f"{name} is not the weight of a linear layer: its Fisher information cannot be had here")
        found[name] = layer
    return found


def _square_stacks(
    model: PreTrainedModel, texts: Sequence[Text], stacks: Mapping[str, nn.Parameter], found: Mapping[str, Tensor]
) -> None:
    """Add each text's squared gradient of each stack of experts to `found`; a stack that routes nothing has none."""
    if not stacks:
        return
    for place in range(len(texts)):
        for one in stacks.values():
            one.requires_grad_(True)
        total = score(model, batch(texts, [place], model.device)).nll_B.sum()
        gradients = torch.autograd.grad(total, [*stacks.values()], allow_unused=True)
        for name, gradient in zip(stacks, gradients, strict=True):
            if gradient is not None:
                found[name].addcmul_(gradient.float(), gradient.float())
    for one in stacks.values():
        one.requires_grad_(False)


@contextmanager
def _frozen(model: PreTrainedModel) -> Iterator[None]:
    """Evaluation mode, no parameter with a gradient; as it was at the end."""
    mode, wanted = model.training, [one for one in model.parameters() if one.requires_grad]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(mode)
        for one in wanted:
            one.requires_grad_(True)


@contextmanager
def _squaring(layers: Mapping[str, nn.Linear], found: Mapping[str, Tensor], seen: dict[str, int]) -> Iterator[None]:
    """While open, a backward pass adds each example's squared gradient to `found`, and its examples to `seen`."""

    def listen(name: str) -> Any:
        def forward(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            x_BTI = args[0].detach()
            if not output.requires_grad:
                output.requires_grad_(True)  # nothing before the first named layer needs a backward pass
            output.register_hook(lambda d_BTO: add(name, d_BTO, x_BTI))

        return forward

    def add(name: str, d_BTO: Tensor, x_BTI: Tensor) -> None:
        for d_TO, x_TI in zip(d_BTO, x_BTI, strict=True):
            gradient_OI = d_TO.float().T @ x_TI.float()
            found[name].addcmul_(gradient_OI, gradient_OI)
        seen[name] += len(d_BTO)

    handles = [layer.register_forward_hook(listen(name)) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def quantile(tensors: Iterable[Tensor], share: float) -> float:
    """The smallest of all values that at least `share` of them do not exceed. Exact; fp32 values of 0 or more.

    Numbers of a common sign are ordered as their bit patterns are, so the value is found by two counts, of the upper 16
    bits and of the lower, without sorting or joining the tensors: a billion weights cost no more memory than the counts
    of one tensor. Raises UsageError for no value or a share outside (0, 1].
    """
    held = [each.detach().contiguous().view(torch.int32).view(-1) for each in tensors]
    if not 0 < share <= 1 or not sum(map(len, held)):
        raise UsageError(f"the quantile {share} of {sum(map(len, held))} values does not exist")
    if any(int(each.min()) < 0 or int(each.max()) > _INFINITY for each in held if len(each)):
        raise UsageError("a quantile is asked for among values of which one is negative or no number")
    wanted = math.ceil(share * sum(map(len, held)))
    upper = sum(
        (torch.bincount(each >> 16, minlength=1 << 15) for each in held), start=held[0].new_zeros(1 << 15).long()
    )
    place, before = _reached(upper, wanted)
    chosen = ((each[(each >> 16) == place] & 0xFFFF) for each in held)
    lower = sum((torch.bincount(each, minlength=1 << 16) for each in chosen), start=held[0].new_zeros(1 << 16).long())
    rest, _ = _reached(lower, wanted - before)
    return torch.tensor((place << 16) | rest, dtype=torch.int32).view(torch.float32).item()


def _reached(counts: Tensor, wanted: int) -> tuple[int, int]:
    """The first bin by whose end `wanted` values have come, and how many came before it."""
    sums = counts.cumsum(0)
    place = int(torch.searchsorted(sums, wanted))
    return place, int(sums[place] - counts[place])
