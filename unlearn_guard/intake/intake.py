"""What intake hands on: a checkpoint without defects, and the state its files were in when they were read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unlearn_guard.errors import CheckpointError, Defect
from unlearn_guard.intake.defects import gather, listed, shown
from unlearn_guard.intake.folder import FileState, read_folder, state
from unlearn_guard.intake.location import Place
from unlearn_guard.intake.manifest import Manifest
from unlearn_guard.intake.tokenizer import Tokenizer
from unlearn_guard.intake.weights import Tensor
from unlearn_guard.records import Adapter, Checkpoint, StoredTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A checkpoint that may be judged: no defects, every tensor hashed, and the state of each file when it was read.

    `checkpoint.digest` is over tensors (name, dtype, shape, bytes), config, generation config,
    tokenizer files and chat template, whatever the sharding, the order of tensors or their metadata.
    `checkpoint.path` is the sealed copy, and `sealed` the sha256 of each file in it by name; both are the directory
    itself and nothing where it was only looked at. `copies` are tensors that are stored once more under the name of
    a parameter that is tied to them. Of an adapter, `on` is the base it was merged into; location, place and sealed
    files are the adapter's own, all else the merged model's.
    """

    checkpoint: Checkpoint
    location: str
    place: Place
    tensors: tuple[Tensor, ...]
    weights_digest: str
    config_digest: str
    tokenizer_digest: str
    tokenizer: Tokenizer
    config: Mapping[str, Any]
    manifest: Manifest | None
    generation: Mapping[str, Any]
    sealed: Mapping[str, str]
    files: tuple[FileState, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...]
    copies: tuple[StoredTensor, ...] = ()
    on: "Intake | None" = None

    @property
    def named(self) -> Checkpoint:
        """The checkpoint as a run records it: where its user has it, and the files that were judged."""
        return replace(self.checkpoint, path=self.place.directory, tensors=(), files=dict(sorted(self.sealed.items())))

    @property
    def adapter(self) -> Adapter | None:
        """The adapter that this candidate is, where it is one."""
        return self.checkpoint.adapter

    @property
    def sealed_in(self) -> Path:
        """Where the sealed files lie: the checkpoint's directory, but the adapter's own where it is one."""
        return self.adapter.path if self.adapter and self.adapter.path else self.checkpoint.path

    @property
    def template(self) -> str | None:
        """The chat template that transformers would use, or None."""
        return self.tokenizer.template

    @property
    def stored_bytes(self) -> int:
        """Bytes of all tensors on disk."""
        return sum(tensor.stop - tensor.start for tensor in self.tensors)

    @property
    def parameters(self) -> int:
        """Elements of all tensors on disk."""
        return sum(tensor.elements for tensor in self.tensors)


def assert_unchanged(intake: Intake) -> None:
    """Raise CheckpointError naming every file that changed, went or came since it was hashed.

    For a checkpoint that is looked at where it lies: a sealed copy is nobody else's to change. A rewrite of the same
    size that sets the modification time back is noticed by its change time.
    """
    defects: list[Defect] = []
    for before in intake.files:
        with gather(defects):
            if state(before.path) != before:
                expected = "the file as it was hashed"
                defects.append(Defect(where=shown(before.path.name), found="other bytes on disk", expected=expected))
    with gather(defects):
        appeared = sorted(set(read_folder(intake.place).files) - set(intake.names))
        if appeared:
            defects.append(Defect(where="directory", found=f"new files: {listed(appeared)}", expected="none"))
    if defects:
        fix = "Let nothing write to the directory during a check, and run it again."
        raise CheckpointError(f"{shown(intake.location)} changed while it was being judged", defects, fix=fix)
