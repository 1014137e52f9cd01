"""Methods by their file's name, as the registry finds them."""

import importlib.util
import sys
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "methods"


@cache
def module(name):
    spec = importlib.util.spec_from_file_location(f"shipped_methods.{name}", FOLDER / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = made  # dataclasses look their module up
    spec.loader.exec_module(made)
    return made


def method(name, **hyperparameters):
    """A method of this name with these hyperparameters."""
    return module(name).METHOD(**hyperparameters)
