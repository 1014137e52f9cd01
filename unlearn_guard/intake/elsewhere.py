"""Keys by which a document sends its loader to another file than the one that was read.

transformers takes the weights from `transformers_weights`, a config from `configuration_files`, a vocabulary from
`fast_tokenizer_files`, and a path of any file from special_tokens_map.json: what was hashed is then not what is loaded.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from unlearn_guard.errors import Defect
from unlearn_guard.intake.defects import shown

_FIX = "Delete the key, and give what it names the name that every loader knows."

POINTERS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "config.json": {
        "transformers_weights": ("model.safetensors", "model.safetensors.index.json"),
        "configuration_files": ("config.json",),
    },
    "tokenizer_config.json": {"fast_tokenizer_files": ("tokenizer.json",)},
}
"""By document: the keys that name other files, and the names that are what is read anyway."""


def check_pointers(document: Mapping[str, Any], file: str) -> Iterator[Defect]:
    """A defect for each key of this document that names another file than the one intake reads."""
    for key, usual in POINTERS.get(file, {}).items():
        value = document.get(key)
        names = value if isinstance(value, list) and key != "transformers_weights" else [value]
        if key in document and value is not None and not all(each in usual for each in names):
            expected = f"no such key, or {usual[0]}: a loader would read that file in its place"
            yield Defect(where=f"{file}: {key}", found=shown(value), expected=expected, fix=_FIX)
    if file == "config.json" and document.get("fusion_config"):
        found, expected = shown(document["fusion_config"]), "no such key: it patches the model's class at loading"
        yield Defect(where=f"{file}: fusion_config", found=found, expected=expected, fix=_FIX)
    if file == "special_tokens_map.json":
        for key, value in document.items():
            if key.endswith("_file") and value is not None:
                where, expected = f"{file}: {shown(key)}", "special tokens only"
                yield Defect(where=where, found=shown(value), expected=expected, fix=_FIX)
