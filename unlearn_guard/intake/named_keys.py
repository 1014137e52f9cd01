"""Keys of a config that its class does not declare and that transformers' code reads all the same.

A loaded config keeps every key it is given as an attribute. Shared code asks for some by name (`getattr(config,
"sliding_window", None)` decides what a cache keeps, `prefix` what a pipeline writes before every prompt), whichever
model it is. So a key that no class declares is harmless only where no code names it, and the code itself is asked.
"""

import inspect
import re
from functools import cache
from pathlib import Path
from typing import Any

_READ = re.compile(r"""(?:get|has)attr\(\s*[\w.()]+,\s*["'](\w+)["']|\w*config\w*\.(\w+)|config\w*\[["'](\w+)["']\]""")
_TOLD_FROM_NULL = re.compile(
    r"""hasattr\(\s*[\w.()]+,\s*["'](\w+)["']|getattr\(\s*[\w.()]+,\s*["'](\w+)["'],\s*(?!None\b)"""
)
_SHARED = (
    *("cache_utils.py", "masking_utils.py", "modeling_*.py", "configuration_utils.py", "fusion_mapping.py"),
    *("core_model_loading.py", "monkey_patching.py", "generation/*.py", "pipelines/base.py"),
    *("pipelines/text_generation.py", "pipelines/__init__.py", "integrations/**/*.py", "models/auto/*_auto.py"),
)
_HANDED_ON = frozenset({"vision_feature_layer", "vision_feature_select_strategy", "vision_aspect_ratio"})
"""Keys that `transformers.utils.generic` takes from any config by a list of names and hands to the model's forward."""

_SIZES = frozenset({"head_dim"})
"""Keys that decide the shapes of weights, which are compared."""


def is_read(key: str, value: Any, model: Any) -> bool:
    """Whether code that runs for this model names a key, and this value (null) is not the same as no such key."""
    if key in _SIZES or key in _generation_keys():
        return False
    folder = Path(inspect.getfile(type(model.config))).parent
    if key in _HANDED_ON:
        return True
    if value is None:
        return key in _words(_TOLD_FROM_NULL, folder)
    return key in _words(_READ, folder)


@cache
def _generation_keys() -> frozenset[str]:
    """What configs held before generation_config.json: it is compared as the settings that transformers makes of it."""
    from transformers import GenerationConfig

    return frozenset(GenerationConfig().to_dict())


@cache
def _words(pattern: re.Pattern[str], folder: Path) -> frozenset[str]:
    import transformers

    root = Path(inspect.getfile(transformers)).parent
    files = [*folder.glob("*.py"), *(file for each in _SHARED for file in root.glob(each))]
    found = [match for file in files for match in pattern.findall(file.read_text(encoding="utf-8"))]
    return frozenset(word for match in found for word in match if word)
