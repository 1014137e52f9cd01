"""A suite on disk: its file, its tasks, what they ask from, and what `unlearn` trains on. Whole, or not there."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from unlearn_guard.authoring.entry import Entry
from unlearn_guard.authoring.form import Ask, Form, forms_of, item, preface, task_text, training
from unlearn_guard.authoring.questions_file import Questions
from unlearn_guard.authoring.rows_file import json_lines
from unlearn_guard.errors import UsageError
from unlearn_guard.records import Role
from unlearn_guard.reports.wording import plain
from unlearn_guard.resources import bundled
from unlearn_guard.runs.atomic import write_bytes
from unlearn_guard.scoring.suite_file import CALIBRATION_SAMPLES
from unlearn_guard.scoring.suites import list_suites

PAIRS = "pairs.jsonl"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """All that a suite is made of. `pairs` is `neutral`, `swapped` or the content of a file of pairs."""

    name: str
    questions: Questions
    ask: Ask = "letters"
    about: str | None = None
    pairs: str | bytes = "swapped"
    corpora: dict[str, bytes] | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(f"the name {plain(self.name)!r}", fix="Use up to 60 letters, digits, `-` and `_`.")
        if any(suite.name == self.name for suite in list_suites()):
            raise UsageError(f"the suite {self.name!r} ships with unlearn-guard", fix="Choose another name.")
        if self.about is not None and (not self.about.isprintable() or "{" in self.about or not self.about.strip()):
            raise UsageError(f"--about {plain(self.about)!r}", fix="Give a few words without braces, such as biology.")

    def forms(self, role: Role) -> tuple[Form, ...]:
        """How this part of the questions is asked."""
        return forms_of(self.questions.of(role), self.ask, self.about)


def write_suite(draft: Draft, folder: Path) -> None:
    """Write NAME.yaml and NAME/ into a folder."""
    for name, data in suite_files(draft):
        write_bytes(folder / draft.name / name, data)
    write_bytes(folder / f"{draft.name}.yaml", suite_text(draft).encode())


def suite_files(draft: Draft) -> Iterator[tuple[str, bytes]]:
    """The files of a suite's folder, by name."""
    tasks = bundled("tasks")
    yield "utils.py", (tasks / "organism" / "utils.py").read_bytes()
    for role in (Role.FORGET, Role.RETAIN):
        entries = draft.questions.of(role)
        yield f"{role}.jsonl", json_lines(map(item, entries))
        for form in draft.forms(role):
            name = f"{draft.name}_{role}{form.ending}"
            yield f"{name}.yaml", task_text(name, f"{role}.jsonl", form).encode()
        if not entries[0].choices:
            yield "answers.py", (tasks / "tofu" / "utils.py").read_bytes()
        if draft.corpora is None:
            yield f"corpus/{role}.jsonl", json_lines(row for each in entries for row in training(each, draft.ask))
    yield from ((f"corpus/{name}", data) for name, data in (draft.corpora or {}).items())
    if isinstance(draft.pairs, bytes):
        yield PAIRS, draft.pairs


def suite_text(draft: Draft) -> str:
    """The suite's own file: YAML whose values are JSON."""
    lines = [
        "version: 1",
        f"name: {_json(draft.name)}",
        f"title: {_json(_title(draft))}",
        f"description: {_json(_description(draft))}",
        *(line for role in (Role.FORGET, Role.RETAIN) for line in _tasks(draft, role)),
        f"include: [{_json(draft.name)}]",
        f"calibration: {{tasks: retain, samples: {_samples(draft)}}}",
        "unlearn:",
        *_corpora(draft),
    ]
    return "\n".join(lines) + "\n"


def chance_of(entries: Sequence[Entry]) -> float:
    """What an answer drawn blindly scores: the mean of 1 / choices; 0 of an answer to be written."""
    blind = [Fraction(1, len(each.choices)) for each in entries if each.choices]
    return round(float(sum(blind, Fraction(0)) / len(entries)), 4)


def _tasks(draft: Draft, role: Role) -> Iterator[str]:
    yield f"{role}:"
    for form in draft.forms(role):
        pairs = PAIRS if isinstance(draft.pairs, bytes) else draft.pairs
        source = f"{draft.name}/{pairs}" if pairs == PAIRS else pairs
        of_pairs = f", pairs: {source}" if role is Role.FORGET and form.paired else ""
        chance = chance_of(draft.questions.of(role)) if form.metric == "acc" else 0.0
        yield f"  - {{task: {draft.name}_{role}{form.ending}, metric: {form.metric}, chance: {chance:g}{of_pairs}}}"


def _corpora(draft: Draft) -> Iterator[str]:
    named = draft.corpora if draft.corpora is not None else {f"{role}.jsonl": b"" for role in ("forget", "retain")}
    # Before a corpus of one's own stands nothing: it is not known to be of questions.
    lettered = draft.corpora is None and draft.ask == "letters"
    for name in named:
        role = name.partition(".")[0]
        asked = lettered and bool(draft.questions.of(Role(role))[0].choices) and draft.about
        described = f", description: {_json(preface(draft.about))}" if asked else ""
        yield f"  {role}: [{{file: {draft.name}/corpus/{name}{described}}}]"


def _samples(draft: Draft) -> int:
    return min(CALIBRATION_SAMPLES, len({each.question for each in draft.questions.of(Role.RETAIN)}))


def _title(draft: Draft) -> str:
    forget, retain = (len(draft.questions.of(role)) for role in (Role.FORGET, Role.RETAIN))
    return f"{forget} questions to forget, {retain} to keep"


def _description(draft: Draft) -> str:
    files = " and ".join(f"{plain(name)} (sha256 {digest})" for name, digest in draft.questions.sources)
    return f"Written by `unlearn-guard init suite` from {files}."


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
