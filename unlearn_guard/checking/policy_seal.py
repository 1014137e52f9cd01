"""A policy sealed before there is a candidate: the digests of the rule, of the suite and of every question.

So that nobody can say that the rule was made for the result. When it was made is its maker's word, until somebody
else holds the file: commit it, or sign it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearn_guard import __version__
from unlearn_guard.errors import Defect, UsageError
from unlearn_guard.intake import open_checkpoint, open_tokenizer
from unlearn_guard.judging.thresholds import read_policy, resolve
from unlearn_guard.reading import strict_json
from unlearn_guard.registry import precisions
from unlearn_guard.runs.atomic import write_bytes
from unlearn_guard.scoring.chat import Chat
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.questions import Rendered
from unlearn_guard.scoring.suites import Suite, load_suite

SCHEMA: Final = "unlearn-guard.seal/1"
_MOST = 2**20
_Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)


class SealedTask(_Strict):
    """A task, its number of items and the digest of their rendered form."""

    name: str
    items: Annotated[int, Field(ge=1)]
    digest: str


class Seal(_Strict):
    """What was settled, by digests; `made` and `version` say when and by which guard."""

    schema_: Annotated[Literal["unlearn-guard.seal/1"], Field(alias="schema")]
    made: str
    version: str
    policy: _Digest
    suite: _Digest
    seed: Annotated[int, Field(ge=0)]
    tasks: Annotated[tuple[SealedTask, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A seal as read from its file."""

    path: Path
    digest: str
    seal: Seal

    @property
    def note(self) -> str:
        """What a run says of the seal that it was held to."""
        return (
            f"policy, suite and items are those of the seal {self.path} ({self.digest}), made {self.seal.made} by its "
            "maker's word"
        )


def make_seal(
    policy: str,
    suite: str | None,
    *,
    seed: int = 0,
    tasks_dirs: Sequence[Path] = (),
    data_dir: Path | None = None,
    base: str | None = None,
    apply_chat_template: bool = False,
) -> Seal:
    """Render the suite and take the digests, of what `check` with the same options asks.

    `base`, whose tokenizer alone is read, is needed where questions are put in its words: by a suite whose tasks say
    so, or by `apply_chat_template`. Raises UsageError where it is missing then, and for a policy that names no suite
    where none is given, or does not fit it.
    """
    draft = read_policy(policy)
    name = suite or draft.suite
    if name is None:
        raise UsageError(f"{policy} names no suite, so nobody knows the questions", fix="Give --suite NAME.")
    loaded = load_suite(name, tasks_dirs)
    resolve(draft, loaded.tasks, precisions())
    if apply_chat_template and base is None:
        raise UsageError("--apply-chat-template asks in base's chat template", fix="Give --base PATH.")
    tokenizer = open_tokenizer(open_checkpoint(base).checkpoint.path) if base is not None else None
    chat = Chat(tokenizer) if apply_chat_template else None
    rendered = render(loaded, seed=seed, data_dir=data_dir, chat=chat, tokenizer=tokenizer)
    if rendered.bare:
        raise UsageError(
            f"{', '.join(rendered.bare)}: asked in base's own words, so that without base nobody knows the questions",
            fix="Give --base PATH, the base of the check; its tokenizer alone is read.",
        )
    return Seal(
        schema_=SCHEMA,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        policy=draft.digest,
        suite=_suite_digest(loaded),
        seed=seed,
        tasks=_tasks(rendered),
    )


def write_seal(seal: Seal, out: Path) -> None:
    """As JSON. Raises UsageError where something lies there: a seal is not made twice."""
    if out.exists():
        raise UsageError(f"{out} is there already", fix="A seal is made once: give another name, or keep this one.")
    write_bytes(out, (json.dumps(seal.model_dump(by_alias=True), indent=1) + "\n").encode())


def read_seal(path: Path) -> Held:
    """Raises UsageError for a file that is no seal."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST)
    except OSError as error:
        raise UsageError(f"{path}: cannot read this seal: {error.strerror or error}") from error
    try:
        strict_json.loads(data)
        seal = Seal.model_validate_json(data)
    except ValidationError as error:
        defects = [
            Defect(where=f"{path}: {'.'.join(map(str, each['loc']))}", found=each["msg"], expected="a seal's field")
            for each in error.errors()
        ]
        raise UsageError(f"{path} is not a seal that `policy seal` wrote", defects) from error
    except ValueError as error:
        raise UsageError(f"{path} is not a seal that `policy seal` wrote: {error}") from error
    return Held(path=path, digest=f"sha256:{sha256(data).hexdigest()}", seal=seal)


def assert_rule(held: Held, *, policy: str, suite: Suite, seed: int, limit: int | None) -> None:
    """Raise UsageError where policy, suite or seed is another than was sealed: known before anything is opened."""
    sealed = held.seal
    pairs = (
        ("policy", policy, sealed.policy),
        ("suite", _suite_digest(suite), sealed.suite),
        ("seed", str(seed), str(sealed.seed)),
        ("items", "all" if limit is None else f"the first {limit}", "all"),
    )
    _refuse(
        held, [Defect(where=what, found=found, expected=wanted) for what, found, wanted in pairs if found != wanted]
    )


def assert_items(held: Held, rendered: Rendered) -> None:
    """Raise UsageError naming each task whose questions are others than were sealed."""
    now, then = ({task.name: task for task in tasks} for tasks in (_tasks(rendered), held.seal.tasks))
    defects = [
        Defect(where=f"task {name}", found=_shown(now.get(name)), expected=_shown(then.get(name)))
        for name in sorted({*now, *then})
        if now.get(name) != then.get(name)
    ]
    _refuse(held, defects)


def _refuse(held: Held, defects: list[Defect]) -> None:
    if defects:
        raise UsageError(
            f"this is not what the seal {held.path} of {held.seal.made} settled",
            defects,
            fix="Check by the policy, the suite and the items that were sealed; a new rule needs a new seal.",
        )


def _shown(task: SealedTask | None) -> str:
    return "no such task" if task is None else f"{task.items} items, {task.digest}"


def _tasks(rendered: Rendered) -> tuple[SealedTask, ...]:
    return tuple(SealedTask(name=task.name, items=task.items, digest=task.digest) for task in rendered.records)


def _suite_digest(suite: Suite) -> str:
    return f"sha256:{sha256(suite.path.read_bytes()).hexdigest()}"
