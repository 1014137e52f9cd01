"""How long `compare weights` takes, against bitsandbytes quantizing the two models and a comparison of their codes.

    OMP_NUM_THREADS=1 python -m benchmarks.weights [--base DIR --candidate DIR] [--device cpu|cuda] [--keep]

Without directories: two models of SmolLM2-135M's shape, the second with an update of one hundredth of its weights.
Both read the files; the seconds of processor are compared. `--keep` writes results/weights.json.
"""

import argparse
import tempfile
from pathlib import Path

import bitsandbytes.functional as bnb
import torch

from benchmarks.ledger import cost, keep
from benchmarks.llama import random_llama
from unlearn_guard.quantizers.coverage import coverage
from unlearn_guard.quantizers.drift import measure
from unlearn_guard.quantizers.layers import read_tensor, stored_tensors
from unlearn_guard.records import Checkpoint


def made(folder: Path) -> tuple[Path, Path]:
    sizes = {"vocabulary": 49152, "width": 576, "hidden": 1536, "layers": 30, "heads": 9, "groups": 3}
    model = random_llama(**sizes, dtype=torch.bfloat16)
    model.save_pretrained(folder / "base")
    with torch.no_grad():
        for each in model.parameters():
            each.add_(torch.randn_like(each).mul_(each.float().std() / 100))
    model.save_pretrained(folder / "candidate")
    return folder / "base", folder / "candidate"


def by_hand(base: Checkpoint, candidate: Checkpoint) -> float:
    """The share of codes that differ."""
    files = stored_tensors(base), stored_tensors(candidate)
    flipped = weights = 0
    for name in coverage(base.path).units:
        packed = [bnb.quantize_4bit(read_tensor(each, name), quant_type="nf4", blocksize=64)[0] for each in files]
        before, after = (torch.stack([each >> 4, each & 0xF]) for each in packed)
        flipped += int((before != after).sum())
        weights += before.numel()
    return flipped / weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path)
    parser.add_argument("--candidate", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = (given.base, given.candidate) if given.base and given.candidate else made(Path(folder))
        base, candidate = (Checkpoint(path=path, digest=mark * 64) for path, mark in zip(paths, "01", strict=True))
        coverage(base.path)
        ours = cost(lambda: measure(base, candidate, lambda _: None, given.device))
        theirs = cost(lambda: by_hand(base, candidate))
    if ours.value.code_flip_rate != theirs.value:
        raise SystemExit(f"{ours.value.code_flip_rate} of the codes differ, by hand {theirs.value}")
    figures = {
        "weights": ours.value.weights,
        "wall": ours.wall,
        "busy": ours.busy,
        "megabytes": ours.grown / 1e6,
        "by_hand_busy": theirs.busy,
        "ratio": theirs.busy / ours.busy,
    }
    for name, value in figures.items():
        print(f"{name:14}{value:14.2f}")
    if given.keep:
        print(keep("weights", figures))


if __name__ == "__main__":
    main()
