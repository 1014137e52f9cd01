"""What rows have in common is run once, and every answer stays what it is where each row is run alone."""

import inspect
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.families import FAMILIES
from tests.tiny import byte_tokenizer, tokenizer, uneven
from unlearn_guard.errors import NonFiniteError
from unlearn_guard.scoring import branching as branching_module
from unlearn_guard.scoring.batches import Row, rows_of
from unlearn_guard.scoring.branching import Branching
from unlearn_guard.scoring.lm import GuardLM
from unlearn_guard.scoring.packs import BRANCHES, LARGEST, PACK, TRUNK, packs_of, trunks_of
from unlearn_guard.scoring.tokens import Tokens

TAKES_NO_TREE = {"bloom", "mpt", "mamba", "gpt_neo", "gpt_bigcode"}
"""ALiBi read off a mask of two dimensions; a state space; a mask of the model's own."""

pairs = st.lists(
    st.tuples(*[st.lists(st.integers(0, 2), min_size=1, max_size=40).map(tuple)] * 2), min_size=1, max_size=40
)


def rows_from(*texts: tuple[int, ...], keep: int = 1) -> list[Row]:
    return rows_of([(text[:-keep], text[-keep:]) for text in texts], 10_000)[0]


def asked(count: int, shots: int = 0, seed: int = 0) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Stems with four choices of one to three tokens each, behind so many tokens that are always the same."""
    draw = random.Random(seed)

    def some(length: int) -> tuple[int, ...]:
        return tuple(draw.randrange(4, 44) for _ in range(length))

    before = some(shots)
    stems = [before + some(draw.randint(2, 9)) for _ in range(count)]
    return [(stem, some(draw.randint(1, 3))) for stem in stems for _ in range(4)]


def alone(model, questions) -> list[tuple[float, bool]]:
    """Each row by itself, with plain transformers."""
    found = []
    for context, continuation in questions:
        with torch.no_grad():
            logits_TV = model(input_ids=torch.tensor([context + continuation])).logits[0].float()
        at = torch.arange(len(context) - 1, len(context) + len(continuation) - 1)
        nats = logits_TV.log_softmax(-1)[at, list(continuation)]
        found.append((float(nats.sum()), logits_TV[at].argmax(-1).tolist() == list(continuation)))
    return found


def guarded(model, questions, batch_size: int = 16, own=None):
    lm = GuardLM(model, Tokens(own or tokenizer()), batch_size=batch_size, precision="full")
    return lm._loglikelihood_tokens([(("", ""), *pair) for pair in questions])


def own_tokenizer(family: str):
    return byte_tokenizer() if family == "qwen2" else tokenizer()


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_rows_answer_as_each_does_alone(family):
    """Stems shared by choices, and 30 tokens shared by all: longer than the window of the families that have one."""
    model = uneven(family)
    for questions in (asked(6), asked(9, shots=30), asked(3, shots=8, seed=1)):
        found = guarded(model, questions, own=own_tokenizer(family))
        for (likelihood, greedy), (expected, expected_greedy) in zip(found, alone(model, questions), strict=True):
            assert float(likelihood) == pytest.approx(expected, abs=1e-4)
            assert greedy == expected_greedy


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_shares_that_can(family):
    """A family that fell back unseen would only be slower: no other test would tell."""
    model = uneven(family)
    deepest = Branching(model, torch.device("cpu")).deepest
    assert (deepest == 0) == (family in TAKES_NO_TREE)
    window = getattr(model.config.get_text_config(), "sliding_window", None)
    if deepest and window:
        assert deepest <= window


def test_the_tokens_run_are_fewer(monkeypatch):
    """By hand: 12 items of 40 + 4 + up to four choices; the 40 once, each stem once."""
    model = uneven("llama")
    questions = asked(12, shots=40)
    ran = []
    right = model.forward

    def forward(input_ids, **options):
        ran.append(input_ids.numel())
        return right(input_ids=input_ids, **options)

    forward.__signature__ = inspect.signature(right)
    model.forward = forward
    guarded(model, questions)
    naive = sum(len(context) + len(continuation) - 1 for context, continuation in questions)
    assert sum(ran) < naive / 8


def test_a_tree_that_sees_its_neighbours_is_not_used(monkeypatch):
    """A mutation: where the mask lets branches see each other, the model's own answer to a small tree says so."""
    monkeypatch.setattr(branching_module, "_ancestors", lambda parents: torch.ones(len(parents), len(parents)).tril())
    assert Branching(uneven("llama"), torch.device("cpu")).deepest == 0


