"""Our LM against lm-eval's own HFLM, on the same requests and the same model.

    python -m benchmarks.scoring [--form lettered|worded|five-shot] [--items 3668] [--vocabulary 4096]
    python -m benchmarks.scoring --base DIRECTORY --suite NAME [--limit N]

Invented questions, or a suite's, each of its tasks. Prints the seconds of both, tokenizing and scoring, the ratio of
their processor seconds (a busy machine moves the others), and the largest difference of a log-likelihood; `--json FILE`
keeps them. `lettered` is WMDP's number and form, `worded` has stems of 12 tokens and choices of 1 to 4, `five-shot` is
MMLU's form: subjects of 20 questions of 100 tokens, each behind the same five examples.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.llama import random_llama
from unlearn_guard.intake import open_tokenizer
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.lm import GuardLM
from unlearn_guard.scoring.suites import load_suite
from unlearn_guard.scoring.tokens import Tokens

LETTERS = ("A", "B", "C", "D")
SUBJECT = 20


def make_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    words = ["<s>", "</s>", "<pad>", "<unk>", *LETTERS, "Answer:", *(f"w{index}" for index in range(vocabulary))]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words[:vocabulary])}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


class Invented:
    """Questions of words drawn from a vocabulary."""

    def __init__(self, vocabulary: int) -> None:
        self._draw = random.Random(0)
        self._vocabulary = vocabulary - 16

    def _words(self, count: int) -> str:
        return " ".join(f"w{self._draw.randrange(self._vocabulary)}" for _ in range(count))

    def requests(self, form: str, items: int) -> list[Instance]:
        asked = []
        before = ""
        for number in range(items):
            if form == "five-shot" and number % SUBJECT == 0:
                before = " ".join(f"{self._words(100)} Answer: {self._draw.choice(LETTERS)}" for _ in range(5)) + " "
            length = {"lettered": round(self._draw.gauss(148, 25)), "worded": 12, "five-shot": 100}[form]
            stem = self._words(length) if form == "worded" else f"{before}{self._words(length)} Answer:"
            choices = [self._words(self._draw.randint(1, 4)) for _ in LETTERS] if form == "worded" else LETTERS
            for index, choice in enumerate(choices):
                asked.append(Instance("loglikelihood", {}, (stem, f" {choice}"), index, metadata=(form, number, 1)))
        return asked


def suite_requests(name: str, limit: int | None) -> Iterator[tuple[str, list[Instance]]]:
    rendered = render(load_suite(name, ()), limit=limit, seed=0)
    for each in rendered.tasks:
        yield each.task.name, [request for item in each.items for request in item.requests]


def make_model(vocabulary: int, device: str) -> LlamaForCausalLM:
    """The shape of the embedded model organism: about a million weights beside the embeddings."""
    return random_llama(vocabulary=vocabulary, width=128, hidden=384, layers=4, heads=4, groups=4).to(device)


def time_both(model: Any, tokenizer: Any, requests: list[Instance], batch_size: int, device: str) -> dict[str, float]:
    """Seconds of wall clock and of processor, each model class after a warm-up, the reference first and last."""
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch_size, device=device)
    ours = GuardLM(model, Tokens(tokenizer), batch_size=batch_size, precision="full")
    for lm in (theirs, ours):
        lm.loglikelihood(requests[:8], disable_tqdm=True)
    wall = {"HFLM": 0.0, "ours": 0.0}
    busy = dict(wall)
    answers = {}
    for name, lm in (("HFLM", theirs), ("ours", ours), ("ours", ours), ("HFLM", theirs)):
        start, begin = time.perf_counter(), time.process_time()
        answers[name] = lm.loglikelihood(requests, disable_tqdm=True)
        wall[name] += (time.perf_counter() - start) / 2
        busy[name] += (time.process_time() - begin) / 2
    moved = max(abs(one[0] - other[0]) for one, other in zip(answers["HFLM"], answers["ours"], strict=True))
    return {
        "requests": len(requests),
        "hflm_wall": wall["HFLM"],
        "ours_wall": wall["ours"],
        "hflm_busy": busy["HFLM"],
        "ours_busy": busy["ours"],
        "ratio": busy["HFLM"] / busy["ours"],
        "nats": moved,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--form", choices=("lettered", "worded", "five-shot"), default="lettered")
    parser.add_argument("--items", type=int, default=3668)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--base", type=Path)
    parser.add_argument("--suite")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.base is not None:
        tokenizer = open_tokenizer(options.base)
        model = AutoModelForCausalLM.from_pretrained(options.base, dtype="float32").to(options.device).eval()
    else:
        tokenizer = make_tokenizer(options.vocabulary)
        model = make_model(options.vocabulary, options.device)
    invented = Invented(len(tokenizer) if options.base is None else options.vocabulary)
    asked = (
        suite_requests(options.suite, options.limit)
        if options.suite is not None
        else [(options.form, invented.requests(options.form, options.items))]
    )
    rows = {}
    for name, requests in asked:
        rows[name] = row = time_both(model, tokenizer, requests, options.batch_size, options.device)
        print(
            f"{name:28} {row['requests']:6} requests: HFLM {row['hflm_busy']:7.2f} s of processor, ours "
            f"{row['ours_busy']:7.2f}: {row['ratio']:5.2f} x; at most {row['nats']:.1e} nats apart",
            flush=True,
        )
    ratio = sum(row["hflm_busy"] for row in rows.values()) / sum(row["ours_busy"] for row in rows.values())
    print(f"all: {ratio:.2f} x HFLM's speed")
    if options.json is not None:
        options.json.write_text(json.dumps({"tasks": rows, "ratio": ratio}, indent=1) + "\n")


if __name__ == "__main__":
    main()
