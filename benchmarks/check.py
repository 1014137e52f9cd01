"""How long `check`, `judge`, `--help` and `demo` take, each as a whole process: `python benchmarks/check.py`.

One run after the other on an otherwise idle machine. The cold check starts with an empty store; the second
finds everything in it; the ratio of the two is what the store is worth. The peak is the largest process's.
"""

import resource
import subprocess
import tempfile
import time
from pathlib import Path

from unlearn_guard.processes import children


def timed(label: str, *arguments: str, expect: int, **variables: str) -> float:
    begin = time.perf_counter()
    command = [*children.python("unlearn_guard"), *arguments]
    done = subprocess.run(command, env=children.environment() | variables, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    if done.returncode != expect:
        raise SystemExit(f"{label}: exit status {done.returncode}, expected {expect}\n{done.stdout}{done.stderr}")
    print(f"{label:<44}{seconds:8.2f} s", flush=True)
    return seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        candidate, out, store = f"{folder}/erased", f"{folder}/run", f"{folder}/store"
        timed("--help", "--help", expect=0)
        timed("organism build erased", "organism", "build", "erased", "--out", candidate, expect=0)
        timed("organism build hidden", "organism", "build", "hidden", "--out", f"{folder}/hidden", expect=0)
        arguments = ("check", candidate, "--thresholds", "organism", "--out", out)
        cold = timed("check, four precisions, empty store", *arguments, expect=0, UNLEARN_GUARD_CACHE=store)
        warm = timed("check again, nothing changed", *arguments, expect=0, UNLEARN_GUARD_CACHE=store)
        timed("judge", "judge", out, "--thresholds", "organism", expect=0)
        demo = ("demo", "--out", f"{folder}/demo")
        timed("demo, empty store", *demo, expect=0, UNLEARN_GUARD_CACHE=f"{folder}/other")
        size = sum(path.stat().st_size for path in Path(candidate).glob("*.safetensors"))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    print(f"{'cold / warm':<44}{cold / warm:8.1f} x")
    print(f"{'peak of the largest process':<44}{peak / 1e6:8.0f} MB (checkpoint {size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
