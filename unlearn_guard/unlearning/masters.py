"""AdamW on fp32 copies of what is trained, and of nothing else.

The model keeps its own dtype. Of an 8 B model in bf16 whose circuit is 3 % of the weights, the copies, their
gradients and both moments take 16 bytes for each weight of the circuit, not for each weight of the model.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.errors import NonFiniteError, UsageError, near, needed


class Masters:
    """The trained tensors in fp32, their gradients, and the optimizer; the model follows, rounded to its dtype.

    While it is open only the named tensors require a gradient, and each gradient is moved into its fp32 sum as soon
    as it is there. Raises UsageError for a name that the model does not have, or no name at all.
    """

    def __init__(self, model: PreTrainedModel, trained: Sequence[str], *, weight_decay: float) -> None:
        parameters = dict(model.named_parameters())
        unknown = [name for name in trained if name not in parameters]
        if unknown or not trained:
            raise UsageError(
                f"the method trains {unknown[0] if unknown else 'nothing'}, which the model does not have",
                fix=near(unknown[0], parameters) if unknown else "",
            )
        model.requires_grad_(False)
        self._parameters = {name: parameters[name].requires_grad_(True) for name in trained}
        self.weights = {name: one.detach().to(torch.float32, copy=True) for name, one in self._parameters.items()}
        self.gradients = {name: torch.zeros_like(master) for name, master in self.weights.items()}
        for name, master in self.weights.items():
            master.grad = self.gradients[name]
        self._handles = [one.register_post_accumulate_grad_hook(self._take(n)) for n, one in self._parameters.items()]
        self._adam = torch.optim.AdamW(self.weights.values(), lr=0.0, weight_decay=weight_decay, fused=True)

    def _take(self, name: str) -> "_Taker":
        return _Taker(self.gradients[name])

    def step(self, lr: float, clip: float | None) -> None:
        """One update from the gradients as they stand, which are zero afterwards. Raises NonFiniteError."""
        norm = torch.nn.utils.get_total_norm(self.gradients.values())
        if not norm.isfinite():
            raise NonFiniteError("a gradient is NaN or infinite", fix="Lower lr, or set clip.")
        if clip is not None:
            torch.nn.utils.clip_grads_with_norm_(self.weights.values(), clip, norm)
        self._adam.param_groups[0]["lr"] = lr
        self._adam.step()
        for gradient in self.gradients.values():
            gradient.zero_()
        self.write()

    @torch.no_grad()
    def write(self) -> None:
        """Put the fp32 weights into the model, rounded to its dtype."""
        for name, parameter in self._parameters.items():
            parameter.copy_(self.weights[name])

    def close(self) -> None:
        """Leave the model without hooks, and with nothing that requires a gradient."""
        for handle in self._handles:
            handle.remove()
        for parameter in self._parameters.values():
            parameter.requires_grad_(False)
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Everything a resumed training needs of this, by name."""
        held = {f"weight.{name}": master for name, master in self.weights.items()}
        for name, master in self.weights.items():
            held |= {f"{key}.{name}": value for key, value in self._adam.state.get(master, {}).items()}
        return held

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go back to what `state` returned."""
        for name, master in self.weights.items():
            master.copy_(state[f"weight.{name}"])
            self._adam.state[master] = {
                key: state[f"{key}.{name}"].to(master.device, copy=True) for key in ("step", "exp_avg", "exp_avg_sq")
            }
        self.write()


class _Taker:
    """Adds a parameter's gradient to its fp32 sum, and frees it."""

    def __init__(self, total: Tensor) -> None:
        self._total = total

    def __call__(self, parameter: Tensor) -> None:
        self._total.add_(needed(parameter.grad, "a parameter's gradient"))
        parameter.grad = None
