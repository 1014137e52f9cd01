"""What a step of `unlearn` costs against a plain torch loop of the same batches and optimizer, and MANSU's looks.

    OMP_NUM_THREADS=1 python -m benchmarks.unlearning --base DIR --suite NAME [--steps 6] [--method npo] [--keep]

Both loops train every tensor by NPO with KL to base on the retain texts, from the same texts in the same order, with
AdamW on fp32 copies. The plain one holds base as a second model, as a script would. Their losses have to agree.
Then MANSU, a few steps, timed by what it says it begins: how much of it is looks and Fisher information.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import torch
from torch.nn.functional import kl_div, logsigmoid
from transformers import AutoModelForCausalLM

from benchmarks.ledger import Cost, cost, keep
from unlearn_guard.intake import open_tokenizer
from unlearn_guard.registry import method
from unlearn_guard.scoring.head import in_one_piece
from unlearn_guard.scoring.suites import load_suite
from unlearn_guard.unlearning.corpora import Corpora, batch, deal
from unlearn_guard.unlearning.making import UnlearnRequest, _corpora
from unlearn_guard.unlearning.session import Session, opened

BETA = 0.1


class Clock:
    """Seconds of processor in each thing that a method says it begins."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)
        self._what, self._since = "start", time.process_time()

    def begin(self, text: str) -> None:
        now = time.process_time()
        self.spent[self._what] += now - self._since
        self._what, self._since = text, now

    def advance(self, done: int, of: int) -> None:
        pass

    def losses(self, forget: float, retain: float | None) -> None:
        pass


def load(base: Path):
    """As `unlearn` loads it."""
    return AutoModelForCausalLM.from_pretrained(base, dtype="auto", attn_implementation="eager").eval()


def ours(base: Path, corpora: Corpora, how) -> tuple[Cost, list[tuple[float, float]]]:
    model, session = load(base), Session()
    with opened(session):
        spent = cost(lambda: how.unlearn(model, corpora, seed=0))
    return spent, [(each.forget, each.retain) for each in session.curve]


def plain(base: Path, corpora: Corpora, how) -> tuple[Cost, list[tuple[float, float]]]:
    """As one would write it for this method alone."""
    model, frozen = load(base).requires_grad_(True), load(base)
    losses: list[tuple[float, float]] = []
    for each in (model, frozen):
        in_one_piece(each)  # or the script would lose by a slip of torch's that has nothing to do with us

    def logits(of, asked):
        kept = asked.ids_BT.shape[1] - asked.first + 1
        out = of(input_ids=asked.ids_BT, attention_mask=asked.mask_BT, use_cache=False, logits_to_keep=kept).logits
        return out[:, :-1].float().log_softmax(-1)

    def nll(logp, asked):
        picked = logp.gather(-1, asked.ids_BT[:, asked.first :, None])[..., 0]
        return -(picked * asked.counted_BT[:, asked.first :]).sum(1)

    def train() -> None:
        weights = list(model.parameters())
        masters = [each.detach().float() for each in weights]
        adam = torch.optim.AdamW(masters, lr=0.0, weight_decay=how.weight_decay, fused=True)
        for step in range(how.steps):
            asked = batch(corpora.forget, deal(len(corpora.forget), how.batch_size, step, 0), model.device)
            with torch.no_grad():
                before = nll(logits(frozen, asked), asked)
            forget = -2 / BETA * logsigmoid(BETA * (nll(logits(model, asked), asked) - before)).mean()
            forget.backward()
            asked = batch(corpora.retain, deal(len(corpora.retain), how.batch_size, step, 0), model.device)
            with torch.no_grad():
                goal = logits(frozen, asked)
            counted = asked.counted_BT[:, asked.first :]
            each = kl_div(logits(model, asked), goal, log_target=True, reduction="none").sum(-1)
            retain = (each * counted).sum() / counted.sum()
            (retain * how.retain).backward()
            for master, weight in zip(masters, weights, strict=True):
                master.grad, weight.grad = weight.grad.float(), None
            torch.nn.utils.clip_grad_norm_(masters, how.clip)
            adam.param_groups[0]["lr"] = how.rate(step)
            adam.step()
            with torch.no_grad():
                for master, weight in zip(masters, weights, strict=True):
                    weight.copy_(master)
            losses.append((forget.item(), retain.item()))

    return cost(train), losses


def mansu(base: Path, corpora: Corpora, steps: int) -> dict[str, float]:
    """Seconds of processor in each phase; `looks` are those inside the training."""
    import unlearn_guard.unlearning.best as best

    clock, looked = Clock(), [0.0]
    whole = best.accuracy

    def timed(*arguments, **options):
        begin = time.process_time()
        try:
            return whole(*arguments, **options)
        finally:
            looked[0] += time.process_time() - begin

    best.accuracy = timed
    model = load(base)
    how = method("mansu")(steps=steps, batch_size=16, look=max(1, steps // 2), drop=1.0, weighed=128)
    with opened(Session(listener=clock)):
        how.unlearn(model, corpora, seed=0)
    clock.begin("end")
    best.accuracy = whole
    found = dict(clock.spent)
    found["ascend"] -= looked[0]
    return {**found, "looks": looked[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--mansu-steps", type=int, default=0)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    request = UnlearnRequest(method="npo", base=str(given.base), suite=given.suite, out=Path("never-written"))
    corpora = _corpora(request, load_suite(given.suite, ()), open_tokenizer(given.base))
    how = method("npo")(steps=given.steps, batch_size=16, retain_loss="kl", beta=BETA)
    theirs, expected = plain(given.base, corpora, how)
    mine, found = ours(given.base, corpora, how)
    apart = max(abs(a - b) for one, other in zip(found, expected, strict=True) for a, b in zip(one, other, strict=True))
    figures = {
        "steps": given.steps,
        "ours_busy": mine.busy,
        "plain_busy": theirs.busy,
        "ratio": mine.busy / theirs.busy,
        "loss_apart": apart,
    }
    for name, value in figures.items():
        print(f"{name:20}{value:12.4f}", flush=True)
    if given.mansu_steps:
        for name, seconds in mansu(given.base, corpora, given.mansu_steps).items():
            figures[f"mansu_{name}"] = seconds
            print(f"mansu_{name:14}{seconds:12.4f}")
    if given.keep:
        print(keep("unlearning", figures))


if __name__ == "__main__":
    main()
