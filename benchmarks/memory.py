"""Peak memory of a `check`, all of its processes together, beside the size of the model as it is scored.

    OMP_NUM_THREADS=1 python -m benchmarks.memory --base DIR --candidate DIR --suite NAME [--limit N] [--keep]

Adds the resident memory of the process and of everything it starts, ten times a second; the peak of each stage is told
by what its progress says. The goal is three times the checkpoint in fp32, and 0.6 GB.
"""

import argparse
import json
import os
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.ledger import keep
from unlearn_guard.processes import children

BYTES = {"F32": 4, "F16": 2, "BF16": 2, "F64": 8}


def resident(root: int) -> int:
    """Bytes that a process and its descendants hold; what two share is counted twice."""
    parents: dict[int, int] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                parents[int(each.name)] = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
    family, grew = {root}, True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family |= more
        grew = bool(more)
    pages = 0
    for pid in family:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE")


def in_fp32(directory: Path) -> int:
    """Bytes of a checkpoint as the CPU scores it."""
    total = 0
    for file in directory.glob("*.safetensors"):
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        header.pop("__metadata__", None)
        total += sum(
            (entry["data_offsets"][1] - entry["data_offsets"][0]) * 4 // BYTES[entry["dtype"]]
            for entry in header.values()
        )
    return total


def watched(arguments: list[str], cache: str) -> dict[str, float]:
    """The peak while each line of progress was the last one, in bytes."""
    environment = {**children.environment(), "UNLEARN_GUARD_CACHE": cache}
    command = [*children.python("unlearn_guard"), *arguments]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    peaks: dict[str, float] = {"start": 0}
    stage = "start"

    def read() -> None:
        nonlocal stage
        for line in process.stderr or ():
            stage = line.strip()[:70] or stage

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    while process.poll() is None:
        peaks[stage] = max(peaks.get(stage, 0), resident(process.pid))
        time.sleep(0.1)
    reader.join()
    if process.returncode not in (0, 1, 5):
        raise SystemExit(f"check ended {process.returncode}: {stage}")
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--candidate", type=Path, required=True)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--precisions", default="full,nf4,gptq")
    parser.add_argument("--limit", default="10")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--cache", help="a store that is kept; without it an empty one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asked = ["check", str(given.candidate), "--base", str(given.base), "--suite", given.suite]
        more = ["--precisions", given.precisions, "--limit", given.limit, "--out", f"{folder}/run"]
        peaks = watched([*asked, *more], given.cache or f"{folder}/store")
    size = in_fp32(given.base)
    for stage, bytes_held in peaks.items():
        print(f"{stage:72}{bytes_held / 1e9:7.2f} GB")
    peak, goal = max(peaks.values()), 3 * size + 0.6e9
    print(f"peak {peak / 1e9:.2f} GB; the model in fp32 {size / 1e9:.2f} GB; goal {goal / 1e9:.2f} GB")
    if given.keep:
        print(keep("memory", {"precisions": given.precisions, "peak": peak, "model": size, "goal": goal}))


if __name__ == "__main__":
    main()
