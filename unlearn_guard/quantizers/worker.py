"""gptqmodel in a process of its own.

The library starts thread pools, keeps telemetry, and may take the process down with it; a child keeps
that away from the run and hands back one log. The child lives as long as the run, so that the library
is imported once.
"""

import contextlib
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from unlearn_guard.environment import names_other_attention
from unlearn_guard.errors import QuantizationError
from unlearn_guard.processes.children import end_with_parent, keep_safe
from unlearn_guard.quantizers.protocol import SHORTEST

Log = list[dict[str, Any]]


def quantize(method: str, source: Path, out: Path, texts: tuple[str, ...], *, group: int, device: str) -> Log:
    """Quantize `source` into `out` and return the library's account: one row a module, with its loss.

    Raises QuantizationError when the library fails or takes its process down.
    """
    try:
        return (
            _pool().submit(_quantize, method, str(source.resolve()), str(out.resolve()), texts, group, device).result()
        )
    except _LibraryError as error:
        raise QuantizationError(f"gptqmodel could not make {method}: {error}") from error
    except BaseException as error:
        _end()
        if isinstance(error, BrokenProcessPool):
            raise QuantizationError(f"gptqmodel's process died while making {method}") from error
        raise


def prepare_environment() -> None:
    """What gptqmodel reads from the environment when it is imported; on two cores it crashes without the first."""
    if (os.cpu_count() or 1) <= 2:
        os.environ.setdefault("GPTQMODEL_CPU_WORKERS", "2")
    os.environ.setdefault("GPTQMODEL_DISABLE_GIL_WARNING", "1")


class _LibraryError(Exception):
    """Whatever the library raised, as text: its own exceptions need not survive pickling."""


@cache
def _pool() -> ProcessPoolExecutor:
    keep_safe()  # the child's first imports would come from the working directory
    context = multiprocessing.get_context("spawn")  # fork and torch's thread pools do not go together
    pool = ProcessPoolExecutor(max_workers=1, mp_context=context, initializer=end_with_parent)
    # A process that multiprocessing made waits for its children before pools are told to end: it would wait for ever.
    Finalize(None, pool.shutdown, exitpriority=100)  # before the queues that it ends its workers by
    return pool


def _end() -> None:
    """Kill the child, which may be hours from the end of its work, and leaving Python would wait for it."""
    _pool.cache_clear()
    for child in multiprocessing.active_children():
        child.kill()


def _quantize(method: str, source: str, out: str, texts: tuple[str, ...], group: int, device: str) -> Log:
    prepare_environment()
    try:
        # The library writes a folder `logs` into the working directory, and must find no code there. What it is killed
        # over lies beside what it was to make, and goes with that.
        with tempfile.TemporaryDirectory(dir=Path(out).parent) as elsewhere, contextlib.chdir(elsewhere):
            return _run(method, source, out, texts, group, device)
    except Exception as error:
        raise _LibraryError(f"{type(error).__name__}: {error}") from None


def _run(method: str, source: str, out: str, texts: tuple[str, ...], group: int, device: str) -> Log:
    from gptqmodel import BACKEND, GPTQModel, QuantizeConfig
    from gptqmodel.quantization import FORMAT, METHOD
    from transformers import AutoConfig, AutoTokenizer

    awq = method == "awq"
    config = QuantizeConfig(
        bits=4,
        group_size=group,
        sym=not awq,  # GPTQ's usual grid is symmetric, AWQ's has zero points
        method=METHOD.AWQ if awq else METHOD.GPTQ,
        format=FORMAT.GEMM if awq else FORMAT.GPTQ,
        offload_to_disk=False,
        fallback=None,  # the default rounds a badly covered module to nearest and goes on
    )
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=True)
    rows = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in tokenizer(list(texts))["input_ids"]]
    short = [len(row["input_ids"]) for row in rows if len(row["input_ids"]) < SHORTEST]
    if short:
        raise ValueError(f"{len(short)} of {len(rows)} calibration texts have fewer than {SHORTEST} tokens")
    named = AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=True)
    plain = {"attn_implementation": "eager"} if names_other_attention(named) else {}
    model = GPTQModel.load(source, config, device=device, trust_remote_code=False, **plain)
    # On CPU the automatic choice refuses; with CUDA it is the fast one.
    cpu_backend = BACKEND.AWQ_TORCH if awq else BACKEND.GPTQ_TORCH
    used = _count_used(model)
    log = model.quantize(
        rows,
        tokenizer=tokenizer,
        batch_size=8,
        backend=cpu_backend if device == "cpu" else BACKEND.AUTO,
    )
    if not used or any(count != len(rows) for count in used):
        raise ValueError(f"the library used {sorted(set(used))} of {len(rows)} calibration texts")
    model.save(out)
    return [{key: str(value) for key, value in row.items()} for rows in log.values() for row in rows]


def _count_used(model: Any) -> list[int]:
    """The number of texts that the library keeps each time it prepares them, filled in while it works."""
    prepare, used = model.prepare_dataset, []

    def counted(*arguments: Any, **options: Any) -> Any:
        batches = prepare(*arguments, **options)
        used.append(sum(len(batch["input_ids"]) for batch in batches))
        return batches

    model.prepare_dataset = counted
    return used
