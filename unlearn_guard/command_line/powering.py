"""`plan --power`: how many items a policy needs on a suite, before anything is measured."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from unlearn_guard.checking.request import Request
from unlearn_guard.errors import ExitStatus
from unlearn_guard.processes.chatter import chatter_to
from unlearn_guard.reports import wording

if TYPE_CHECKING:
    from unlearn_guard.judging.power import Assumed, Need


def power_command(options: dict[str, Any], *, discordance: float, base_score: float) -> ExitStatus:
    """Print for each suite a row a limit, and in a sentence what is missing. The status says that it was printed."""
    policy = Request(checkpoint="", thresholds=options["thresholds"]).policy
    with chatter_to(Path(os.devnull)):
        from unlearn_guard.checking.planned_items import planned_items
        from unlearn_guard.judging.power import Assumed

        assumed = Assumed(discordance=discordance, base_score=base_score)
        found = {
            suite: planned_items(
                policy,
                suite,
                assumed,
                limit=options["limit"],
                precisions_asked=options["precisions"],
                tasks_dirs=options["tasks_dirs"],
                data_dir=options["data_dir"],
            )
            for suite in options["suites"]
        }
    console = Console()
    for suite, each in found.items():
        console.print(Text(f"policy {wording.plain(policy)}, suite {wording.plain(suite)}"), soft_wrap=True)
        console.print(_table(each))
        for line in (*_conclusion(each), _assumed(assumed)):
            console.print(Text(line), soft_wrap=True)
    return ExitStatus.PASSED


def _table(found: "Sequence[Need]") -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("limit", "bound"):
        table.add_column(column, overflow="fold")
    for column in ("items", "needed alone", "needed with all"):
        table.add_column(column, justify="right")
    for each in found:
        numbers = [each.there, each.alone, each.together]
        cells = (wording.short(each.limit.id), wording.bounds(each.limit), *map(_number, numbers))
        table.add_row(*map(Text, cells))
    return table


def _number(items: int | None) -> str:
    return "-" if items is None else f"{items:,}"


def _conclusion(found: "Sequence[Need]") -> list[str]:
    """What no number of items decides, what is short of items, or that there are enough."""
    from unlearn_guard.judging.power import NOT_SAMPLED

    lines = []
    for why in dict.fromkeys(each.why for each in found if each.why and each.why != NOT_SAMPLED):
        named = [wording.short(each.limit.id) for each in found if each.why == why]
        lines.append(f"{', '.join(named)}: {why}")
    short = [each for each in found if each.together is not None and each.enough is False]
    for task in dict.fromkeys(each.limit.task for each in short):
        most = max((each for each in short if each.limit.task == task), key=lambda each: each.together or 0)
        lines.append(
            f"{wording.short(task)} asks {_number(most.there)} items and needs {_number(most.together)}, "
            f"for {wording.short(most.limit.id)}"
        )
    return lines or ["there are enough items for every limit"]


def _assumed(assumed: "Assumed") -> str:
    return (
        f"needed: an honest candidate (at chance, true gap 0) passes in {assumed.power:.0%} of all runs, and one whose "
        "true value is as far beyond the bound fails, by one limit alone or by all together; assumed: "
        f"{assumed.discordance:.0%} of answers differ (--discordance), base scores {assumed.base_score:g} "
        "(--base-score)"
    )
