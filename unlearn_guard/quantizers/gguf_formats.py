"""GGUF, written as llama-quantize writes it and run by llama.cpp itself: Q4_0, Q4_1, Q8_0 and Q4_K_M."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unlearn_guard.errors import QuantizationError
from unlearn_guard.quantizers.ggml import assert_llama_cpp
from unlearn_guard.quantizers.gguf_agreement import assert_agrees
from unlearn_guard.quantizers.gguf_header import refusals_of
from unlearn_guard.quantizers.gguf_writing import stored_as, write
from unlearn_guard.quantizers.layers import stored_tensors
from unlearn_guard.quantizers.llama_cpp import LlamaCpp
from unlearn_guard.quantizers.protocol import Calibration, Placement, directory_digest
from unlearn_guard.records import Checkpoint

FILE = "model.gguf"
SETTINGS = ("config.json", "generation_config.json")


class GGUF:
    """One of llama.cpp's file types, computed with by llama.cpp on the CPU whatever the placement says."""

    name: str
    bits: int
    mix: str
    """llama-quantize's name of it."""
    calibrated = False

    def recipe(self, shapes: Mapping[str, tuple[int, int]]) -> Mapping[str, Any]:  # noqa: ARG002 - the protocol's signature
        """The file type and the versions that write and compute. PluginError where one is not installed."""
        return {"quantizer": self.name, "rule": 1, "versions": dict(assert_llama_cpp(self.name))}

    def quantize(self, checkpoint: Checkpoint, calibration: Calibration, out: Path, placement: Placement) -> Checkpoint:  # noqa: ARG002 - it looks at no data
        """Write the file, read every byte back, and see that llama.cpp computes what transformers computes.

        The last on a cut of the model in fp32, whose weights nothing has rounded.
        """
        config, source = model_config_of(checkpoint.path), stored_tensors(checkpoint)
        if defects := refusals_of(config):
            raise QuantizationError(f"{checkpoint.path} cannot be written as GGUF", defects)
        assert_agrees(source, config, out)
        write(source, config, out / FILE, self.mix, placement.cast)
        self._assert_written(checkpoint, config, out / FILE, placement.cast)
        for name in SETTINGS:
            if (checkpoint.path / name).is_file():
                shutil.copyfile(checkpoint.path / name, out / name)
        return Checkpoint(path=out, digest=directory_digest(out), precision=self.name, method=checkpoint.method)

    def load(self, checkpoint: Checkpoint, placement: Placement) -> LlamaCpp:  # noqa: ARG002 - llama.cpp has a placement of its own
        """The file behind llama.cpp."""
        from transformers import GenerationConfig

        config = model_config_of(checkpoint.path)
        files = sorted(checkpoint.path.glob("*.gguf"))
        if len(files) != 1:
            raise QuantizationError(f"{checkpoint.path} holds {len(files)} GGUF files; expected one")
        if (checkpoint.path / SETTINGS[1]).is_file():
            endings = GenerationConfig.from_pretrained(checkpoint.path, local_files_only=True)
        else:
            endings = GenerationConfig.from_modelmodel_config_of(config)
        return LlamaCpp(files[0], config, endings)

    def _assert_written(self, source: Checkpoint, config: Any, file: Path, cast: torch.dtype | str) -> None:
        import gguf

        written = {tensor.name: tensor.data for tensor in gguf.GGUFReader(file).tensors}
        for name, expected in stored_as(stored_tensors(source), config, self.mix, cast):
            if name not in written or written[name].tobytes() != expected.tobytes():
                raise QuantizationError(f"{name}: what was saved is not its rounding to {self.mix}")


class Q4_0(GGUF):  # noqa: N801 - llama.cpp's name
    """Blocks of 32 under one fp16 scale, sixteen levels."""

    name, bits, mix = "gguf-q4_0", 4, "Q4_0"


class Q4_1(GGUF):  # noqa: N801 - llama.cpp's name
    """Blocks of 32 between their smallest and largest weight."""

    name, bits, mix = "gguf-q4_1", 4, "Q4_1"


class Q8_0(GGUF):  # noqa: N801 - llama.cpp's name
    """Blocks of 32 under one fp16 scale, 8 bits."""

    name, bits, mix = "gguf-q8_0", 8, "Q8_0"


class Q4_K_M(GGUF):  # noqa: N801 - llama.cpp's name
    """Super-blocks of 256 with scales of 6 bits, some layers in 6 bits."""

    name, bits, mix = "gguf-q4_k_m", 4, "Q4_K_M"


def model_config_of(path: Path) -> Any:
    """The config of a directory, as transformers loads it."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
