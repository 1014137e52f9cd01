"""What `inspect` prints: a line a fact, whole, however wide the terminal; or JSON."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from unlearn_guard.reports.wording import plain

if TYPE_CHECKING:
    from unlearn_guard.intake import Inspection


def print_inspection(found: "Inspection", possible: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    """`possible`: at which precisions it can be checked, and why at no others. Digests are never cut."""
    facts = [*found.facts, *possible]
    if as_json:
        click.echo(json.dumps(_as_json(found, facts), indent=1))
        return
    width = max(len(label) for label, _ in facts)
    for label, text in facts:
        click.echo(f"{plain(label):<{width}}  {plain(text)}")
    for note in found.notes:
        click.echo(f"note: {plain(note)}")
    if not found.updates:
        return
    longest = max(len("changed tensor"), *(len(plain(each.name)) for each in found.updates))
    click.echo(f"{'changed tensor':<{longest}}  weights changed  relative update")
    for update in found.updates:
        relative = "-" if update.relative is None else f"{update.relative:.2e}"
        click.echo(f"{plain(update.name):<{longest}}  {update.changed:<15}  {relative}")


def _as_json(found: "Inspection", facts: Sequence[tuple[str, str]]) -> dict[str, object]:
    known = dict(found.facts)
    return {
        "digest": known["digest"],
        "facts": [{"what": label, "is": text} for label, text in facts],
        "notes": list(found.notes),
        "changed": [
            {"tensor": each.name, "weights": each.changed, "relative_update": each.relative} for each in found.updates
        ],
        "defects": [str(each) for each in found.difference.defects] if found.difference is not None else [],
    }
