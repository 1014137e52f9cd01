"""Texts become ids with exactly one BOS; ids become rows and batches that depend on nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unlearn_guard.errors import ScoringError
from unlearn_guard.scoring import questions
from unlearn_guard.scoring.batches import POSITIONS, batches_of, rows_of
from unlearn_guard.scoring.tokens import Tokens, fingerprint

ids = st.lists(st.integers(0, 3), min_size=1, max_size=6).map(tuple)


def test_the_tokenizers_own_bos_is_there_once(scoring):
    with_bos, without = Tokens(scoring.make_tokenizer()), Tokens(scoring.make_tokenizer(bos=False))
    for text in ("What is", "<s>What is"):
        ((found, _),) = with_bos.pairs([(text, " A")])
        assert found.count(0) == 1
        assert found[0] == 0
    ((found, _),) = without.pairs([("What is", " A")])
    assert 0 not in found


def test_two_bos_are_an_error(scoring):
    with pytest.raises(ScoringError, match="two BOS"):
        Tokens(scoring.make_tokenizer()).pairs([("<s><s>What is", " A")])


def test_a_tokenizer_that_ends_texts_is_an_error(scoring):
    with pytest.raises(ScoringError, match="expected them only before"):
        Tokens(scoring.make_tokenizer(eos_after=True))


def test_a_pair_is_encoded_once(scoring, monkeypatch):
    tokens = Tokens(scoring.make_tokenizer())
    first = tokens.pairs([("What is", " A"), ("What is", " B")])
    monkeypatch.setattr(tokens, "tokenizer", None)
    assert tokens.pairs([("What is", " A"), ("What is", " B")]) == first


def test_the_fingerprint_ignores_what_a_call_leaves_behind(scoring):
    tokenizer = scoring.make_tokenizer()
    before = fingerprint(tokenizer)
    tokenizer(["a", "a longer text"], padding=True, truncation=True, max_length=3)
    assert fingerprint(tokenizer) == before
    assert fingerprint(scoring.make_tokenizer(bos=False)) != before


def test_a_tokenizer_is_read_out_once_and_another_like_it_shares_its_ids(scoring, monkeypatch):
    """Of a vocabulary of 49,152 it takes half a second, and a `check` asks 70 times."""
    read = []
    monkeypatch.setattr(questions, "fingerprint", lambda each: (read.append(each), fingerprint(each))[1])
    rendered = questions.Rendered(suite=None, tasks=(), limit=None, seed=0)
    first, twin, other = scoring.make_tokenizer(), scoring.make_tokenizer(), scoring.make_tokenizer(bos=False)
    known = rendered.tokens(first)
    assert all(replace(rendered, seed=seed).tokens(first) is known for seed in range(3))
    assert len(read) == 1
    assert rendered.tokens(twin) is known
    assert rendered.tokens(other) is not known


def test_four_letters_are_one_row_scored_at_its_last_position():
    rows, truncated = rows_of([((1, 2, 3), (letter,)) for letter in (10, 11, 12, 13)], 8)
    assert [(row.tokens, row.keep) for row in rows] == [((1, 2, 3), 1)]
    assert rows[0].targets == [(0, (10,)), (1, (11,)), (2, (12,)), (3, (13,))]
    assert not truncated


def test_longer_choices_share_a_row_only_up_to_their_last_token():
    rows, _ = rows_of([((1,), (2, 3)), ((1,), (2, 4)), ((1,), (5, 3)), ((1, 2), (9,))], 8)
    assert [(row.tokens, row.keep, len(row.targets)) for row in rows] == [((1, 2), 2, 3), ((1, 5), 2, 1)]


def test_a_context_loses_its_beginning_when_it_does_not_fit():
    """By hand: four places hold ids 3 to 6; 7 is only predicted."""
    rows, truncated = rows_of([((1, 2, 3, 4, 5), (6, 7)), ((1, 2, 3), (6, 7))], 4)
    assert rows[0].tokens == (3, 4, 5, 6)
    assert rows[1].tokens == (1, 2, 3, 6)
    assert truncated == [0]


@pytest.mark.parametrize(
    ("pair", "expected"), [(((), (1,)), "context"), (((1,), ()), "continuation"), (((1,), (2,) * 9), "takes 8")]
)
def test_what_cannot_be_scored_is_an_error(pair, expected):
    with pytest.raises(ScoringError, match=expected):
        rows_of([pair], 8)


@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=30), st.integers(1, 8))
def test_every_request_stands_in_exactly_one_row_and_batch(pairs, batch_size):
    rows, _ = rows_of(pairs, 64)
    batches = batches_of(rows, batch_size)
    seen = sorted(index for batch in batches for row in batch for index, _ in row.targets)
    assert seen == list(range(len(pairs)))
    assert all(1 <= len(batch) <= batch_size for batch in batches)
    lengths = [len(row.tokens) for batch in batches for row in batch]
    assert lengths == sorted(lengths, reverse=True)


def test_batches_do_not_depend_on_the_order_of_the_requests():
    pairs = [((index % 3, *range(index)), (7, index)) for index in range(1, 20)]
    forward, backward = (
        [[row.tokens for row in batch] for batch in batches_of(rows_of(each, 64)[0], 4)]
        for each in (pairs, pairs[::-1])
    )
    assert forward == backward


def test_long_continuations_make_small_batches():
    rows, _ = rows_of([((index,), tuple(range(POSITIONS // 2 - 1))) for index in range(5)], POSITIONS)
    assert [len(batch) for batch in batches_of(rows, 64)] == [2, 2, 1]
    with pytest.raises(ScoringError, match="batch size of 0"):
        batches_of(rows, 0)
