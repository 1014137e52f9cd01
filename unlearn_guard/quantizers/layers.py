"""The tensors of a directory, read one at a time, and models loaded from one with nothing left to chance."""

import json
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unlearn_guard.environment import with_attention
from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers.coverage import Coverage, linear_shapes, named
from unlearn_guard.quantizers.protocol import Placement
from unlearn_guard.records import TORCH_NAMES, Checkpoint, Span, StoredTensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def stored_tensors(checkpoint: Checkpoint) -> dict[str, StoredTensor]:
    """The parameters of a checkpoint by the model's own names; of a quantizer's directory, the names in its files."""
    if checkpoint.tensors:
        return {tensor.name: tensor for tensor in checkpoint.tensors}
    return directory_tensors(checkpoint.path)


def directory_tensors(directory: Path) -> dict[str, StoredTensor]:
    """Every tensor of a directory's safetensors files, by the names in the files."""
    found: dict[str, StoredTensor] = {}
    for file in sorted(directory.glob("*.safetensors")):
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            start, stop = (8 + length + offset for offset in entry["data_offsets"])
            spans = (Span(file=file, start=start, stop=stop),)
            found[name] = StoredTensor(name=name, dtype=entry["dtype"], shape=tuple(entry["shape"]), spans=spans)
    return found


def read_tensor(tensors: Mapping[str, StoredTensor], name: str) -> torch.Tensor:
    """One tensor from disk, in the dtype it is stored in. QuantizationError where it is not there."""
    shape = _held(tensors, name).shape
    whole = next(read_pieces(tensors, name, max(1, math.prod(shape))), None)
    return torch.empty(shape, dtype=_dtype(tensors[name])) if whole is None else whole.reshape(shape)


def read_pieces(tensors: Mapping[str, StoredTensor], name: str, elements: int) -> Iterator[torch.Tensor]:
    """The elements of one tensor in the order they are stored in, so many at a time, the last piece perhaps shorter.

    Each is the caller's own. QuantizationError where the tensor is not there, or ends early.
    """
    tensor = _held(tensors, name)
    dtype = _dtype(tensor)
    missing = sum(span.stop - span.start for span in tensor.spans)
    piece, filled = torch.empty(0, dtype=torch.uint8), 0
    for span in tensor.spans:
        with span.file.open("rb", buffering=0) as stream:
            stream.seek(span.start)
            left = span.stop - span.start
            while left:
                if not filled:
                    piece = torch.empty(min(missing, elements * dtype.itemsize), dtype=torch.uint8)
                got = stream.readinto(piece.numpy().data[filled : filled + left])
                if not got:
                    raise QuantizationError(f"{span.file}: {name} ends early")
                filled, left, missing = filled + got, left - got, missing - got
                if filled == piece.numel():
                    yield piece.view(dtype)
                    filled = 0


def _held(tensors: Mapping[str, StoredTensor], name: str) -> StoredTensor:
    if name not in tensors:
        raise QuantizationError(f"{name} is not among the tensors that were written")
    return tensors[name]


def _dtype(tensor: StoredTensor) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, TORCH_NAMES[tensor.dtype])
    return dtype


def read_weight(tensors: Mapping[str, StoredTensor], name: str, found: Coverage) -> torch.Tensor:
    """A weight as 4-bit formats quantize it: [out, in], whichever way round it is stored; experts as stored."""
    weight = read_tensor(tensors, name)
    return weight.T.contiguous() if name.removesuffix(".weight") in found.transposed else weight


def assert_untouched(source: Mapping[str, StoredTensor], written: Mapping[str, StoredTensor], names: list[str]) -> None:
    """Refuse a quantized directory in which one of these tensors is not the source's.

    Its dtype may be a lower one (gptqmodel stores what an fp32 model does not quantize in bf16): then the
    source's values are cast before comparing. Otherwise bit for bit.
    """
    changed = [name for name in names if not _same(read_tensor(source, name), read_tensor(written, name))]
    if changed:
        raise QuantizationError(f"the quantizer changed tensors that it does not quantize: {', '.join(changed[:5])}")


def _same(source: torch.Tensor, written: torch.Tensor) -> bool:
    return written.is_floating_point() and torch.equal(source.to(written.dtype), written)


def assert_complete(checkpoint: Path, quantized: Collection[str], precision: str) -> None:
    """Refuse a model, ours or a ready-made artifact, in which a linear layer was left out of the 4 bits."""
    missing = [layer for layer in linear_shapes(checkpoint) if layer not in quantized]
    if missing:
        raise QuantizationError(f"{checkpoint}: {len(missing)} linear layers are not in {precision}: {named(missing)}")


def load_model(
    path: Path, placement: Placement, *, elsewhere: Collection[str] = (), **options: Any
) -> "PreTrainedModel":
    """A model from a local directory of safetensors: no remote code, no pickle, no network, evaluation mode.

    transformers fills a parameter that it does not find, or finds in another shape, with random numbers. Only those
    in `elsewhere` may be missing, and all of them must be: the caller has their values. QuantizationError otherwise.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = options.pop("config", None)
        if config is None:
            config = AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
        model, report = AutoModelForCausalLM.from_pretrained(
            path,
            config=with_attention(config),
            dtype=placement.dtype,
            device_map=placement.device_map,
            trust_remote_code=False,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise QuantizationError(f"{path}: transformers could not load it: {type(error).__name__}: {error}") from error
    random = set(report["missing_keys"]) | {name for name, *_ in report["mismatched_keys"]}
    if random != set(elsewhere):
        wrong = sorted(random ^ set(elsewhere))
        raise QuantizationError(f"{path}: transformers did not load {len(wrong)} of its parameters: {named(wrong)}")
    if report["error_msgs"]:
        raise QuantizationError(f"{path}: transformers could not load it: {named(list(report['error_msgs']))}")
    model.requires_grad_(False)
    loaded: PreTrainedModel = model.eval()
    return loaded
