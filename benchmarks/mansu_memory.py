"""Peak memory of MANSU beyond the model, against training every parameter in the same run.

    OMP_NUM_THREADS=1 python -m benchmarks.mansu_memory [--k 2] [--json FILE]

A bf16 Llama of 120 M random weights. MANSU trains the MLPs of k layers: for each weight of theirs 4 bytes of fp32
copy, 4 of gradient, 8 of moments, 2 of base, 2 of the best state and 1 of the mask; before that the Fisher information
takes 4, and after it the floor works on one tensor at a time. The circuit is drawn at random: what attribution takes
is benchmarks/attribution's to say. Every way runs in a process of its own, so that its peak resident memory is its own.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.llama import random_llama
from unlearn_guard.processes import children
from unlearn_guard.records import Role
from unlearn_guard.resources import bundled
from unlearn_guard.unlearning.corpora import Corpora, Question, Text, batch
from unlearn_guard.unlearning.family import Start, retain_term
from unlearn_guard.unlearning.loop import Training, fit
from unlearn_guard.unlearning.losses import ascent
from unlearn_guard.unlearning.scoring import score
from unlearn_guard.unlearning.tensors import every, mlps

LAYERS, WIDTH, HIDDEN, VOCABULARY = 16, 768, 2304, 8192
WAYS = ("mansu", "everything")
BYTES = 4 + 4 + 8 + 2 + 2 + 1


def made_model():
    sizes = {"vocabulary": VOCABULARY, "width": WIDTH, "hidden": HIDDEN, "layers": LAYERS}
    return random_llama(**sizes, heads=12, groups=4, dtype=torch.bfloat16)


def made_corpora():
    rng = torch.Generator().manual_seed(1)
    drawn = torch.randint(3, VOCABULARY, (16, 24), generator=rng).tolist()
    texts = tuple(Text(ids=tuple(ids), start=12) for ids in drawn)
    asked = tuple(Question(prompt=text.ids, choices=((3,), (4,)), answer=0) for text in texts[:4])
    return Corpora(forget=texts[:8], retain=texts[8:], questions={Role.FORGET: asked, Role.RETAIN: asked})


def mansu(**changes):
    spec = importlib.util.spec_from_file_location("mansu", bundled("methods") / "mansu.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.METHOD(**changes)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def warm_up(model, corpora):
    """A step on one vector, so that threads, buffers and torch's own modules exist before anything is measured."""
    model.requires_grad_(False)
    vector = model.model.norm.weight.requires_grad_(True)
    score(model, batch(corpora.forget, range(2), model.device)).nll.backward()
    torch.optim.AdamW([vector], lr=0.0, fused=True).step()
    vector.grad = None
    model.requires_grad_(True)


def run(way, k):
    """{"way", "trained", "parameters", "peak_beyond_model"} in this process."""
    model, corpora = made_model(), made_corpora()
    warm_up(model, corpora)
    before = peak()
    if way == "mansu":
        how = mansu(steps=2, batch_size=2, k=k, circuit="random", drop=1.0, lr=1e-5)
        trained = mlps(model, how.layers(model, corpora, 0))
        how.unlearn(model, corpora, seed=0)
    else:
        trained = every(model)
        start = Start(model=model, corpora=corpora, trained=trained)
        terms = {"forget": lambda asked: ascent(start.score(asked)), "retain": retain_term(start, "kl")}
        fit(model, corpora, Training(steps=2, batch_size=2), trained=trained, seed=0, **terms)
    sizes = {name: one.numel() for name, one in model.named_parameters()}
    return {
        "way": way,
        "trained": sum(sizes[name] for name in trained),
        "parameters": sum(sizes.values()),
        "peak_beyond_model": peak() - before,
    }


def child(way, k):
    """One way in a process of its own, where freed memory goes back at once and counts no longer."""
    command = [*children.python("benchmarks.mansu_memory"), "--way", way, "--k", str(k)]
    tight = {**children.environment(), "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=tight)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--k", type=int, default=2, help="layers in the circuit")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--way", choices=WAYS, help="run this one here, and print its line")
    given = parser.parse_args()
    if given.way:
        print(json.dumps(run(given.way, given.k)))
        return
    results = [child(way, given.k) for way in WAYS]
    print(f"{'way':12}{'trained':>10}{'MiB beyond model':>18}{'bytes a trained weight':>24}")
    for each in results:
        share, size = each["trained"] / each["parameters"], each["peak_beyond_model"]
        print(f"{each['way']:12}{share:10.1%}{size / 2**20:18.0f}{size / each['trained']:24.1f}")
    ours, theirs = results
    print(f"trained copies of MANSU, {BYTES} bytes a weight: {BYTES * ours['trained'] / 2**20:.0f} MiB")
    print(f"everything / mansu: {theirs['peak_beyond_model'] / ours['peak_beyond_model']:.1f}")
    if given.json:
        given.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
