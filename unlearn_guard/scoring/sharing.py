"""All rows through a model, each beginning once: trunks, packs of what follows them, and what shares nothing alone."""

from collections.abc import Callable, Iterator, Sequence

from unlearn_guard.scoring.batches import Row, batches_of
from unlearn_guard.scoring.elsewhere import Elsewhere
from unlearn_guard.scoring.forward import Answer, Forward
from unlearn_guard.scoring.packs import Pack, packs_of, trunks_of


def answers(
    forward: Forward | Elsewhere, rows: Sequence[Row], batch_size: int, name: Callable[[int], str]
) -> Iterator[list[tuple[int, Answer]]]:
    """The answers to the rows' requests with the requests' indices, a batch at a time; `name` as in Forward.score."""
    for trunk, packs in _shared(rows, forward.branching.deepest):
        before = forward.branching.trunk(trunk) if trunk else None
        for batch in batches_of(packs, batch_size):
            yield forward.score(batch, name, before)


def _shared(rows: Sequence[Row], deepest: int) -> Iterator[tuple[tuple[int, ...], list[Pack]]]:
    """Trunks with what follows each, and every row that shares nothing alone."""
    yield (), [Pack.of(row) for row in rows if len(row.tokens) > deepest]
    for trunk, members in trunks_of([row for row in rows if len(row.tokens) <= deepest]):
        packs = packs_of(members, len(trunk))
        yield trunk, [pack for pack in packs if len(pack.rows) > 1]
        yield trunk, [pack for pack in packs if len(pack.rows) == 1]
