"""What the numbers depend on besides the bytes: versions, device, dtype, seed, and this program's own commit."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_guard import __version__
from unlearn_guard.errors import UsageError
from unlearn_guard.records import Environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

_LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "lm_eval",
    "rouge_score",
    "nltk",
    "langdetect",
    "bitsandbytes",
    "gptqmodel",
    "optimum",
    "accelerate",
    "datasets",
    "numpy",
    "gguf",
    "xllamacpp",
)
DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda")
EVERYWHERE = ("eager", "sdpa")
"""Attentions that need no package and no GPU."""


def versions() -> dict[str, str]:
    """The version of every library a number may depend on; one that is not installed is left out."""
    return {"unlearn_guard": __version__, **_installed()}


@cache
def _installed() -> dict[str, str]:
    # Every key of the store asks, and each look-up reads a file.
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe(*, device: str, dtype: str, seed: int) -> Environment:
    """The environment of this process, for run.json."""
    return Environment(
        versions=versions(),
        python=platform.python_version(),
        platform=f"{platform.system()}-{platform.machine()}",
        device=device,
        dtype=dtype,
        seed=seed,
        commit=_commit(),
    )


def choose_device(wanted: str) -> str:
    """`cpu` or `cuda`: what was asked for, or CUDA where there is one. UsageError where it is not there."""
    import torch

    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise UsageError("--device cuda: no CUDA device is visible", fix="Use --device cpu, or check the driver.")
    return "cuda" if there and wanted != "cpu" else "cpu"


def choose_dtype(wanted: str, device: str) -> "torch.dtype":
    """The dtype of activations. `auto` is float32 on a CPU, where lower ones make answers tie, and bfloat16 on CUDA."""
    import torch

    name = {"cpu": "float32", "cuda": "bfloat16"}[device] if wanted == "auto" else wanted
    chosen: torch.dtype = getattr(torch, name)
    return chosen


def device_map(device: str) -> str:
    """What accelerate is told: everything on the CPU, or spread over the CUDA devices there are."""
    return "cpu" if device == "cpu" else "auto"


def with_attention(config: Any) -> Any:
    """A loaded config in which transformers chooses the attention, where it names one that does not run everywhere.

    How attention is computed is no part of a model: a GPU's kernel, whose package may be missing here, gives what the
    plain one gives but for rounding. And where the package is missing transformers may fetch a kernel, which is code.
    """
    if names_other_attention(config):
        config._attn_implementation = None  # of the configs inside it, too
    return config


def names_other_attention(config: Any) -> bool:
    """Whether a loaded config, or one inside it, names an attention that does not run everywhere."""
    return any(each._attn_implementation not in (None, *EVERYWHERE) for each in _configs(config))


def _configs(config: Any) -> "Iterator[Any]":
    yield config
    for name in config.sub_configs:
        if (inner := getattr(config, name, None)) is not None:
            yield from _configs(inner)


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch. Nothing measured here draws from them; a library might."""
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def peak_bytes() -> int:
    """Largest resident size of this process so far, in bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _commit() -> str | None:
    """The commit of a checkout this runs from, or of the CI job; a wheel has none, and its version says enough."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return os.environ.get("UNLEARN_GUARD_COMMIT")
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=False)  # noqa: S607 - git from PATH, constant arguments
    return done.stdout.strip() or None
