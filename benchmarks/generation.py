"""Greedy generation in batches against one prompt at a time: 32 invented prompts, 32 new tokens, the organism's shape.

    python -m benchmarks.generation [--prompts 32] [--length 32] [--batch-size 64]

Prints the seconds of both, the ratio of their processor seconds (a busy machine moves the others), and whether the
texts are the same.
"""

import argparse
import random
import time

from lm_eval.api.instance import Instance

from benchmarks.scoring import make_model, make_tokenizer
from unlearn_guard.scoring.lm import GuardLM
from unlearn_guard.scoring.tokens import Tokens

VOCABULARY = 4096


def make_requests(prompts: int, length: int) -> list[Instance]:
    draw = random.Random(0)
    options = {"until": ["w7 w7"], "max_gen_toks": length, "do_sample": False}
    texts = [" ".join(f"w{draw.randrange(4000)}" for _ in range(draw.randint(60, 140))) for _ in range(prompts)]
    return [Instance("generate_until", {}, (text, options), 0, metadata=("made", i, 1)) for i, text in enumerate(texts)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    tokenizer, model = make_tokenizer(VOCABULARY), make_model(VOCABULARY, "cpu")
    requests = make_requests(options.prompts, options.length)
    GuardLM(model, Tokens(tokenizer), batch_size=4, precision="full").generate_until(requests[:4])
    busy, texts = {}, {}
    for size in (1, options.batch_size):
        lm = GuardLM(model, Tokens(tokenizer), batch_size=size, precision="full")
        start, before = time.perf_counter(), time.process_time()
        texts[size] = lm.generate_until(requests)
        wall, busy[size] = time.perf_counter() - start, time.process_time() - before
        print(f"batches of {size:3}: {wall:6.2f} s, {busy[size]:6.2f} s of processor", flush=True)
    ratio, same = busy[1] / busy[options.batch_size], texts[1] == texts[options.batch_size]
    print(f"{ratio:.1f} times as fast; the same texts: {same}")


if __name__ == "__main__":
    main()
