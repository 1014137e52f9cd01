"""A candidate with some of base put back: what a gate has to catch, made from the two models themselves."""

import torch
from torch import nn

from unlearn_guard.errors import MeasurementError


@torch.no_grad()
def mix(model: nn.Module, other: nn.Module, share: float) -> None:
    """(1 - share) * model + share * other, parameter by parameter, in place; computed in fp32.

    Raises MeasurementError where the two do not have the same parameters.
    """
    theirs = dict(other.named_parameters())
    ours = dict(model.named_parameters())
    if {name: each.shape for name, each in ours.items()} != {name: each.shape for name, each in theirs.items()}:
        raise MeasurementError("base and candidate cannot be mixed: they do not have the same parameters")
    for name, each in ours.items():
        each.copy_(torch.lerp(each.float(), theirs[name].to(each.device).float(), share))
