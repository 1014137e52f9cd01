"""What is done to a directory of weights, a config and a tokenizer."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Command = Callable[..., tuple[int, str]]
"""A command's arguments in, its status and what it said out."""

Edit = Callable[[Path], object]
Tensors = dict[str, torch.Tensor]

WORD = {"content": "n3", "single_word": True, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
"""A token as tokenizers list it, one that the suite asks for."""


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **changes}))


def lay(candidate: Path, name: str) -> None:
    """Base's weights beside the candidate's, under another name."""
    (candidate / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(candidate.parent / "base" / "model.safetensors", candidate / name)


def resave(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})
