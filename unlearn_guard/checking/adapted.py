"""A candidate that is a LoRA adapter: merged into its base, so that every later stage sees an ordinary checkpoint.

The merge is made anew each time and lies sealed in the store beside the copies of whole models. What the run names,
states and releases are the adapter's own files; its digest stands for them and base's.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_guard.checking.checkpoints import SEALED, open_sealed
from unlearn_guard.checking.request import Request, settle
from unlearn_guard.errors import CheckpointError, StorageError, UsageError
from unlearn_guard.intake import Intake, Outline, look, open_checkpoint, with_parameters
from unlearn_guard.intake.adapter import AdapterFiles, assert_fits, is_adapter, open_adapter
from unlearn_guard.intake.defects import shown
from unlearn_guard.intake.folder import TOKENIZER_FILES
from unlearn_guard.intake.sealing import sealed_folder
from unlearn_guard.records import Adapter
from unlearn_guard.runs.store import default_root

if TYPE_CHECKING:
    from unlearn_guard.judging.draft import PolicyDraft


def look_at_candidate(location: str) -> Outline:
    """What a whole model or an adapter says of itself before its weights are read. Raises CheckpointError."""
    if not is_adapter(location):
        return look(location)
    adapter = open_adapter(location)
    return Outline(location=location, directory=None, manifest=adapter.manifest, config={}, adapter=True)


def open_candidate(request: Request, draft: "PolicyDraft") -> Intake:
    """The candidate, sealed; one that is an adapter is merged into the base that the request, or the policy, names."""
    if not is_adapter(request.checkpoint):
        return open_sealed(request.checkpoint)
    base = settle(request, draft, look_at_candidate(request.checkpoint), None).base
    return merge(request.checkpoint, open_sealed(base))


def inspected(location: str, base: Intake | None) -> Intake:
    """A checkpoint as `inspect` looks at it, its parameters listed; an adapter merged into its base.

    Raises UsageError for an adapter without a base, CheckpointError.
    """
    if not is_adapter(location):
        return with_parameters(open_checkpoint(location))
    if base is None:
        raise UsageError(f"{location} is an adapter: what it makes depends on its base", fix="Give --base PATH.")
    return merge(location, base)


def merge(location: str, base: Intake) -> Intake:
    """The model that an adapter makes of a base, in float32, by the adapter's files and under its name.

    Raises CheckpointError where the adapter does not fit the base, UsageError where a merge does not answer as the
    adapter does unmerged.
    """
    from unlearn_guard.quantizers import adapters

    root = default_root() / SEALED
    adapter = open_adapter(location, seal_in=root)
    assert_fits(adapter, *adapters.expected_shapes(adapter.directory, base.checkpoint.path))
    with sealed_folder(root) as seal:
        try:
            adapters.merged(base.checkpoint.path, adapter.directory).save_pretrained(seal.working)
            _write_documents(seal.working, base, adapter)
        except OSError as error:
            raise StorageError(f"{root} cannot be written: {error}") from error
        directory = seal.publish()
    try:
        whole = with_parameters(open_checkpoint(directory))
    except CheckpointError as error:
        raise CheckpointError(f"{location}, merged: {error.summary}", error.defects, fix=error.fix) from error
    version = adapters.peft_version()
    made = Adapter(
        digest=adapter.digest, base=base.checkpoint.digest, peft=version, path=adapter.directory, on=base.checkpoint
    )
    checkpoint = replace(
        whole.checkpoint,
        digest=adapter.digest_on(base.checkpoint.digest, version),
        method=adapter.manifest.method if adapter.manifest else None,
        adapter=made,
    )
    return replace(
        whole,
        checkpoint=checkpoint,
        location=location,
        place=adapter.place,
        manifest=adapter.manifest,
        sealed=adapter.files,
        on=base,
        notes=(*whole.notes, *adapter.notes, *_told(adapter, base)),
    )


def _told(adapter: AdapterFiles, base: Intake) -> tuple[str, ...]:
    """What a reader of the verdict has to know: it is of this adapter on this base alone."""
    told = (
        f"the candidate is a LoRA adapter, merged into {base.location} in float32; unmerged on that base in 4 bits, as "
        "QLoRA is served, it is another model, which precision nf4+adapter measures"
    )
    if adapter.claimed is None or adapter.claimed in (base.location, str(base.place.directory)):
        return (told,)
    claim = f"its adapter_config.json names {shown(adapter.claimed)}, by its maker's word"
    return (f"{told}; {claim}: the verdict is not of that",)


def _write_documents(out: Path, base: Intake, adapter: AdapterFiles) -> None:
    """Base's config, save that the weights are float32, and the tokenizer: the adapter's where it has one."""
    source = base.checkpoint.path
    config = _without_dtypes(json.loads((source / "config.json").read_text(encoding="utf-8")))
    (out / "config.json").write_text(json.dumps({**config, "dtype": "float32"}, indent=1), encoding="utf-8")
    (out / "generation_config.json").unlink(missing_ok=True)
    own = dict.fromkeys(adapter.tokenizer, adapter.directory)
    bases = {name: source for name in base.names if name in TOKENIZER_FILES or name.endswith(".jinja")}
    for name, folder in {"generation_config.json": source, **(own or bases)}.items():
        if (folder / name).exists():
            (out / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / name, out / name)


def _without_dtypes(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_dtypes(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in ("dtype", "torch_dtype")
    }
