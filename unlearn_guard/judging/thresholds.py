"""The policy's reader: from thresholds.yaml to limits, or to every defect in it with its line.

Two steps, because a policy may itself name the suite it is about: `read_policy` needs only the file,
`resolve` also the suite's tasks, and turns `@forget` and lists of precisions into one limit each.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_guard.errors import Defect, PolicyError, near
from unlearn_guard.records import Policy
from unlearn_guard.resources import bundled

if TYPE_CHECKING:
    from unlearn_guard.judging.draft import PolicyDraft
    from unlearn_guard.judging.resolving import TaskLike

DEFAULT = "paper"
MAX_BYTES = 64 * 1024
_POLICIES = Path(__file__).resolve().parent / "policies"


def list_policies() -> tuple[str, ...]:
    """The policies that ship with the package, by name: `paper` is the default, thresholds.yaml."""
    return (DEFAULT, *sorted(path.stem for path in _POLICIES.glob("*.yaml")))


def policy_file(path_or_name: str | Path) -> Path:
    """The file of a shipped policy's name, or the path itself. A file called like a policy is `./paper`."""
    if str(path_or_name) == DEFAULT:
        return bundled("thresholds.yaml")
    if str(path_or_name) in list_policies():
        return _POLICIES / f"{path_or_name}.yaml"
    return Path(path_or_name)


def read_policy(path_or_name: str | Path) -> "PolicyDraft":
    """The policy as written, checked as far as that goes without knowing the suite.

    Takes a path or a shipped policy's name. Raises PolicyError with all defects, each with file and line.
    """
    data = _read(path_or_name)
    name = str(path_or_name)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        byte = f"byte 0x{data[error.start]:02x}"
        raise PolicyError(
            f"{name} is not a policy", [Defect(where=f"{name}:{line}", found=byte, expected="UTF-8 text")]
        ) from error
    return policy_of(text, name=name)


@lru_cache(maxsize=32)  # a run asks for its own policy, the one given and the other shipped one
def policy_of(text: str, *, name: str) -> "PolicyDraft":
    """The policy that a file with exactly this text is; its digest is that of the file's bytes. Raises PolicyError."""
    from unlearn_guard.judging.draft import read_draft

    return read_draft(text, name=name, digest=f"sha256:{sha256(text.encode()).hexdigest()}")


def resolve(draft: "PolicyDraft", tasks: "Sequence[TaskLike]", precisions: Iterable[str]) -> Policy:
    """The draft's limits, one for each metric, task and precision, in the file's order.

    `tasks` are the suite's (anything with name, role and metric: `records.Task` will do), `precisions`
    every name the guard knows, whether or not this run measures it. A limit on something that nothing
    produces is a PolicyError; a limit on something this run leaves out is a limit, and stays UNMEASURED.
    """
    from unlearn_guard.judging.resolving import resolve_limits

    return Policy(
        path=draft.path,
        digest=draft.digest,
        limits=resolve_limits(draft, tasks, tuple(precisions)),
        base=draft.base,
        suite=draft.suite,
        precisions=draft.precisions,
        text=draft.text,
    )


def _read(path_or_name: str | Path) -> bytes:
    path = policy_file(path_or_name)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        shipped = ", ".join(list_policies())
        raise PolicyError(
            f"{path_or_name}: cannot read this policy: {error.strerror or error}",
            fix=f"Give a file, or the name of a shipped policy: {shipped}. {near(str(path_or_name), list_policies())}",
        ) from error
    if len(data) > MAX_BYTES:
        raise PolicyError(
            f"{path_or_name} is too large for a policy",
            [Defect(where=str(path_or_name), found=f"more than {MAX_BYTES} bytes", expected="a few kilobytes")],
        )
    return data
