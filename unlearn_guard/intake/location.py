"""Where a checkpoint lies: a directory, or a model of the Hugging Face hub as `org/name` or `org/name@revision`.

Of a hub model only safetensors, config and tokenizer files are fetched: never a pickle, never code.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake.defects import shown

WANTED = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "quantize_config.json",
    "quant_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "vocab.bpe",
    "spm.model",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
    "unlearn_guard.json",
    "adapter_config.json",
)
"""Patterns of the files that are fetched from the hub."""

UNWANTED = ("*/*.safetensors", "consolidated*.safetensors")
"""A second copy of the weights in another layout, which transformers does not read."""

_HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95})(?:@(?P<revision>[\w][\w./-]{0,127}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A directory with every link resolved, and the folder that links in it may lead to (the hub cache's blobs)."""

    directory: Path
    blobs: Path | None
    note: str | None = None


def find(location: str | Path, allow_root: Path | None = None) -> Place:
    """The directory of a checkpoint; a hub id is looked up in the local cache and fetched where it is not there.

    An existing directory wins over a hub id of the same spelling, and `note` says so. Raises CheckpointError.
    """
    path = Path(location).expanduser()
    if path.is_dir():
        directory = path.resolve()
        note = _shadowing(location, directory)
        return Place(directory=directory, blobs=allow_root.resolve() if allow_root else _blobs(directory), note=note)
    text = str(location)
    if path.exists():
        fix = "Give the directory that holds config.json and the safetensors files."
        raise CheckpointError(f"{shown(text)} is a file, not a checkpoint directory", fix=fix)
    match = _HUB_ID.fullmatch(text) if isinstance(location, str) else None
    if match is None or ".." in text:
        fix = "Give a directory, or a hub id as org/name or org/name@revision."
        raise CheckpointError(f"no such directory: {shown(text)}", fix=fix)
    directory = _fetch(match["id"], match["revision"])
    return Place(directory=directory, blobs=_blobs(directory))


def is_remote(location: str | Path) -> bool:
    """Whether this checkpoint would be looked for on the hub, and not on this disk."""
    return isinstance(location, str) and not Path(location).expanduser().exists() and _is_hub_id(location)


def _is_hub_id(text: str) -> bool:
    return _HUB_ID.fullmatch(text) is not None and ".." not in text


def _shadowing(location: str | Path, directory: Path) -> str | None:
    """What to say of a directory whose name could as well be a hub id: somebody may have laid it there."""
    if not isinstance(location, str) or _HUB_ID.fullmatch(location) is None:
        return None
    return (
        f"{shown(location)} is the directory {shown(str(directory))}, not the hub's model of that id "
        "(./ before it says so; from another directory it is the hub's)"
    )


def _blobs(directory: Path) -> Path | None:
    """The blobs beside a snapshot of the hub cache (`models--org--name/snapshots/REVISION`), else None."""
    repository = directory.parent.parent
    if directory.parent.name == "snapshots" and repository.name.startswith("models--"):
        return repository / "blobs"
    return None


def _fetch(repository: str, revision: str | None) -> Path:
    # the import takes 0.3 s, and most locations are directories
    from huggingface_hub import errors, snapshot_download

    # the class of the HTTP library beneath (httpx, then httpx2), whose errors the hub lets through
    transport = cast(type[Exception], errors.HfHubHTTPError.__bases__[0])
    name = repository if revision is None else f"{repository}@{revision}"
    try:
        found = snapshot_download(
            repository, revision=revision, allow_patterns=list(WANTED), ignore_patterns=list(UNWANTED)
        )
        return Path(found).resolve()
    except errors.GatedRepoError as error:
        reason, fix = "the hub gives it only to those who accepted its terms", "Accept them, then `hf auth login`."
        cause: Exception = error
    except errors.RevisionNotFoundError as error:
        reason, fix, cause = "the hub has no such revision", "Check the part after @.", error
    except errors.RepositoryNotFoundError as error:
        reason, fix = "the hub knows no such model (or it is private)", "Check the name, or `hf auth login`."
        cause = error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        reason = "it is not in the local hub cache and the hub cannot be reached"
        fix = f"On a machine with a connection: `hf download {name.replace('@', ' --revision ')}`, then give its path."
        cause = error
    except (transport, OSError) as error:
        reason, fix, cause = f"the hub did not answer ({shown(str(error))})", "Try again, or give a directory.", error
    summary = f"no such directory, and no such hub model at hand: {shown(name)}: {reason}"
    raise CheckpointError(summary, fix=fix) from cause
