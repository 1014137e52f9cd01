"""How many of a forget task's questions give a prompt pair, and why the others give none."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unlearn_guard.attribution.prompts import read_pairs
from unlearn_guard.attribution.swapping import FEWEST, sort_out
from unlearn_guard.checking.prompt_pairs import PAIRS, neutral_pair, question_of
from unlearn_guard.errors import Defect, SuiteError
from unlearn_guard.scoring.questions import Item, Rendered, RenderedTask
from unlearn_guard.scoring.suites import NEUTRAL, SWAPPED
from unlearn_guard.scoring.tokens import OneBos


@dataclass(frozen=True, slots=True, kw_only=True)
class UsablePairs:
    """Of `asked` questions (lines of a file) `usable` give a pair; `left_out` counts the others by their reason."""

    task: str
    source: str
    asked: int
    usable: int
    left_out: Mapping[str, int]
    defects: tuple[Defect, ...] = ()

    @property
    def used(self) -> int:
        """How many are attributed on: of questions the first `PAIRS`, of a file all."""
        return min(self.usable, PAIRS) if self.source in (NEUTRAL, SWAPPED) else self.usable


def usable_pairs(rendered: Rendered, tokenizer: Any) -> tuple[UsablePairs, ...]:
    """Of each forget task whose suite names a source of pairs. With fewer than `FEWEST` there is a defect."""
    sources = {spec.name: spec.pairs for spec in rendered.suite.forget if spec.pairs is not None}
    return tuple(_of(each, sources[each.task.name], tokenizer) for each in rendered.tasks if each.task.name in sources)


def _of(each: RenderedTask, source: Path | str, tokenizer: Any) -> UsablePairs:
    if isinstance(source, Path):
        return _of_file(each.task.name, source, tokenizer)
    asked = [(leaf.task, item) for leaf in each.leaves for item in leaf.items]
    encode = OneBos(tokenizer)
    if source == NEUTRAL:  # `check` takes the first PAIRS, or refuses them
        asked = asked[:PAIRS]
        left_out = [why for task, item in asked if (why := _why_not_neutral(task, item, encode)) is not None]
        usable, fewest = len(asked) - len(left_out), len(asked)
    else:
        found = sort_out(encode, [question_of(task, item) for task, item in asked])
        left_out, usable, fewest = [why.value for why in found.left_out], len(found.pairs), FEWEST
    return UsablePairs(
        task=each.task.name,
        source=source,
        asked=len(asked),
        usable=usable,
        left_out=Counter(left_out),
        defects=_defects(each.task.name, usable, len(asked), fewest),
    )


def _why_not_neutral(task: Any, item: Item, encode: Any) -> str | None:
    try:
        neutral_pair(task, item, encode)
    except SuiteError as error:
        return error.defects[0].found if error.defects else error.summary
    return None


def _of_file(task: str, path: Path, tokenizer: Any) -> UsablePairs:
    """`check` takes a file whole or refuses it."""
    defects: tuple[Defect, ...] = ()
    usable = 0
    try:
        usable = len(read_pairs(path, tokenizer))
    except SuiteError as error:
        defects = error.defects or (Defect(where=str(path), found=error.summary, expected="prompt pairs"),)
    return UsablePairs(
        task=task,
        source=path.name,
        asked=usable + len(defects),
        usable=usable,
        left_out=Counter(each.found for each in defects),
        defects=defects,
    )


def _defects(task: str, usable: int, asked: int, fewest: int) -> tuple[Defect, ...]:
    if usable >= fewest:
        return ()
    found = f"{usable} usable prompt pairs of {asked} questions"
    fix = "Name another source in the suite's `pairs` (swapped, neutral, a file), or leave `pairs` out."
    return (Defect(where=task, found=found, expected=f"at least {fewest}", fix=fix),)
