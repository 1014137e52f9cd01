"""A model on disk: its tensors, where their bytes lie, and the digests that it is known by."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from unlearn_guard.records.names import FULL

TORCH_NAMES: Mapping[str, str] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
"""What torch calls the dtypes of safetensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Bytes `start` to `stop` of a file."""

    file: Path
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """One parameter by the model's own name, and where its bytes lie, in row-major order.

    `dtype` is safetensors' name. The experts of a mixture, which a checkpoint stores one by one, are the many spans
    of the one parameter that the model has.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model on disk that passed intake: a directory, and the digest of every byte that shapes its answers.

    `tensors` is the one list of its parameters, each once under the model's own name, whatever the files call them;
    empty for a directory that a quantizer wrote. `files` are the names and sha256 of the files that were judged. Of a
    candidate that is an `adapter`, path and tensors are those of base with the adapter merged in, the files its own.
    """

    path: Path
    digest: str
    precision: str = FULL
    method: str | None = None
    tensors: tuple[StoredTensor, ...] = field(default=(), compare=False, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    adapter: "Adapter | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """The LoRA adapter that a candidate is: its digest, that of the base it was judged on, and peft's version.

    `path` is the adapter's sealed copy and `on` the base, where they are at hand.
    """

    digest: str
    base: str
    peft: str
    path: Path | None = field(default=None, compare=False, repr=False)
    on: Checkpoint | None = field(default=None, compare=False, repr=False)
