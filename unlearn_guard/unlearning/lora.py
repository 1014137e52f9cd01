"""`unlearn --lora`: the same method trains a LoRA adapter and leaves base's weights alone.

Only a method that is a loss can: one that picks base's tensors, shapes their gradients or edits them itself has nothing
to do on an adapter.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from unlearn_guard.errors import NonFiniteError, UsageError
from unlearn_guard.unlearning.candidate import MANIFEST
from unlearn_guard.unlearning.family import Family

_CHOOSES = "it chooses which of base's tensors to train"
_SHAPES = "it shapes the gradients of base's weights"
_EDITS = "it edits base's weights itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """`alpha` / `r` scales the products; none is twice the rank. `targets`: names of modules, or every linear layer."""

    r: int = 16
    alpha: float | None = None
    targets: str = "all-linear"

    def __post_init__(self) -> None:
        if self.r < 1 or (self.alpha is not None and not 0 < self.alpha < inf) or not self.targets:
            raise UsageError(f"r, alpha or targets is out of range: {self}")

    @property
    def settings(self) -> dict[str, Any]:
        """By the names of peft."""
        given = [each.strip() for each in self.targets.split(",") if each.strip()]
        return {
            "r": self.r,
            "lora_alpha": 2 * self.r if self.alpha is None else self.alpha,
            "target_modules": self.targets if self.targets == "all-linear" else given,
            "task_type": "CAUSAL_LM",
        }


def assert_trains_adapters(method: type[Any], name: str) -> None:
    """Raise UsageError where a method cannot train an adapter, with the reason."""
    if not issubclass(method, Family):
        reason = _EDITS
    elif method.trained is not Family.trained:
        reason = _CHOOSES
    elif method.shapes is not Family.shapes:
        reason = _SHAPES
    else:
        return
    raise UsageError(
        f"method {name} cannot make a LoRA adapter: {reason}",
        fix="Leave --lora out, or take a method that is a loss alone, such as npo, simnpo or grad_diff.",
    )


def adapted(model: PreTrainedModel, lora: Lora, base: str) -> Any:
    """Peft's model around this one, which has the adapter's layers inside from now on: nothing is added yet.

    The factors are float32 whatever base is stored in. `base` is what the adapter's config will name.
    """
    from peft import LoraConfig, get_peft_model

    try:
        made = get_peft_model(model, LoraConfig(**lora.settings, base_model_name_or_path=base))
    except ValueError as error:
        text = " ".join(str(error).split())[:300]
        raise UsageError(f"--lora: peft refuses it on this base: {text}", fix="Give targets that base has.") from error
    made.peft_config["default"].base_model_name_or_path = base
    for name, parameter in made.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
    return made.eval()


def write_adapter(made: Any, out: Path, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Write the adapter to the new directory `out` as peft does; returns the names of the layers that it changes.

    Raises UsageError where it changes none, NonFiniteError where a factor is no number, OSError.
    """
    factors = {name: each for name, each in made.named_parameters() if "lora_" in name}
    for name, each in factors.items():
        if not bool(torch.isfinite(each).all()):
            raise NonFiniteError(f"{name} is not finite after unlearning", fix="The training diverged: lower lr.")
    changed = [name for name, each in factors.items() if "lora_B" in name and bool(each.count_nonzero())]
    if not changed:
        raise UsageError("the method changed no weight", fix="Give it more steps or a larger lr with --set.")
    made.save_pretrained(out, save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)  # a form that nobody has filled in
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return tuple(name.partition(".lora_B")[0].removeprefix("base_model.model.") for name in changed)


def described(lora: Lora | None) -> dict[str, Any]:
    """What a manifest says of it among the method's hyperparameters."""
    return {} if lora is None else {"lora": asdict(lora)}
