"""Judging a finished run is a matter of milliseconds and needs none of the libraries that measure."""

import subprocess
import sys
from pathlib import Path

from tests.oracles.made_scores import made_run
from unlearn_guard.runs.directory import write_run

JUDGE = """
import sys
from pathlib import Path
from unlearn_guard.judging.gate import exit_status
from unlearn_guard.judging.rejudge import rejudge
from unlearn_guard.judging.thresholds import read_policy
from unlearn_guard.runs.directory import read_run
run = rejudge(read_run(Path(sys.argv[1])), read_policy("paper"))
print([name for name in ("torch", "scipy", "transformers", "lm_eval", "numpy") if name in sys.modules])
print(int(exit_status(run.verdict)))
"""


def test_judging_again_imports_no_heavy_library(tmp_path):
    write_run(*made_run(), tmp_path / "run")
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, str(tmp_path / "run")], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "5"]
