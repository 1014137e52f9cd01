"""Relearning: a few steps on some of the facts, so that others can be asked for.

What was erased has to be learnt fact by fact; what is only suppressed comes back with facts that were never shown.
Source: Hu et al. 2024, arXiv 2406.13356; Deeb and Roger 2024, arXiv 2410.08827 (disjoint facts).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

WEIGHTS_LRS = (1e-4, 1e-3, 3e-3)
"""Of AdamW on all weights, where they are float32."""

ADAPTER_LRS = (3e-4, 3e-3, 1e-2)
"""Of AdamW on LoRA adapters in float32, where the weights are packed or too coarse for small steps."""

LOOKS = (5, 30)
"""After how many steps the others are asked."""

RANK = 16
BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Token ids of a question and of its right answer."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


def needs_adapters(model: nn.Module, *, quantized: bool) -> bool:
    """Whether adapters are trained: the weights are to stay in 4 bits, or small steps would be lost in their dtype."""
    return quantized or any(each.dtype != torch.float32 for each in model.parameters())


def relearn(
    model: Any, facts: Sequence[Fact], *, lr: float, adapters: bool, seed: int, looks: Sequence[int] = LOOKS
) -> Iterator[int]:
    """Train the model on these facts, and stop after each of the `looks`, whose number of steps is given.

    In place, AdamW without decay, each step over all facts; the loss is the mean over answers of the mean nats a token
    of the answer. All weights are trained, or LoRA `adapters` on every linear layer but the head. Between stops the
    model may be asked; dropout is off throughout.
    """
    torch.manual_seed(seed)
    model.requires_grad_(not adapters)
    if adapters:
        _add_adapters(model)
    trained = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.0)
    model.eval()
    for step in range(1, max(looks) + 1):
        optimizer.zero_grad()
        with torch.enable_grad():
            for start in range(0, len(facts), BATCH):
                part = facts[start : start + BATCH]
                (answer_loss(model, part) * len(part) / len(facts)).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if step in looks:
            yield step


def answer_loss(model: Any, facts: Sequence[Fact]) -> Tensor:
    """Mean over facts of the mean nats a token of the answer, given all before it."""
    device = model.get_input_embeddings().weight.device
    whole = [[*fact.prompt, *fact.answer] for fact in facts]
    longest = max(map(len, whole))
    ids_BT = torch.tensor([ids + [0] * (longest - len(ids)) for ids in whole], device=device)
    mask_BT = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for ids in whole], device=device)
    logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).logits.float()
    losses = []
    for logits_TV, ids, fact in zip(logits_BTV, whole, facts, strict=True):
        first = len(fact.prompt)
        target = torch.tensor(ids[first:], device=device)
        losses.append(functional.cross_entropy(logits_TV[first - 1 : len(ids) - 1], target))
    return torch.stack(losses).mean()


def _add_adapters(model: Any) -> None:
    """LoRA in float32 on every linear layer but the head, in place; everything else is frozen."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
    inject_adapter_in_model(config, model)
    for name, each in model.named_parameters():
        if "lora_" in name:
            each.data = each.data.float()
            each.requires_grad_(True)
