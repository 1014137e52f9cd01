"""What a benchmark measured, kept as JSON beside the benchmarks with the machine and the day."""

import json
import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of wall clock and of processor, and by how many bytes the process's peak rose; what came out."""

    wall: float
    busy: float
    grown: int
    value: Any


def peak() -> int:
    """The most memory that this process has held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def cost(work: Callable[[], Any]) -> Cost:
    """Do it once. On a busy machine the seconds of processor are the ones to compare."""
    held, busy, wall = peak(), time.process_time(), time.perf_counter()
    value = work()
    return Cost(
        wall=time.perf_counter() - wall, busy=time.process_time() - busy, grown=max(0, peak() - held), value=value
    )


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return {"device": device, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__}


def keep(name: str, figures: dict[str, Any]) -> Path:
    """Write `results/NAME.json`, in place of what an earlier run left there."""
    RESULTS.mkdir(exist_ok=True)
    held = {"date": datetime.now(UTC).date().isoformat(), "machine": machine(), **figures}
    file = RESULTS / f"{name}.json"
    file.write_text(json.dumps(held, indent=1) + "\n")
    return file
