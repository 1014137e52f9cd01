"""Defects are gathered, so that one look at a checkpoint names everything that is wrong with it."""

from collections.abc import Iterator
from contextlib import contextmanager

from unlearn_guard.errors import CheckpointError, Defect

SHOWN = 120
"""Characters of a checkpoint's own text that a message repeats."""


def refusal(where: str, found: str, expected: str, fix: str = "") -> CheckpointError:
    """The error of a single defect, to be raised, or gathered with its siblings."""
    defect = Defect(where=where, found=found, expected=expected, fix=fix)
    return CheckpointError(f"{where} cannot be used", [defect])


@contextmanager
def gather(defects: list[Defect]) -> Iterator[None]:
    """Keep the defects of a CheckpointError and go on: the caller raises them all together."""
    try:
        yield
    except CheckpointError as error:
        defects.extend(error.defects)


def shown(text: object) -> str:
    """Text of a checkpoint in quotes, fit for a terminal: control, bidirectional and lone surrogate characters escaped.

    A line break is escaped too, so no name can begin a line of its own (`::error`). Markup is left
    alone: a printer that interprets markup escapes it.
    """
    whole = text if isinstance(text, str) else repr(text)
    cut = whole if len(whole) <= SHOWN else whole[:SHOWN]
    quoted = repr(cut) if isinstance(text, str) else "".join(c if c.isprintable() else "?" for c in cut)
    return quoted if cut == whole else f"{quoted}... ({len(whole)} characters)"


def plain(text: str) -> str:
    """A text as it is where any printer takes it and it is short, else as `shown`."""
    return text if text.isprintable() and len(text) <= SHOWN else shown(text)


def listed(names: list[str], most: int = 8) -> str:
    """Names in quotes, the first few and a count of the rest."""
    text = ", ".join(shown(name) for name in names[:most])
    return text if len(names) <= most else f"{text} and {len(names) - most} more"
