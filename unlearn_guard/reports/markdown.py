"""The run for a pull request or `$GITHUB_STEP_SUMMARY`: GitHub's Markdown, cut with a pointer where it grows long.

Nothing of a checkpoint, suite or policy is Markdown: every sign that could be is written as a character reference,
and names stand in code, where GitHub looks for no mentions.
"""

from collections.abc import Iterator, Sequence

from unlearn_guard.records import FULL, Check, Outcome, Role
from unlearn_guard.reports import formats, other_policy, positive_control, wording
from unlearn_guard.reports.evidence import Evidence
from unlearn_guard.reports.scorecard import scorecard, sentence, worst_first

LIMIT = 60_000
"""Bytes: below the 65 536 characters of a comment, and so far below the 1 MiB of a step summary."""


def markdown(evidence: Evidence, *, limit: int = LIMIT) -> str:
    """The summary, at most `limit` bytes long: verdict, properties, limits that did not hold, scores, the rest."""
    run = evidence.run
    checks = worst_first(run.verdict.checks)
    open_ = [check for check in checks if check.outcome is not Outcome.PASSED]
    held = [check for check in checks if check.outcome is Outcome.PASSED]
    word = {"passed": "✓ Passed", "failed": "✕ Failed"}.get(run.verdict.word, "? Not established")
    text = _Text(limit, pointer=f"Cut here; all of it is in report.html of {code(evidence.directory)}.")
    text.add(
        f"## {word}\n\n{prose(sentence(run))}\n\n{prose(wording.headline(run))}\n\n{prose(other_policy.line(run))}\n\n"
    )
    if (worst := formats.worst(run)) is not None:
        text.add(f"{prose(worst)}\n\n")
    if (control := positive_control.line(run)) is not None:
        text.add(f"{prose(control)}\n\n")
    text.table(("", "property", "limits held"), _properties(evidence))
    if open_:
        text.add("### What did not hold\n\n")
        text.table(("", "check", "value", "limit", "margin", "next step"), (_row(check, step=True) for check in open_))
    text.add("### Forget tasks by precision\n\n")
    text.table(("task", "precision", "base", "candidate"), _scores(evidence))
    if held:
        text.add(f"<details><summary>Limits that held: {len(held)}</summary>\n\n")
        text.table(("", "check", "value", "limit", "margin"), (_row(check) for check in held))
        text.add("</details>\n\n", always=True)
    for warning in run.warnings:
        text.add(f"- **Warning**: {prose(wording.short(warning, 400))}\n")
    for note in run.notes:
        text.add(f"- {prose(wording.short(note, 400))}\n")
    text.add(
        f"\nCandidate {code(str(run.candidate.path))} {code(run.candidate.digest[:12])}, base "
        f"{code(str(run.base.path))}, policy {code(run.policy.path)}, run {code(evidence.digest[:19])}.\n"
    )
    return text.done()


class _Text:
    """Text that never grows beyond its limit; the first piece that does not fit is replaced by the pointer."""

    def __init__(self, limit: int, *, pointer: str) -> None:
        self._pointer = f"\n{pointer}\n"
        self._room = limit - len(self._pointer.encode()) - 64  # the tail that must still be closed
        self._parts: list[str] = []
        self._cut = False

    def add(self, piece: str, *, always: bool = False) -> None:
        """Append a piece, unless something was cut before. `always`: a closing tag, for which room is kept."""
        size = len(piece.encode())
        if not always and (self._cut or size > self._room):
            self._cut = True
            return
        self._room -= 0 if always else size
        if not always or any("<details>" in part for part in self._parts):
            self._parts.append(piece)

    def table(self, head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
        """A table, row by row."""
        self.add(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}\n")
        for row in rows:
            self.add(f"| {' | '.join(row)} |\n")
        self.add("\n")

    def done(self) -> str:
        """All of it."""
        return "".join([*self._parts, self._pointer] if self._cut else self._parts)


def _properties(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    for score in scorecard(evidence.run):
        yield (
            wording.MARKS[score.outcome],
            f"{score.question} **{score.answer}**",
            f"{score.held} of {len(score.checks)}",
        )


def _row(check: Check, *, step: bool = False) -> tuple[str, ...]:
    cells = (wording.value(check), wording.bounds(check.limit), wording.margin(check))
    named = (f"{wording.MARKS[check.outcome]} {wording.outcome(check)}", code(check.id), *map(prose, cells))
    return (*named, prose(wording.next_step(check))) if step else named


def _scores(evidence: Evidence) -> Iterator[tuple[str, ...]]:
    run = evidence.run
    found = {(each.task, each.metric, each.precision, each.subject): each.value for each in run.measurements}
    precisions = dict.fromkeys([FULL, *(each.precision for each in run.measurements)])
    for task in run.tasks:
        for precision in precisions if task.role is Role.FORGET else ():
            pair = [found.get((task.name, task.metric, precision, each.digest)) for each in (run.base, run.candidate)]
            if any(value is not None for value in pair):
                shown = ("-" if value is None else wording.number(value) for value in pair)
                yield code(task.name), code(precision), *shown


def prose(text: str) -> str:
    """Text that reads as it is: no mark-up, no HTML, no link, and a mention that calls nobody."""
    return _inert(wording.plain(text), " ,;()%+'=>").replace("&#64;", "&#64;&#8203;")


def code(text: str) -> str:
    """A name in a code element, its middle left out where it is longer than any honest name."""
    return f"<code>{_inert(wording.short(text), ' []=')}</code>"


def _inert(text: str, kept: str) -> str:
    """Letters, digits, `kept`, and what stands inside of a word or number; the rest as character references."""
    shown = []
    for before, char, after in zip(f" {text}", text, f"{text[1:]} ", strict=False):
        inside = before.isalnum() and (after.isalnum() or after == " ")
        if char == ".":  # www.somewhere.org would become a link
            plain = inside and (after == " " or (before.isdigit() and after.isdigit()))
        elif char == "-":
            plain = inside or after.isdigit()
        else:
            plain = char.isalnum() or char in kept or (char == "_" and before.isalnum() and after.isalnum())
            plain = plain or (char == ":" and inside and after == " ")
        shown.append(char if plain else f"&#{ord(char)};")
    return "".join(shown)
