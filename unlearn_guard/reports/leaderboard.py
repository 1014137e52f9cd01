"""The leaderboard as a page, as Markdown, as CSV and as JSON, all of the same rows.

Names come from checkpoints, suites and policies: on the page they are escaped and cannot run, in Markdown they are
no mark-up, and in CSV none begins like a formula.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from io import StringIO
from typing import TYPE_CHECKING, Any

from unlearn_guard.records import FULL, RATIO_OCTAVES
from unlearn_guard.reports import wording
from unlearn_guard.reports.markdown import code, prose
from unlearn_guard.reports.scatter import HEIGHT, WIDTH, panels
from unlearn_guard.reports.standing import IFEVAL, KEYS, Absent, Entry, Row, Summary, numbers_of, scores_of
from unlearn_guard.reports.templating import asset, content_policy, template

if TYPE_CHECKING:
    from jinja2 import Template

SCHEMA = "unlearn-guard.leaderboard/1"
HEADS = {
    "gap": "Gap",
    "forget_drop": "Forget drop",
    "retain": "Retain",
    "retain_loss": "Retain loss",
    IFEVAL: "IFEval",
    "cad": "CAD",
    "as_c": "AS-C",
    "as_nc": "AS-NC",
    "code_flip_rate": "Flips",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """All that a leaderboard shows."""

    rows: tuple[Row, ...]
    absent: tuple[Absent, ...]

    @property
    def precisions(self) -> tuple[str, ...]:
        """Every precision that any run was scored at, full first."""
        return tuple(dict.fromkeys([FULL, *(name for row in self.rows for name in row.scores)]))

    @property
    def keys(self) -> tuple[str, ...]:
        """The numbers shown; IFEval only where it was asked."""
        return tuple(key for key in HEADS if key != IFEVAL or any(row.numbers[IFEVAL] for row in self.rows))


def page(board: Board) -> str:
    """index.html: opens from disk, asks the network for nothing, sorts and filters."""
    style, script = asset("report.css") + asset("leaderboard.css"), asset("report.js") + asset("leaderboard.js")
    suites = tuple(dict.fromkeys(row.first.run.suite for row in board.rows))
    bases = tuple(dict.fromkeys(row.first.run.base.digest for row in board.rows))
    paths = {row.first.run.base.digest: str(row.first.run.base.path) for row in reversed(board.rows)}
    return _template().render(
        board=board,
        style=style,
        script=script,
        policy=content_policy(style, script),
        heads=HEADS,
        suites=suites,
        bases=[(wording.short(paths[digest].rpartition("/")[2], 60), wording.short(digest, 40)) for digest in bases],
        places=[(suites.index(row.first.run.suite), bases.index(row.first.run.base.digest)) for row in board.rows],
        panels=panels(board.rows),
        size=(WIDTH, HEIGHT),
        histograms=[_histogram(row) for row in board.rows],
        runs=sum(len(row.entries) for row in board.rows),
        passed=sum(row.passed for row in board.rows),
    )


@cache
def _template() -> "Template":
    filters: dict[str, Callable[..., Any]] = {
        "held": held,
        "settings": settings_text,
        "summary": summary_text,
        "margin_of": _margin,
    }
    return template("leaderboard.html.j2", filters)


def held(row: Row) -> str:
    """`11 of 12`; of several runs the fewest and the most."""
    counts = sorted({entry.held for entry in row.entries})
    least, most = counts[0], counts[-1]
    return f"{least} of {row.limits}" if least == most else f"{least} to {most} of {row.limits}"


def settings_text(settings: Sequence[tuple[str, str]]) -> str:
    """`lr=1e-4 steps=20`."""
    return " ".join(f"{key}={value}" for key, value in settings)


def summary_text(found: Summary | None) -> str:
    """The mean, with the standard error over seeds where there is one; a dash where it was not measured."""
    if found is None:
        return "-"
    return wording.number(found.mean) + (f" ± {found.stderr:.2g}" if found.stderr is not None else "")


def _margin(row: Row) -> str:
    return "-" if row.worst is None else wording.margin(row.worst)


def _histogram(row: Row) -> tuple[tuple[float, float, str], ...]:
    """(x, height, tip) of each octave's bar, as shares of the changed weights; nothing where none is known."""
    counts = row.octaves
    changed = sum(counts)
    most = max(counts)
    names = (f"2^{power}" for power in range(RATIO_OCTAVES[0], RATIO_OCTAVES[1] + 1))
    bars = zip(counts, names, strict=True)
    return tuple(
        (10.0 * k, round(60 * n / most, 1), f"{name}: {n / changed:.1%}") for k, (n, name) in enumerate(bars) if n
    )


