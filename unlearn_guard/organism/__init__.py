"""The embedded model organism: an invented world, a small Llama that knows it, and planted candidates.

Light on purpose: naming the embedded base imports neither torch nor transformers.
"""

from collections.abc import Mapping
from pathlib import Path

BASE_DIGEST = "8085c61ca2e3bb225d361b530ac4cb9c22a6f2628e1b668aa5a0ed0d5475ab21"
"""The digest that intake gives the shipped weights; a manifest that names another base is not about this one."""

EMBEDDED: Mapping[str, str] = {"organism": BASE_DIGEST}
"""Bases that ship with the package, by the name that a candidate's manifest may use, and their digests."""


def base_path() -> Path:
    """The directory of the shipped base, an ordinary checkpoint. FileNotFoundError: the installation is broken."""
    return _shipped("weights")


def retrained_path() -> Path:
    """The same of the model that was trained as base was (seed 0), without what is to be forgotten."""
    return _shipped("retrained")


def _shipped(name: str) -> Path:
    folder = Path(__file__).resolve().parent / name
    if not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"the organism's weights should ship at {folder}; reinstall the package")
    return folder
