"""MANSU: unlearn in the causal circuit alone, off what retention needs, and beyond what 4 bits undo.

1. Localize: EAP-IG on the forget pairs; the k MLPs with the largest incoming attribution are the circuit.
2. Project: gradient ascent on the forget texts plus KL(base || model) on the retain texts, over the circuit's linear
   weights, without those whose retain Fisher information is above its 99th percentile; the best state is taken.
3. Floor: every update that is left is made to survive 4-bit quantization.

Source: arXiv 2605.15138, Section 4 (Eq. 4); the letters of the ablations are those of its Table 4. Ours, as its
appendices are not to be had: the learning rate and steps, the cell floor, `share` and `settle`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Literal, get_args, get_type_hints

import torch
from torch import Tensor
from transformers import PreTrainedModel

from unlearn_guard.attribution.circuit import default_size, mlp_circuit
from unlearn_guard.attribution.eap_ig import attribute
from unlearn_guard.errors import UsageError
from unlearn_guard.records import Role
from unlearn_guard.unlearning.best import Best, questions_of
from unlearn_guard.unlearning.corpora import Corpora, deal
from unlearn_guard.unlearning.family import Start, dpo_term, retain_term, simpo_term
from unlearn_guard.unlearning.fisher import fisher, quantile
from unlearn_guard.unlearning.floor import cell_floor, outside, paper_floor, reach
from unlearn_guard.unlearning.loop import UNSHAPED, Shape, Shapes, Term, Training, fit
from unlearn_guard.unlearning.losses import ascent, npo
from unlearn_guard.unlearning.masters import Masters
from unlearn_guard.unlearning.scoring import accuracy
from unlearn_guard.unlearning.session import current
from unlearn_guard.unlearning.tensors import depth, linears, mlps

PAIRS = 50
"""How many forget pairs the circuit is found on (Section 4, Phase 1)."""

Floor = Callable[[Tensor, Tensor], Tensor]
"""Base's weight and the edited one to what is stored."""

