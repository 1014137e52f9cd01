"""Our LM against lm-eval's own HFLM: 3,668 invented questions of about 150 tokens, WMDP's number and form.

    python -m benchmarks.scoring [--items 3668] [--batch-size 64] [--vocabulary 4096] [--device cpu]

Prints the seconds of both, tokenizing and scoring, the ratio of their processor seconds (a busy machine moves the
others), and the largest difference of a log-likelihood.
"""

import argparse
import random
import time

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.llama import random_llama
from unlearn_guard.scoring.lm import GuardLM
from unlearn_guard.scoring.tokens import Tokens

LETTERS = ("A", "B", "C", "D")


def make_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    words = ["<s>", "</s>", "<pad>", "<unk>", *LETTERS, "Answer:", *(f"w{index}" for index in range(vocabulary))]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words[:vocabulary])}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def make_requests(items: int, vocabulary: int) -> list[Instance]:
    draw = random.Random(0)
    requests = []
    for number in range(items):
        words = " ".join(f"w{draw.randrange(vocabulary - 16)}" for _ in range(round(draw.gauss(148, 25))))
        for index, letter in enumerate(LETTERS):
            arguments = (f"{words} Answer:", f" {letter}")
            requests.append(Instance("loglikelihood", {}, arguments, index, metadata=("wmdp", number, 1)))
    return requests


def make_model(vocabulary: int, device: str) -> LlamaForCausalLM:
    """The shape of the embedded model organism: about a million weights beside the embeddings."""
    return random_llama(vocabulary=vocabulary, width=128, hidden=384, layers=4, heads=4, groups=4).to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=3668)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    tokenizer = make_tokenizer(options.vocabulary)
    requests = make_requests(options.items, options.vocabulary)
    model = make_model(options.vocabulary, options.device)
    hflm = HFLM(
        pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=options.batch_size, device=options.device
    )
    tokens = Tokens(tokenizer)
    ours = GuardLM(model, tokens, batch_size=options.batch_size, precision="full")
    runs = {
        "HFLM": lambda: hflm.loglikelihood(requests, disable_tqdm=True),
        "ours, first model": lambda: ours.loglikelihood(requests),
        "ours, next model": lambda: ours.loglikelihood(requests),
    }
    GuardLM(model, Tokens(tokenizer), batch_size=options.batch_size, precision="full").loglikelihood(requests[:256])
    seconds, answers = {}, {}
    for name, run in runs.items():
        start, busy = time.perf_counter(), time.process_time()
        answers[name] = run()
        wall, seconds[name] = time.perf_counter() - start, time.process_time() - busy
        ratio = seconds["HFLM"] / seconds[name]
        print(f"{name:18} {wall:7.2f} s, {seconds[name]:7.2f} s of processor: {ratio:5.2f} x HFLM's speed", flush=True)
    pairs = zip(answers["HFLM"], answers["ours, first model"], strict=True)
    print(f"largest difference {max(abs(one[0] - other[0]) for one, other in pairs):.1e} nats")


if __name__ == "__main__":
    main()
