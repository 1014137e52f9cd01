"""Packages that transformers needs for a tokenizer and that may be absent: named before anything is loaded.

Without sentencepiece it takes a SentencePiece model for a tiktoken file and asks for tiktoken, which would not help.
"""

import importlib.util
import os
import sys
from pathlib import Path

from unlearn_guard.errors import CheckpointError, Defect, UsageError

_MODULES = {
    "sentencepiece": "sentencepiece",
    "protobuf": "google.protobuf",
    "tiktoken": "tiktoken",
    "mistral-common": "mistral_common",
}
"""What pip calls a package, and what Python imports."""

_ENOUGH = ({"tokenizer.json"}, {"vocab.json", "merges.txt"}, {"vocab.txt"})
"""Files from which a tokenizer is read with the tokenizers library alone."""


_READERS: dict[str, tuple[str, ...]] = {
    "tokenizer.model": ("sentencepiece", "protobuf"),
    "spiece.model": ("sentencepiece", "protobuf"),
    "sentencepiece.bpe.model": ("sentencepiece", "protobuf"),
    "tekken.json": ("mistral-common",),
}
"""The vocabularies that need more, the first that is there being the one that is read."""


def assert_packages(checkpoint: Path) -> None:
    """Raise CheckpointError where the only vocabulary is in a format whose packages are not installed."""
    names = set(os.listdir(checkpoint))  # noqa: PTH208 - names, not paths
    if any(files <= names for files in _ENOUGH):
        return
    read = [name for name in _READERS if name in names][:1]
    defects = [_missing(name, absent) for name in read if (absent := _absent(_READERS[name]))]
    if defects:
        raise CheckpointError("The tokenizer needs packages that are not installed", defects)


def assert_docstrings() -> None:
    """Raise UsageError where Python leaves docstrings out: transformers builds its classes from them.

    It would refuse every config, and the checkpoint would look broken.
    """
    if sys.flags.optimize > 1:
        raise UsageError(
            "Python runs without docstrings, which transformers needs to open a model",
            fix="Leave out -OO, or unset PYTHONOPTIMIZE.",
        )


def advice(error: BaseException) -> str:
    """The command that installs what this error of transformers' asks for, or an empty text."""
    asked = f"{type(error).__name__} {error}".lower().replace("_", "-")
    absent = [name for name in _absent(tuple(_MODULES)) if name in asked]
    return f"`pip install {' '.join(absent)}`." if absent else ""


def _missing(name: str, packages: list[str]) -> Defect:
    listed = " and ".join(packages)
    return Defect(
        where=name,
        found=f"a vocabulary that is read with {listed}, which {'is' if len(packages) == 1 else 'are'} not installed",
        expected="those packages, or a tokenizer.json beside it",
        fix=f"`pip install {' '.join(packages)}`.",
    )


def _absent(packages: tuple[str, ...]) -> list[str]:
    return [name for name in packages if not _installed(_MODULES[name])]


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ModuleNotFoundError, ValueError):  # a parent package is absent, or the module was put aside
        return False
