"""`compare`: many cells of the pipeline, each in a process of its own, and a leaderboard of what came out.

    plan -> for each cell that nobody has measured: unlearn, check -> leaderboard

A cell that fails is a row that says why. What is finished stays finished, whatever becomes of the rest, and several
compares may share one directory: a cell is measured by whoever has its lock.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unlearn_guard.comparing.cells import Cell, Comparison, cells
from unlearn_guard.comparing.engines.local import Local, Watcher
from unlearn_guard.comparing.leaderboard import Site, write_leaderboard
from unlearn_guard.errors import UsageError
from unlearn_guard.runs import cell_file
from unlearn_guard.runs.cell_file import CellFile
from unlearn_guard.runs.mirror import meet, publish_folder

SITE = "leaderboard"
RAY = "ray"
_LIBRARIES = 1_500_000_000
"""What a process takes before it has a model."""

_BYTES_A_WEIGHT = 16
"""Training in float32: weight, gradient, and AdamW's two moments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The cells, what became of each so far, and what the rest may take.

    `seconds` is measured, the mean of this comparison's finished cells times those that are left; None before one is
    finished. `bytes_a_cell` is arithmetic: the libraries, the weights as stored, and 16 bytes a weight to train.
    """

    asked: Comparison
    cells: tuple[Cell, ...]
    found: Mapping[Path, CellFile]
    bytes_a_cell: int

    @property
    def left(self) -> tuple[Cell, ...]:
        """What is still to be measured; what failed before is tried again."""
        return tuple(cell for cell in self.cells if not self.measured(cell))

    def measured(self, cell: Cell) -> bool:
        """Whether the cell has a run."""
        return cell.folder in self.found and self.found[cell.folder].state == cell_file.MEASURED

    @property
    def seconds(self) -> float | None:
        """How long the rest may take, one cell after the other."""
        known = [each.seconds for each in self.found.values() if each.state == cell_file.MEASURED and each.seconds]
        return sum(known) / len(known) * len(self.left) if known else None


def plan(asked: Comparison) -> Plan:
    """What `compare` would do. Raises UsageError for all that it would refuse."""
    from unlearn_guard.intake import open_checkpoint, with_parameters

    base = with_parameters(open_checkpoint(asked.base))
    made = cells(asked, base)
    if not made:
        raise UsageError("there is no cell to measure", fix="Name methods and suites, and a part that is not empty.")
    if asked.remote is not None:
        meet(asked.remote, {cell.folder: cell.asked for cell in made})
    weights = sum(tensor.elements for tensor in base.tensors)
    stored = base.stored_bytes
    found = {cell.folder: result for cell in made if (result := cell.found()) is not None}
    return Plan(asked=asked, cells=made, found=found, bytes_a_cell=_LIBRARIES + stored + _BYTES_A_WEIGHT * weights)


def compare(
    asked: Comparison,
    watcher: Watcher,
    *,
    jobs: int | None = None,
    gpus: int = 1,
    engine: str = "local",
    ray_address: str | None = None,
) -> tuple[Plan, Site | None]:
    """Measure what is left and write the leaderboard of all of it; of a part (`--cell`) there is none.

    Each cell has `gpus` CUDA devices where there are any; UsageError where there are fewer than were asked for.
    Returns the plan as it stands at the end. An interrupt ends every process and leaves what is finished.
    """
    begun = plan(asked)
    watcher.begin(len(begun.cells), len(begun.cells) - len(begun.left))
    if ray_address is not None and engine != RAY:
        raise UsageError(f"--ray-address {ray_address} without --engine ray", fix="Add --engine ray.")
    if begun.left and engine == RAY:
        from unlearn_guard.comparing.engines.ray import run

        run(asked, begun.left, watcher, room=begun.bytes_a_cell, jobs=jobs, gpus=gpus, address=ray_address)
    elif begun.left:
        places = _places(asked.device, jobs, gpus)
        Local(asked=asked, watcher=watcher, room=begun.bytes_a_cell).run(begun.left, places)
    if asked.remote is not None:
        meet(asked.remote, {cell.folder: cell.asked for cell in begun.cells})  # what other machines measured
    ended = Plan(
        asked=asked,
        cells=begun.cells,
        found={cell.folder: result for cell in begun.cells if (result := cell.found()) is not None},
        bytes_a_cell=begun.bytes_a_cell,
    )
    if asked.part is not None:
        return ended, None
    site = write_leaderboard([cell.folder for cell in ended.cells], asked.out / SITE)
    if asked.remote is not None:
        publish_folder(asked.remote, asked.out / SITE)
    return ended, site


def _places(device: str, jobs: int | None, gpus: int = 1) -> list[str | None]:
    """One entry for each process that may run at a time: its CUDA devices ("0,1"), or None for the machine.

    Devices that are left over when each process has `gpus` of them stay idle.
    """
    devices = [] if device == "cpu" else _devices()
    if gpus > max(1, len(devices)):
        raise UsageError(
            f"--gpus-per-cell {gpus}: this machine gives a cell {len(devices)} CUDA devices (--device {device})",
            fix="Ask for no more than there are, and not with --device cpu.",
        )
    groups = [",".join(devices[first : first + gpus]) for first in range(0, len(devices) - gpus + 1, gpus)]
    places: list[str | None] = [*groups] or [None]
    return (places * (jobs or 1))[: jobs or len(places)]


def _devices() -> list[str]:
    """The CUDA devices that this process sees."""
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = visible if len(visible) >= count and visible != [""] else [str(index) for index in range(count)]
    return names[:count]