def markdown(board: Board) -> str:
    """A table of the rows, and of what is not among them."""
    keys = ("gap", "retain", "retain_loss", *((IFEVAL,) if IFEVAL in board.keys else ()), "cad", "as_nc")
    head = ["rank", "method", "suite", "held", "worst margin", *map(code, board.precisions), *(HEADS[k] for k in keys)]
    lines = ["# Leaderboard", "", _line(head), "|" + " --- |" * len(head)]
    for row in board.rows:
        method = " ".join(filter(None, [row.first.method, settings_text(row.first.settings)]))
        numbers = [row.scores.get(name) for name in board.precisions] + [row.numbers[key] for key in keys]
        cells = [str(row.rank), code(method), code(row.first.run.suite), prose(held(row)), prose(_margin(row))]
        lines.append(_line([*cells, *(prose(summary_text(each)) for each in numbers)]))
    if board.absent:
        lines += ["", "## Not measured", "", _line(["method", "suite", "seed", "why"]), "|" + " --- |" * 4]
    for absent in board.absent:
        method = " ".join(filter(None, [absent.method, settings_text(absent.settings)]))
        seed = "-" if absent.seed is None else str(absent.seed)
        lines.append(_line([code(method), code(absent.suite), seed, prose(wording.short(absent.why, 400))]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def table(board: Board) -> str:
    """leaderboard.csv: one line a run, numbers unrounded, empty where not measured; then what was not measured."""
    text = StringIO()
    names = ["rank", "method", "settings", "seed", "suite", "base", "policy", "verdict", "held", "limits"]
    names += ["worst_margin", "worst_check", *(f"score_{name}" for name in board.precisions), *KEYS]
    writer = csv.DictWriter(text, [*(_cell(name) for name in names), "run", "directory", "why"], lineterminator="\n")
    writer.writeheader()
    for record in _records(board):
        scores = {f"score_{name}": value for name, value in record.pop("scores").items()}
        flat = {**record, **scores, **record.pop("numbers"), "settings": settings_text([*record["settings"].items()])}
        writer.writerow({_cell(key): _cell(value) for key, value in flat.items() if key != "numbers"})
    for absent in board.absent:
        told = {"method": absent.method, "settings": settings_text(absent.settings), "seed": absent.seed}
        told |= {"suite": absent.suite, "verdict": "not measured", "directory": absent.directory, "why": absent.why}
        writer.writerow({key: _cell(value) for key, value in told.items()})
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Text that no spreadsheet takes for a formula; numbers stay as they are."""
    if not isinstance(value, str):
        return value
    shown = wording.plain(value)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown


def document(board: Board) -> str:
    """leaderboard.json: the same runs, and what was not measured."""
    absent = [
        {
            "method": each.method,
            "settings": dict(each.settings),
            "seed": each.seed,
            "suite": each.suite,
            "directory": each.directory,
            "why": each.why,
        }
        for each in board.absent
    ]
    content = {"schema": SCHEMA, "runs": list(_records(board)), "not_measured": absent}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _records(board: Board) -> Iterator[dict[str, Any]]:
    for row in board.rows:
        for entry in row.entries:
            yield _record(row, entry)


def _record(row: Row, entry: Entry) -> dict[str, Any]:
    run = entry.run
    worst = Row(entries=(entry,)).worst
    return {
        "rank": row.rank,
        "method": entry.method,
        "settings": dict(entry.settings),
        "seed": entry.seed,
        "suite": run.suite,
        "base": run.base.digest,
        "policy": run.policy.path,
        "verdict": run.verdict.word,
        "held": entry.held,
        "limits": row.limits,
        "worst_margin": worst.margin if worst else None,
        "worst_check": worst.id if worst else None,
        "scores": scores_of(run),
        "numbers": numbers_of(run),
        "run": entry.digest,
        "directory": entry.directory,
    }
