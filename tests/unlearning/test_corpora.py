"""Texts, batches, and the deal."""

from collections import Counter

import pytest

from tests.unlearning.small import CPU, texts
from unlearn_guard.errors import SuiteError
from unlearn_guard.unlearning.corpora import Corpora, Text, batch, deal


@pytest.mark.parametrize(("count", "size"), [(7, 3), (3, 7), (5, 5), (1, 4)])
def test_each_card_comes_up_once_a_deck(count, size):
    dealt = [card for turn in range(3 * count) for card in deal(count, size, turn, seed=4)]
    for start in range(0, len(dealt) - count + 1, count):
        assert sorted(dealt[start : start + count]) == list(range(count))
    assert set(Counter(dealt).values()) == {3 * size}


def test_a_hand_depends_on_nothing_but_its_arguments():
    """A resumed training asks for the turns from its step on, and not in order."""
    hands = [deal(11, 4, turn, seed=2) for turn in range(20)]
    assert [deal(11, 4, turn, seed=2) for turn in reversed(range(20))] == hands[::-1]
    assert [deal(11, 4, turn, seed=3) for turn in range(20)] != hands
    assert hands[:2] != [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_two_small_hands_are_one_large_one():
    small = [deal(11, 2, turn, seed=2) for turn in range(20)]
    assert [first + second for first, second in zip(small[::2], small[1::2], strict=True)] == [
        deal(11, 4, turn, seed=2) for turn in range(10)
    ]


def test_a_batch_is_padded_on_the_right_and_counts_answers():
    asked = batch([Text(ids=(5, 6, 7), start=1), Text(ids=(8, 9, 10, 11, 12), start=3)], [1, 0], CPU)
    assert asked.ids_BT.tolist() == [[8, 9, 10, 11, 12], [5, 6, 7, 0, 0]]
    assert asked.mask_BT.int().tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert asked.counted_BT.int().tolist() == [[0, 0, 0, 1, 1], [0, 1, 1, 0, 0]]
    assert (asked.first, asked.lengths_B.tolist(), asked.index) == (1, [2, 2], (1, 0))


def test_what_to_say_instead():
    text = Text(ids=(5, 6, 7), start=2, instead=(5, 6, 9, 9))
    asked = batch([text], [0], CPU, instead=True)
    assert asked.ids_BT.tolist() == [[5, 6, 9, 9]]
    assert asked.counted_BT.int().tolist() == [[0, 0, 1, 1]]
    with pytest.raises(SuiteError, match="what to answer instead"):
        batch([text, Text(ids=(1, 2), start=1)], [0, 1], CPU, instead=True)


@pytest.mark.parametrize(("ids", "start"), [((1, 2), 0), ((1, 2), 2), ((), 1)])
def test_a_text_in_which_nothing_counts_is_refused(ids, start):
    with pytest.raises(SuiteError, match="none that counts"):
        Text(ids=ids, start=start)
    with pytest.raises(SuiteError, match="none that counts"):
        Text(ids=(1, 2, 3, 4), start=start if start != 2 else 5, instead=ids)


@pytest.mark.parametrize("empty", ["forget", "retain"])
def test_an_empty_corpus_is_refused(empty):
    with pytest.raises(SuiteError, match=f"the {empty} corpus is empty"):
        Corpora(**{"forget": texts(2, seed=0), "retain": texts(2, seed=0), empty: ()})
