"""What rows have in common is computed once: a trunk before all of them, and trees of what is left.

A trunk (few-shot examples, a system prompt) is run once and its keys and values kept. A pack is a tree of rows in one
sequence: each token stands in it once, sees its own ancestors alone, and has the position it has in its row. So a
stem is run once for all its choices. Both depend on the rows alone, never on a batch size or a model's answers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from unlearn_guard.scoring.batches import Row

PACK = 256
"""Tokens of a pack: enough to share between items, few enough that attention, quadratic in them, stays cheap."""

LARGEST = 2048
"""Tokens of a pack whose rows share more than half a pack with each other."""

SHORT = 32
"""A row of so many tokens shares a sequence with rows that it has nothing in common with: it saves padding."""

TRUNK = 24
"""At least so many tokens make a trunk, before at least `BRANCHES` rows."""

BRANCHES = 8


@dataclass(slots=True)
class Pack:
    """A tree of tokens, and for each of its rows the places of the row's tokens in it, root to leaf.

    `parents` are places too, -1 where a token follows the trunk or nothing. The trunk's tokens are in neither.
    """

    trunk: int = 0
    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    rows: list[tuple[Row, list[int]]] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Row) -> "Pack":
        """A row that shares with none."""
        pack = cls()
        pack.add(row)
        return pack

    def shared(self, row: Row) -> int:
        """How many of the row's tokens after the trunk are there already."""
        place = -1
        for count, token in enumerate(row.tokens[self.trunk :]):
            child = self._children.get((place, token))
            if child is None:
                return count
            place = child
        return len(row.tokens) - self.trunk

    def add(self, row: Row) -> None:
        """Put in what is not there yet."""
        place, path = -1, []
        for token in row.tokens[self.trunk :]:
            child = self._children.setdefault((place, token), len(self.tokens))
            if child == len(self.tokens):
                self.tokens.append(token)
                self.parents.append(place)
            place = child
            path.append(place)
        self.rows.append((row, path))

    def scored(self) -> list[int]:
        """The places whose next token is asked for, each once, in order."""
        return sorted({place for row, path in self.rows for place in path[-row.keep :]})

    @property
    def keep(self) -> int:
        """How many places are scored."""
        return len(self.scored())

    def depths(self) -> list[int]:
        """The position of each token in its row, from 0, the trunk's counted."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(self.trunk if parent < 0 else depths[parent] + 1)
        return depths


def packs_of(rows: Sequence[Row], trunk: int) -> list[Pack]:
    """Trees of these rows, which have their first `trunk` tokens in common."""
    packs: list[Pack] = []
    for row in sorted(rows, key=lambda row: row.tokens):
        length = len(row.tokens) - trunk
        shared = packs[-1].shared(row) if packs else 0
        size = len(packs[-1].tokens) + length - shared if packs else 0
        fits = size <= PACK and (length <= SHORT or 2 * shared >= length)
        if not packs or not (fits or (2 * shared > PACK and size <= LARGEST)):
            packs.append(Pack(trunk))
        packs[-1].add(row)
    return packs


def trunks_of(rows: Sequence[Row]) -> Iterator[tuple[tuple[int, ...], list[Row]]]:
    """The rows by the trunk that is run before them, which may be none. No scored token is in a trunk."""
    found = _trunks(sorted(rows, key=lambda row: row.tokens), TRUNK)
    within = {id(row) for _, members in found for row in members}
    if bare := [row for row in rows if id(row) not in within]:
        yield (), bare
    for length, members in found:
        yield members[0].tokens[:length], members


def _trunks(rows: list[Row], least: int) -> list[tuple[int, list[Row]]]:
    """Runs of neighbours with at least so much in common, divided where longer trunks of fewer rows spare more."""
    found = []
    for run in _runs(rows, least):
        length = min(*(len(row.tokens) - row.keep for row in run), _common(run[0].tokens, run[-1].tokens))
        if len(run) < BRANCHES:
            continue
        finer = _trunks(run, 2 * length)
        spared = sum(each * (len(members) - 1) for each, members in finer)
        found += finer if spared > length * (len(run) - 1) else [(length, run)]
    return found


def _runs(rows: list[Row], least: int) -> list[list[Row]]:
    runs: list[list[Row]] = []
    for row in rows:
        if len(row.tokens) - row.keep < least:
            continue
        if runs and row.tokens[:least] == runs[-1][-1].tokens[:least]:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """The length of what both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))
