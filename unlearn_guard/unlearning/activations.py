"""What passes through one module of a model: the output of a layer, or the input of a linear one, with gradient."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.errors import UsageError
from unlearn_guard.unlearning.corpora import Batch, Text, batch


def leaving(model: PreTrainedModel, asked: Batch, module: str) -> Tensor:
    """What the named module returns on a batch, in fp32 [B, T, D]."""
    found: list[Tensor] = []

    def hook(_module: torch.nn.Module, _arguments: tuple[object, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)

    handle = model.get_submodule(module).register_forward_hook(hook)
    return _seen(model, asked, module, found, handle)


def entering(model: PreTrainedModel, asked: Batch, module: str) -> Tensor:
    """What the named module is given on a batch, in fp32 [B, T, D]."""
    found: list[Tensor] = []

    def hook(_module: torch.nn.Module, arguments: tuple[Tensor, ...]) -> None:
        found.append(arguments[0])

    handle = model.get_submodule(module).register_forward_pre_hook(hook)
    return _seen(model, asked, module, found, handle)


@torch.no_grad()
def at_last(
    model: PreTrainedModel,
    texts: Sequence[Text],
    read: Callable[[PreTrainedModel, Batch, str], Tensor],
    module: str,
    rows: int,
) -> Tensor:
    """What `leaving` or `entering` reads at the last position of each text's prompt, `rows` texts at a time [N, D].

    A text that counts from its second token on has no prompt: its own last position is taken.
    """
    found = []
    for first in range(0, len(texts), rows):
        part = texts[first : first + rows]
        asked = batch(part, range(len(part)), model.device)
        places = [(each.start if each.start > 1 else len(each.ids)) - 1 for each in part]
        found.append(read(model, asked, module)[torch.arange(len(part)), places])
    return torch.cat(found)


def _seen(
    model: PreTrainedModel,
    asked: Batch,
    module: str,
    found: list[Tensor],
    handle: torch.utils.hooks.RemovableHandle,
) -> Tensor:
    """Run the model once; the logits are of no use here, so only one position's are computed."""
    with handle:
        model(input_ids=asked.ids_BT, attention_mask=asked.mask_BT, use_cache=False, logits_to_keep=1)
    if len(found) != 1 or found[0].shape[:2] != asked.ids_BT.shape:
        raise UsageError(
            f"{module} of {type(model).__name__} saw {[tuple(one.shape) for one in found]}; "
            f"expected one tensor of {tuple(asked.ids_BT.shape)} positions"
        )
    return found[0].float()
