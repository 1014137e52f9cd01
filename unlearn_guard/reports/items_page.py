"""report.items.html: which items came back, or were lost, at which precision; ids and hashes, texts if asked for."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from unlearn_guard.records import Role, Run
from unlearn_guard.reports import wording
from unlearn_guard.reports.evidence import Evidence, Flips, Item
from unlearn_guard.reports.templating import asset, content_policy, template

if TYPE_CHECKING:
    from jinja2 import Template

MOST = 2000
"""Items listed a task, those that came back at most precisions first; the rest is in samples/, which the page says."""

BACK, LOST = "came back", "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One item, and at each precision `came back`, `lost`, or nothing where the answer stayed as right as it was."""

    item: Item
    at: tuple[str, ...]
    answers: tuple[str, ...]

    @property
    def back(self) -> int:
        """At how many precisions it came back."""
        return self.at.count(BACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemsOfTask:
    """The changed items of one task. `same` are the items whose answer stayed as right at every precision."""

    task: str
    forget: bool
    precisions: tuple[str, ...]
    changed: tuple[Changed, ...]
    same: int
    hidden: int


def items_of(evidence: Evidence) -> tuple[ItemsOfTask, ...]:
    """Each task that was asked at a quantized precision, forget tasks first."""
    forget = {task.name for task in evidence.run.tasks if task.role is Role.FORGET}
    names = dict.fromkeys(each.task for each in evidence.flips)
    ordered = sorted(names, key=lambda name: name not in forget)
    return tuple(
        _of_task(name, name in forget, [each for each in evidence.flips if each.task == name]) for name in ordered
    )


def _of_task(name: str, forget: bool, flips: list[Flips]) -> ItemsOfTask:
    items: dict[tuple[str, str], Item] = {}
    happened: dict[tuple[tuple[str, str], str], tuple[str, str]] = {}
    for each in flips:
        for word, kind in ((BACK, each.back), (LOST, each.lost)):
            for item in kind:
                key = (item.id, item.prompt)
                items.setdefault(key, item)
                happened[key, each.precision] = (word, item.answer)
    precisions = tuple(each.precision for each in flips)
    found = []
    for key, item in items.items():
        cells = [happened.get((key, precision), ("", "")) for precision in precisions]
        at, answers = zip(*cells, strict=True)
        found.append(Changed(item=item, at=at, answers=answers))
    found.sort(key=lambda each: (-each.back, _natural(each.item.id), each.item.prompt))
    first = flips[0]
    asked = len(first.back) + len(first.lost) + first.right + first.wrong
    return ItemsOfTask(
        task=name,
        forget=forget,
        precisions=precisions,
        changed=tuple(found[:MOST]),
        same=asked - len(found),
        hidden=max(0, len(found) - MOST),
    )


def _natural(name: str) -> tuple[str, int]:
    """`forget-2` before `forget-10`."""
    front = name.rstrip("0123456789")
    return front, int(name[len(front) :][:18] or 0)


def items_page(evidence: Evidence, *, show_items: bool = False, report: str | None = None) -> str:
    """The whole page. `show_items`: also targets and answers. `report` is where the run's report lies beside it."""
    style, script = asset("report.css"), asset("report.js")
    tasks = items_of(evidence)
    return _template().render(
        run=evidence.run,
        evidence=evidence,
        style=style,
        script=script,
        policy=content_policy(style, script),
        tasks=tasks,
        sentence=_sentence(evidence.run, tasks),
        show_items=show_items,
        report=report,
    )


def _sentence(run: Run, tasks: Iterable[ItemsOfTask]) -> str:
    forgotten = [each for each in tasks if each.forget]
    if not forgotten:
        return "No forget task was asked at a quantized precision, so that nothing is known of what came back."
    back = sum(any(word == BACK for word in item.at) for each in forgotten for item in each.changed)
    asked = sum(each.same + len(each.changed) + each.hidden for each in forgotten)
    precisions = ", ".join(dict.fromkeys(wording.short(name, 24) for each in forgotten for name in each.precisions))
    more = " at least" if any(each.hidden for each in forgotten) else ""
    return (
        f"Of {asked} items that {wording.short(str(run.candidate.path))} was to forget,{more} {back} came back at one "
        f"precision or more ({precisions})."
    )


@cache
def _template() -> "Template":
    filters: dict[str, Callable[..., Any]] = {
        "digest": lambda text: wording.plain(text.removeprefix("sha256:"))[:12],
    }
    return template("items.html.j2", filters)
