"""The gradient of a loss over some texts, without a training."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.errors import NonFiniteError, UsageError
from unlearn_guard.unlearning.corpora import Batch


def gradient(
    model: PreTrainedModel, names: Sequence[str], term: Callable[[Batch], Tensor], batches: Iterable[Batch]
) -> dict[str, Tensor]:
    """Mean over the batches of the loss's gradient, by tensor, summed in fp32.

    The model comes out as it went in, with nothing that requires a gradient. Raises NonFiniteError, and UsageError
    where there is no batch or the loss does not depend on a tensor.
    """
    parameters = dict(model.named_parameters())
    model.requires_grad_(False)
    moving = [parameters[name].requires_grad_(True) for name in names]
    total = {name: torch.zeros_like(one, dtype=torch.float32) for name, one in zip(names, moving, strict=True)}
    count = 0
    try:
        for asked in batches:
            found = torch.autograd.grad(term(asked), moving, allow_unused=True)
            for name, one in zip(names, found, strict=True):
                if one is None:
                    raise UsageError(f"the loss does not depend on {name}: it has no gradient there")
                total[name].add_(one)
            count += 1
    finally:
        model.requires_grad_(False)
    if not count:
        raise UsageError("the gradient over no texts is not a number")
    for name, one in total.items():
        if not one.div_(count).isfinite().all():
            raise NonFiniteError(f"the gradient of {name} is NaN or infinite")
    return total