_FLOORS: Mapping[str, Floor] = {"cell": cell_floor, "paper": paper_floor}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mansu(Training):
    """`retain` weighs the KL term; `k` MLPs are the circuit, 10 of 32 by default; `tau` is the Fisher percentile.

    Ablations: `floor="none"` (A); `projection="none"` (B); `circuit="random"` (C i), drawn by the seed, and
    `"inverse"` (C ii), the k MLPs with least attribution; `projection="global"` (D), which trains every linear weight
    and masks by the Fisher information of all.

    `choose="best"` takes the state with the lowest forget accuracy among those looked at every `look` steps whose
    retain accuracy fell by at most `drop`, both on the corpora's questions; of equals the last.

    Gradient ascent is the paper's loss. It has no end: texts that are long forgotten crowd out those that are not.
    In its place `loss`, ours, may be one that leaves them be: `"npo"`, and for a corpus that says what to answer
    instead `"dpo"` or `"simpo"`, with `beta` and `gamma` as in the methods of these names.

    The cell floor moves many weights by up to half a cell, which can cost what should stay. Two means against it, ours:
    before the floor only the `share` of the weights that came nearest to another cell keep their updates, the others
    go back to base; after it training goes on for `settle` steps on those alone, each held outside base's cell. So few
    weights want a larger rate than all of them: `settle_lr`, where it is not `lr` too.
    """

    steps: int = 100
    lr: float = 1e-4
    batch_size: int = 8
    retain: float = 1.0
    k: int | None = None
    circuit: Literal["eap", "random", "inverse"] = "eap"
    projection: Literal["circuit", "none", "global"] = "circuit"
    tau: float = 0.99
    weighed: int = 512
    loss: Literal["ascent", "npo", "dpo", "simpo"] = "ascent"
    beta: float = 0.1
    gamma: float = 0.0
    floor: Literal["cell", "paper", "none"] = "cell"
    share: float = 1.0
    settle: int = 0
    settle_lr: float | None = None
    choose: Literal["best", "last"] = "best"
    look: int = 10
    drop: float = 0.08

    def __post_init__(self) -> None:
        Training.__post_init__(self)
        for name in ("circuit", "projection", "loss", "floor", "choose"):
            known = get_args(get_type_hints(Mansu)[name])
            if getattr(self, name) not in known:
                raise UsageError(f"{name} is {getattr(self, name)!r}", fix=f"It is one of {', '.join(known)}.")
        if not (
            0 < self.tau <= 1
            and 0 < self.share <= 1
            and self.settle >= 0
            and (self.settle_lr is None or 0 < self.settle_lr < inf)
            and min(self.look, self.weighed) >= 1
            and self.drop >= 0
            and self.beta > 0
        ):
            raise UsageError(f"tau, weighed, share, settle, settle_lr, look, drop or beta is out of range: {self}")
        if self.settle and self.floor != "cell":
            raise UsageError(f"settle trains above the cell floor, and floor is {self.floor}", fix="Set settle=0.")
        if self.weight_decay:
            raise UsageError("weight_decay would move the weights that the projection holds", fix="Leave it 0.")

    def unlearn(self, model: PreTrainedModel, corpora: Corpora, *, seed: int) -> None:
        """Localize, project, floor; see the module."""
        retained = self.retained(model, corpora)
        start = Start(model=model, corpora=corpora, trained=self.trained(model, corpora, seed))
        base = start.reference.weights
        shapes = UNSHAPED if self.projection == "none" else Shapes(total=self.mask(start, seed))
        self._train(start, "ascend", retained, shapes=shapes, seed=seed)
        if self.floor == "none":
            return
        current().begin("floor")
        weights = {name: each for name, each in model.named_parameters() if name in base}
        _keep_strongest(base, weights, self.share)
        _lay(_FLOORS[self.floor], base, weights)
        if self.settle:
            settled = replace(self, steps=self.settle, lr=self.lr if self.settle_lr is None else self.settle_lr)
            settled._train(start, "settle", retained, shapes=Shapes(project=_beyond(base, weights)), seed=seed)
            _lay(cell_floor, base, weights)

    def retained(self, model: PreTrainedModel, corpora: Corpora) -> float | None:
        """Base's accuracy on the retain questions; None where the last state is taken. Raises UsageError."""
        if self.choose == "last":
            return None
        questions_of(corpora, Role.FORGET)
        return accuracy(model.eval(), questions_of(corpora, Role.RETAIN))

    def trained(self, model: PreTrainedModel, corpora: Corpora, seed: int) -> tuple[str, ...]:
        """The linear weights of the circuit's MLPs; of everything when the projection is global."""
        return linears(model) if self.projection == "global" else mlps(model, self.layers(model, corpora, seed))

    def layers(self, model: PreTrainedModel, corpora: Corpora, seed: int) -> tuple[int, ...]:
        """Phase 1: the layers whose MLPs are the circuit. Raises UsageError without pairs that the model can answer."""
        size = default_size(depth(model)) if self.k is None else self.k
        if not 1 <= size <= depth(model):
            raise UsageError(f"k is {size}; the model has {depth(model)} MLPs")
        if self.circuit == "random":
            drawn = torch.randperm(depth(model), generator=torch.Generator().manual_seed(seed))
            return tuple(drawn[:size].tolist())
        if not corpora.pairs:
            raise UsageError(
                "the corpora have no prompt pairs, and the circuit is found on them",
                fix="Name a file of clean and corrupted prompts for the forget task; or circuit=random.",
            )
        current().begin("localize")
        scores = attribute(model, corpora.pairs[:PAIRS])
        clean, corrupted = float(scores.clean_N.mean()), float(scores.corrupted_N.mean())
        if clean <= max(0.0, corrupted):
            raise UsageError(
                f"base's answer is not better under clean prompts ({clean:.3f}) than under corrupted ones "
                f"({corrupted:.3f}): there is no circuit to find"
            )
        ranked = mlp_circuit(scores.edge_scores(subject="base", task="forget"), depth(model)).layers
        return ranked[:size] if self.circuit == "eap" else ranked[-size:]

    def mask(self, start: Start, seed: int) -> Shape:
        """Phase 2: what takes the gradient off the weights whose retain Fisher information is above its percentile.

        One percentile over all that is trained, not one a tensor.
        """
        current().begin("weigh")
        texts = start.corpora.retain
        drawn = deal(len(texts), min(self.weighed, len(texts)), 0, seed)
        found = fisher(start.model, [texts[place] for place in drawn], start.trained)
        limit = quantile(found.values(), self.tau)
        held = {name: each > limit for name, each in found.items()}

        def mask(gradients: Mapping[str, Tensor]) -> None:
            for name, gradient in gradients.items():
                gradient.masked_fill_(held[name], 0.0)

        return mask

    def forget_term(self, start: Start) -> Term:
        """The loss of a forget batch."""
        match self.loss:
            case "ascent":
                return lambda batch: ascent(start.score(batch))
            case "npo":
                base = start.reference
                return lambda batch: npo(start.score(batch), base.nll_B(batch), self.beta)
            case "dpo":
                return dpo_term(start, self.beta)
            case "simpo":
                return simpo_term(start, self.beta, self.gamma)

    def _train(
        self,
        start: Start,
        what: str,
        retained: float | None,
        *,
        shapes: Shapes,
        seed: int,
    ) -> None:
        """Ascend on the forget texts with KL on the retain texts, and leave the best state in the model."""
        current().begin(what)
        keeper = None
        if retained is not None:
            least, last = retained - self.drop, self.steps
            keeper = Best(start.model, start.corpora, start.trained, least=least, every=self.look, last=last)
        fit(
            start.model,
            start.corpora,
            self,
            trained=start.trained,
            forget=self.forget_term(start),
            retain=retain_term(start, "kl") if self.retain else None,
            retain_weight=self.retain,
            shapes=shapes,
            keeper=keeper,
            seed=seed,
        )
        if keeper is not None:
            keeper.restore()


@torch.no_grad()
def _keep_strongest(base: Mapping[str, Tensor], weights: Mapping[str, Tensor], share: float) -> None:
    """Put back to base's value all but this share of the weights: those whose updates came nearest to another cell."""
    if share == 1:
        return
    found = {name: reach(base[name], each) for name, each in weights.items()}
    least = quantile(found.values(), 1 - share)
    for name, each in weights.items():
        each.copy_(torch.where(found[name] > least, each, base[name]))


@torch.no_grad()
def _lay(floor: Floor, base: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> None:
    """Lay the floor under every weight, in place."""
    for done, (name, each) in enumerate(weights.items(), start=1):
        each.copy_(floor(base[name], each))
        current().advance(done, len(weights))


def _beyond(base: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Callable[[Masters], None]:
    """What keeps the fp32 weights of a floored edit outside base's cells, and those that are base's where they are."""
    bounds = {name: outside(base[name], each) for name, each in weights.items()}

    def project(masters: Masters) -> None:
        for name, each in masters.weights.items():
            each.clamp_(*bounds[name])

    return project


METHOD = Mansu
