"""A run's verdict and digests as lines for $GITHUB_OUTPUT, each of them one line to whoever reads it."""

import re

from unlearn_guard.errors import Defect, ExitStatus, RunDirectoryError
from unlearn_guard.records import Run

_DIGEST = re.compile(r"[A-Za-z0-9:._-]{1,200}")


def outputs(run: Run, digest: str, status: ExitStatus) -> tuple[str, ...]:
    """`verdict`, `status` (the verdict's), `digest` (the candidate's) and `run-digest` (run.json's).

    Raises RunDirectoryError for a digest that could be read as another output.
    """
    for where, each in (("candidate.digest", run.candidate.digest), ("run.json", digest)):
        if not _DIGEST.fullmatch(each):
            raise RunDirectoryError(
                "a digest of this run is none", [Defect(where=where, found=repr(each)[:100], expected="sha256:...")]
            )
    return (
        f"verdict={run.verdict.word}",
        f"status={int(status)}",
        f"digest={run.candidate.digest}",
        f"run-digest={digest}",
    )
