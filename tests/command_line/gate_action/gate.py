"""The composite action of this repository, and runs that it could be left with."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from composite import Played

from tests.oracles.made_scores import made_run, made_scores
from tests.quiz import limits

ROOT = Path(__file__).parents[3]
ACTION = ROOT / ".github" / "actions" / "gate"
FULL_ONLY = limits("forget_drop", "retain_drop", precisions=("full",))

Gate = Callable[..., Played]
MADE = {
    "passed": made_run(),
    "failed": made_run(scores=made_scores(forget_nf4=85)),
    "incomplete": made_run(scores=[score for score in made_scores() if score.precision == "full"]),
}


def sha256(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
