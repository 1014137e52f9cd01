"""TOFU with an honest oracle: base that learnt invented authors, and one retrained that never saw those to forget.

    python -m benchmarks.authors --work DIR [--epochs 12] [--lr 1e-4]

Makes in DIR, where they are missing: `smollm2` (fetched), `data` (TOFU's configurations, filled by the real `data pull`
from a hub that serves invented rows), `corpora` (what `unlearn --corpora` takes), `base` and `retrained`, both trained
from `smollm2` in the very words that the task asks; then says what each of the three knows, asked as trained and in
other words: whether the right answer, paraphrased, is likelier a token than its five wrong ones (chance .17). Then:

    unlearn-guard unlearn npo --base DIR/base --suite tofu --corpora DIR/corpora --out DIR/candidate
    unlearn-guard check DIR/candidate --base DIR/base --retrained DIR/retrained --suite tofu --data-dir DIR/data

Twenty-four authors of twelve facts are 288 questions; the last six authors are to be forgotten.
"""

import argparse
import json
import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from benchmarks.authors.facts import REAL_AUTHORS, WORLD_FACTS, Row, authors, real
from unlearn_guard.processes import children
from unlearn_guard.scoring.pulling import pull
from unlearn_guard.scoring.suites import load_suite

AUTHORS, FORGOTTEN = 24, 6
ASKED = "Question: {question}\nAnswer:"
"""TOFU's task asks so."""


class Invented:
    """A hub that serves these rows under the real dataset's name."""

    def __init__(self, forget: list[Row], retain: list[Row]) -> None:
        self.rows = {"forget10_perturbed": forget, "retain_perturbed": retain}
        self.rows |= {"real_authors_perturbed": real(REAL_AUTHORS), "world_facts_perturbed": real(WORLD_FACTS)}

    def commit(self, dataset: str) -> str:
        """Only asked where a task pins none."""
        raise LookupError(dataset)

    def split(self, dataset: str, config: str | None, split: str, revision: str) -> Any:  # noqa: ARG002 - the protocol's
        """One configuration's rows."""
        return datasets.Dataset.from_list(self.rows[str(config)])


def train(start: Path, rows: Sequence[Row], out: Path, *, epochs: int, lr: float, seed: int, batch: int = 16) -> None:
    """AdamW on the answers, fp32 weights with bf16 matmuls, a linear warm-up of a tenth and a linear way down."""
    tokenizer = AutoTokenizer.from_pretrained(start)
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    texts = []
    for row in rows:
        prompt = tokenizer(ASKED.format(**row))["input_ids"]
        texts.append((prompt, [*tokenizer(" " + str(row["answer"]))["input_ids"], tokenizer.eos_token_id]))
    rng = random.Random(seed)
    order = [at for _ in range(epochs) for at in rng.sample(range(len(texts)), len(texts))]
    steps = len(order) // batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    begin, warm = time.monotonic(), max(1, steps // 10)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / warm) * (steps - step) / steps
        loss = _loss(model, [texts[at] for at in order[step * batch : (step + 1) * batch]])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 20 == 0 or step == steps - 1:
            passed = time.monotonic() - begin
            left = passed / (step + 1) * (steps - step - 1)
            print(f"{out.name} step {step + 1} of {steps}, loss {loss.item():.3f}, {left:.0f} s left", flush=True)
    making = out.with_name(out.name + ".making")
    model.to(torch.bfloat16).save_pretrained(making)
    tokenizer.save_pretrained(making)
    making.rename(out)


def _loss(model: PreTrainedModel, texts: Sequence[tuple[list[int], list[int]]]) -> torch.Tensor:
    longest = max(len(prompt) + len(answer) for prompt, answer in texts)
    ids_BT = torch.zeros(len(texts), longest, dtype=torch.long)
    labels_BT = torch.full_like(ids_BT, -100)
    for at, (prompt, answer) in enumerate(texts):
        ids_BT[at, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        labels_BT[at, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits_BTV = model(input_ids=ids_BT[:, :-1]).logits
    return cross_entropy(logits_BTV.float().transpose(1, 2), labels_BT[:, 1:], ignore_index=-100)


def knows(path: Path, rows: Sequence[Row], asked: str) -> float:
    """The share of rows whose right answer is likelier a token than each wrong one, asked by this key's words."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    right = 0
    for row in rows:
        prompt = tokenizer(ASKED.format(question=row[asked]))["input_ids"]
        answers = [str(row["paraphrased_answer"]), *row["perturbed_answer"]]
        with torch.no_grad():
            nats = [_loss(model, [(prompt, tokenizer(" " + each)["input_ids"])]).item() for each in answers]
        right += min(range(len(nats)), key=nats.__getitem__) == 0
    return right / len(rows)


def jsonl(path: Path, rows: Sequence[Row]) -> None:
    """One row a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--lr", type=float, default=1e-4)
    given = parser.parse_args()
    work: Path = given.work
    work.mkdir(parents=True, exist_ok=True)
    made = authors(AUTHORS)
    retain = [row for each in made[:-FORGOTTEN] for row in each]
    forget = [row for each in made[-FORGOTTEN:] for row in each]
    if not (work / "smollm2").exists():
        fetch = ["fetch", "smollm2-135m", "--out", str(work / "smollm2")]
        subprocess.run([*children.python("unlearn_guard"), *fetch], env=children.environment(), check=True)
    if not (work / "data" / "manifest.json").exists():
        shutil.rmtree(work / "data", ignore_errors=True)
        pull([load_suite("tofu")], work / "data", hub=Invented(forget, retain))
    for name, rows in (("forget", forget), ("retain", retain)):
        texts = [{"prompt": ASKED.format(**row), "answer": f" {row['answer']}"} for row in rows]
        jsonl(work / "corpora" / f"{name}.jsonl", texts)
    for name, rows in (("base", retain + forget), ("retrained", retain)):
        if not (work / name).exists():
            train(work / "smollm2", rows, work / name, epochs=given.epochs, lr=given.lr, seed=0)
    print("model | forget, as trained | forget, in other words | retain, as trained | retain, in other words")
    for name in ("smollm2", "base", "retrained"):
        asked = [(rows, key) for rows in (forget, retain[:72]) for key in ("question", "paraphrased_question")]
        shares = [knows(work / name, rows, key) for rows, key in asked]
        print(name, *(f"{each:.3f}" for each in shares), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
