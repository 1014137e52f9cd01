"""Cells as Ray tasks: Ray finds the node, keeps to its resources, and tries again where a node dies.

A task starts the same process that the local engine starts, so a cell is measured in the same way. When a node dies,
the process goes with the task, and the lock with the process; the next node takes up what lies in the cell's folder.
The folder, and the directory that `compare` was started in, have to be the same for all nodes.
"""

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unlearn_guard.comparing import measure_cell
from unlearn_guard.comparing.cells import Cell, Comparison
from unlearn_guard.comparing.engines.local import COMMAND, Local, Watcher, words, write_failure
from unlearn_guard.errors import PluginError, UsageError
from unlearn_guard.processes.children import NEUTRAL, keep_safe
from unlearn_guard.processes.interruption import heed, listen_again
from unlearn_guard.processes.marked import marked
from unlearn_guard.runs.cell_file import CellFile

RETRIES = 3
"""How often a cell is tried again after its node or Ray's worker died. What a cell itself raises is its result."""

_PAUSE = 1.0


class _Nobody:
    """Is told nothing: a task's progress stays on its node."""

    def begin(self, total: int, done: int) -> None: ...

    def started(self, name: str) -> None: ...

    def stage(self, name: str, text: str, done: int | None, of: int | None) -> None: ...

    def ended(self, name: str, outcome: str, finished: bool) -> None: ...


def task(line: str, cwd: str, command: Sequence[str]) -> str | None:
    """Measure a cell on this node; its result as cell.json says it, or None where another process has it."""
    os.chdir(cwd)
    asked, cell = measure_cell.decode(line)
    # Ray has chosen the node by the memory that a cell takes, and has set the devices.
    found = Local(asked=asked, watcher=_Nobody(), room=0, cwd=Path(cwd), command=command).one(cell, None)
    return None if found is None else found.model_dump_json(by_alias=True)


def run(
    asked: Comparison,
    left: Sequence[Cell],
    watcher: Watcher,
    *,
    room: int,
    jobs: int | None = None,
    gpus: int = 1,
    address: str | None = None,
    command: Sequence[str] = COMMAND,
) -> None:
    """Every cell once, at most `jobs` at a time, on the cluster at `address`, or on one started here.

    Raises PluginError where Ray is not installed, UsageError where no node could ever take a cell.
    """
    try:
        import ray
    except ImportError as error:
        raise PluginError(f"--engine ray: {error}", fix="pip install 'unlearn-guard[ray]'") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    keep_safe()
    # A cluster that somebody else started is not ours to end.
    with contextlib.nullcontext() if address else marked():
        _connect(ray, address)
        try:
            takes = _resources(ray.nodes(), asked.device, room, gpus)
            remote = ray.remote(task).options(max_retries=RETRIES, **takes)
            cwd = str(Path.cwd())

            def start(cell: Cell) -> Any:
                return remote.remote(measure_cell.encode(asked, cell), cwd, command)

            _drive(ray, start, left, watcher, jobs or len(left))
        finally:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    own = {} if address else {"_node_ip_address": "127.0.0.1", "include_dashboard": False}
    try:
        # Ray puts the directory that it is started in first on its workers' path.
        with contextlib.chdir(NEUTRAL):
            ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **own)
        listen_again()
    except SystemExit as error:  # its own answer to SIGTERM, while it starts
        raise KeyboardInterrupt from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UsageError(f"--ray-address {address}: {error}", fix="Give HOST:PORT of a running cluster.") from error


def _resources(nodes: Sequence[dict[str, Any]], device: str, room: int, gpus: int = 1) -> dict[str, float]:
    """What a cell takes: `gpus` where the cluster has some, all of them on one node.

    UsageError where no node has as much: Ray would wait for one for ever.
    """
    held = [node["Resources"] for node in nodes if node["Alive"]]
    if gpus > 1 and device == "cpu":
        raise UsageError(f"--gpus-per-cell {gpus} with --device cpu", fix="Leave one of them out.")
    cuda = device == "cuda" or (device == "auto" and (gpus > 1 or any(each.get("GPU", 0) for each in held)))
    asked = {"CPU": 1.0, "memory": float(room), **({"GPU": float(gpus)} if cuda else {})}
    if not any(all(each.get(name, 0) >= value for name, value in asked.items()) for each in held):
        shown = ", ".join(f"{name} {value:g}" for name, value in asked.items())
        raise UsageError(f"no node of the Ray cluster has what a cell takes: {shown}", fix="Add such a node.")
    return {"num_cpus": 1, "memory": room, **({"num_gpus": gpus} if cuda else {})}


def _drive(ray: Any, start: Callable[[Cell], Any], left: Sequence[Cell], watcher: Watcher, most: int) -> None:
    waiting = deque(left)
    running: dict[Any, Cell] = {}
    while waiting or running:
        heed()
        while waiting and len(running) < most:
            cell = waiting.popleft()
            watcher.started(cell.name)
            running[start(cell)] = cell
        done, _ = ray.wait(list(running), timeout=_PAUSE)
        for each in done:
            cell = running.pop(each)
            found = _result(ray, each, cell)
            if found is None:
                waiting.append(cell)
                time.sleep(_PAUSE)
            outcome = "another process has it" if found is None else words(found)
            watcher.ended(cell.name, outcome, found is not None)


def _result(ray: Any, done: Any, cell: Cell) -> CellFile | None:
    """The cell's result; a task that Ray gave up is a failed cell."""
    try:
        text = ray.get(done)
    except ray.exceptions.RayError as error:
        return write_failure(cell, f"its Ray task failed: {type(error).__name__}: {str(error)[-400:]}")
    return None if text is None else CellFile.model_validate_json(text)
