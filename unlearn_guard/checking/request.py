"""What is to be checked, and on whose word: the command line's, the policy's, or an embedded organism's.

A candidate's own manifest says what its maker claims. It is believed in one case: it names a model
organism that ships with this package, with the digest that the package itself knows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_guard.checking.possible import possible
from unlearn_guard.errors import UsageError, near
from unlearn_guard.organism import EMBEDDED, base_path
from unlearn_guard.records import ALL, FULL, MEASURES

if TYPE_CHECKING:
    from unlearn_guard.intake import Intake, Outline
    from unlearn_guard.judging.draft import PolicyDraft

DEFAULT_PRECISIONS = (FULL, "nf4", "gptq", "awq")
DEFAULT_POLICY = Path("thresholds.yaml")
DTYPE_ITEMS = 100
"""Items of each forget task that are also asked in the other dtypes, unless a request says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One `check` as the user asked for it. None: the policy decides, or the default does."""

    checkpoint: str
    base: str | None = None
    suite: str | None = None
    thresholds: str | None = None
    precisions: tuple[str, ...] | None = None
    artifacts: Mapping[str, str] = field(default_factory=dict)
    out: Path | None = None
    replace: bool = False  # a finished run of another candidate, base, suite or policy in `out`
    release: Path | None = None
    seal: Path | None = None
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int = 64
    limit: int | None = None
    seed: int = 0
    data_dir: Path | None = None
    tasks_dirs: tuple[Path, ...] = ()
    retrained: str | None = None
    apply_chat_template: bool = False
    dtype_items: int | None = DTYPE_ITEMS  # None: every item
    doses: bool = False  # also ask the candidate with a little of base put back
    calibration: str = "suite"  # or "worst": of several texts and groups, what brings most back counts
    measure: tuple[str, ...] = ()  # of MEASURES, or (ALL,): also where the policy does not limit it

    @property
    def measures(self) -> frozenset[str]:
        """The metrics that `measure` names. Raises UsageError for a name that is none."""
        unknown = [name for name in self.measure if name not in (*MEASURES, ALL)]
        if unknown:
            known = (*MEASURES, ALL)
            raise UsageError(
                f"--measure {unknown[0]!r} is not known", fix=f"Known: {', '.join(known)}. {near(unknown[0], known)}"
            )
        return frozenset(MEASURES.values() if ALL in self.measure else (MEASURES[name] for name in self.measure))

    @property
    def policy(self) -> str:
        """The policy to judge by: the one named, else thresholds.yaml in the working directory, else `paper`.

        The working directory may be the candidate's own: what lies in it is its maker's word, never the default.
        """
        if self.thresholds:
            return self.thresholds
        return f"./{DEFAULT_POLICY}" if DEFAULT_POLICY.is_file() and not self.owns(DEFAULT_POLICY) else "paper"

    @property
    def policy_notes(self) -> tuple[str, ...]:
        """What is to be said of the policy: that one inside the candidate was passed over, or was asked for."""
        from unlearn_guard.judging.thresholds import policy_file

        if self.thresholds:
            told = f"the policy {self.thresholds} lies inside the candidate, whose maker may have written it"
            return (f"{told}; it was named on the command line",) if self.owns(policy_file(self.thresholds)) else ()
        if self.policy != "paper" or not DEFAULT_POLICY.is_file():
            return ()
        return (
            f"{DEFAULT_POLICY.absolute()} was passed over, as it lies inside the candidate: the policy is the shipped "
            f"`paper`; to judge by that file, name it: --thresholds ./{DEFAULT_POLICY}",
        )

    def owns(self, file: Path) -> bool:
        """Whether this file, or the link that leads to it, lies in a directory that is to be judged."""
        if not file.is_file():
            return False
        above = {*file.parent.resolve().joinpath(file.name).parents, *file.resolve().parents}
        return any(_is_of(folder, place) for place in (self.checkpoint, *self.artifacts.values()) for folder in above)


def assert_new(release: Path | None) -> None:
    """Raise UsageError for a release directory that already holds something: nothing of anybody's is overwritten."""
    if release is not None and release.exists() and (not release.is_dir() or any(release.iterdir())):
        raise UsageError(f"--release {release} is not an empty directory", fix="Give a new one.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Where base lies, which suite asks, and at which precisions; and why, where nobody said so aloud."""

    base: str
    suite: str
    precisions: tuple[str, ...]
    notes: tuple[str, ...]


class UnsettledError(UsageError):
    """Nobody said what to compare the candidate with, or what to ask it."""


def settle(request: Request, draft: "PolicyDraft", candidate: "Intake | Outline", path: Path | None) -> Settled:
    """Command line before policy before an embedded organism; `path` is where the candidate lies, if that is known.

    Raises UsageError that quotes the manifest's claim.
    """
    base, suite = request.base or draft.base, request.suite or draft.suite
    notes = request.policy_notes
    claim = candidate.manifest
    named = claim.base if claim is not None and claim.base in EMBEDDED else None
    if base is None and claim is not None and named is not None and claim.base_digest == EMBEDDED[named]:
        base, suite = str(base_path()), suite or named
        notes += (f"base and suite: the embedded organism {named!r}, which unlearn_guard.json names",)
    if base is None or suite is None:
        raise _unsettled(candidate, base, suite, request.policy_notes)
    notes += tuple(
        f"the policy names {what} {named!r}; the command line asked for {asked!r}"
        for what, named, asked in (("base", draft.base, request.base), ("suite", draft.suite, request.suite))
        if named is not None and asked is not None and named != asked
    )
    precisions = request.precisions or draft.precisions or DEFAULT_PRECISIONS
    if precisions == (ALL,):
        precisions, left_out = possible(path, adapter=bool(candidate.adapter))
        notes += left_out
    if FULL not in precisions:
        raise UsageError(
            f"precisions {','.join(precisions)} leave out {FULL}",
            fix=f"Add {FULL}: every gap and drop is measured against it.",
        )
    return Settled(base=base, suite=suite, precisions=tuple(dict.fromkeys(precisions)), notes=notes)


def _is_of(folder: Path, place: str) -> bool:
    """Whether a folder is this checkpoint: its directory by whatever name, or the hub cache's of its id."""
    if (directory := Path(place).expanduser()).is_dir():
        return folder.samefile(directory)
    return folder.name == "models--" + place.partition("@")[0].replace("/", "--")


def _unsettled(
    candidate: "Intake | Outline", base: str | None, suite: str | None, notes: tuple[str, ...] = ()
) -> UnsettledError:
    missing = " and ".join(name for name, value in (("base", base), ("suite", suite)) if value is None)
    claim = ""
    if (manifest := candidate.manifest) is not None:
        claim = (
            f" Its unlearn_guard.json claims base {manifest.base!r} and suite {manifest.suite!r}: "
            "its maker's word, which is not taken; repeat it on the command line to confirm it."
        )
    return UnsettledError(
        f"{candidate.location}: nobody said which {missing} to check it against.{claim}",
        fix="Give --base PATH --suite NAME, or write base: and suite: into thresholds.yaml."
        + "".join(f" ({note})" for note in notes),
    )