@pytest.mark.parametrize("rope", ["dynamic", "longrope"])
def test_a_rotation_that_follows_the_longest_text_is_not_shared(rope):
    model = uneven("llama")
    model.config.rope_parameters = {"rope_type": rope, "rope_theta": 1e4}
    assert Branching(model, torch.device("cpu")).deepest == 0


def test_a_weight_that_is_not_finite_is_named_in_a_pack():
    model = uneven("llama")
    questions = asked(6)
    lm = GuardLM(model, Tokens(tokenizer()), batch_size=16, precision="full")
    assert lm._forward.branching.deepest > 0
    with torch.no_grad():
        model.get_input_embeddings().weight[questions[8][0][-1]] = float("nan")
    with pytest.raises(NonFiniteError, match="request"):
        lm._loglikelihood_tokens([(("", ""), *pair) for pair in questions])


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_the_batch_size_moves_no_answer(batch_size):
    model = uneven("llama")
    questions = asked(12, shots=30)
    one, other = guarded(model, questions, batch_size), guarded(model, questions, 7)
    assert [float(each) for each, _ in one] == pytest.approx([float(each) for each, _ in other], abs=1e-5)


def test_a_pack_by_hand():
    """1 2 3 and 1 2 4 5 and 1 6: five places, `keep` of one scored at each end."""
    (pack,) = packs_of(rows_from((1, 2, 3, 9), (1, 2, 4, 5, 9), (1, 6, 9)), 0)
    assert pack.tokens == [1, 2, 3, 4, 5, 6]
    assert pack.parents == [-1, 0, 1, 1, 3, 0]
    assert pack.depths() == [0, 1, 2, 2, 3, 1]
    assert pack.scored() == [2, 4, 5]


def test_a_trunk_by_hand():
    """So many tokens before so many rows are a trunk; one row fewer, or a token fewer, is none."""
    shared = tuple(range(100, 100 + TRUNK))
    rows = rows_from(*((*shared, number, 7, 9) for number in range(BRANCHES)))
    ((trunk, members),) = trunks_of(rows)
    assert (trunk, len(members)) == (shared, BRANCHES)
    assert [trunk for trunk, _ in trunks_of(rows[1:])] == [()]
    assert [trunk for trunk, _ in trunks_of([Row(row.tokens[1:], row.targets) for row in rows])] == [()]


def test_subjects_have_a_trunk_each_and_the_rest_none():
    def subject(first: int) -> list[tuple[int, ...]]:
        return [(*range(TRUNK), *range(first, first + 60), number, 7, 9) for number in range(BRANCHES)]

    found = dict(trunks_of(rows_from(*subject(100), *subject(300), (1, 2, 3, 9))))
    assert sorted(map(len, found)) == [0, TRUNK + 60, TRUNK + 60]
    assert sorted(map(len, found.values())) == [1, BRANCHES, BRANCHES]
    assert found[()][0].tokens == (1, 2, 3)


def test_a_scored_token_is_in_no_trunk():
    shared = tuple(range(60))
    rows = rows_from(*((*shared, number, 9) for number in range(100, 110)), keep=30)
    ((trunk, _),) = trunks_of(rows)
    assert len(trunk) == 61 - 30


def test_long_stems_share_only_with_their_own_choices():
    stems = [tuple(range(base, base + PACK)) for base in (1000, 2000)]
    rows = rows_from(*((*stem, choice, 8, 9) for stem in stems for choice in range(4)))
    assert [len(pack.rows) for pack in packs_of(rows, 0)] == [4, 4]
    unlike = rows_from(*((*range(base, base + 100), 9) for base in (1000, 2000)))
    assert [len(pack.rows) for pack in packs_of(unlike, 0)] == [1, 1]
    huge = rows_from(*((*range(LARGEST), choice, 9) for choice in range(2)))
    assert [len(pack.rows) for pack in packs_of(huge, 0)] == [1, 1]


@given(pairs)
def test_every_row_stands_in_one_pack_and_can_be_read_from_it(questions):
    rows, _ = rows_of(questions, 100)
    seen = []
    for trunk, members in trunks_of(rows):
        for pack in packs_of(members, len(trunk)):
            for row, path in pack.rows:
                assert trunk + tuple(pack.tokens[place] for place in path) == row.tokens
                assert [pack.parents[place] for place in path] == [-1, *path[:-1]]
                assert len(path) >= row.keep
                seen.append(row.tokens)
    assert sorted(seen) == sorted(row.tokens for row in rows)
