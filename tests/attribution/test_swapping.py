"""Pairs of a task's own questions stand where right and wrong part, at a word that the prompt does not give away."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from unlearn_guard.attribution.swapping import FEWEST, Question, parting, swapped_pairs
from unlearn_guard.errors import SuiteError

NAMES = ["Ada", "Ben", "Cyd", "Dov", "Eve", "Fay"]
TOWNS = ["Rome", "Oslo", "Lima", "Bern", "Cork", "Riga"]
WORDS = "the The of in from is was born New Old ? Who Where Q one two"
VOCABULARY = ["<unk>", *NAMES, *TOWNS, *WORDS.split()]


@pytest.fixture(scope="module")
def words():
    """One token a word."""
    tokenizer = Tokenizer(WordLevel({name: place for place, name in enumerate(VOCABULARY)}, "<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>")


def ids(text):
    return tuple(map(VOCABULARY.index, text.split()))


def question(index, right=" Ada was born in {}", wrong=(" Ada was born in {}",), prompt="Where is {} from ?"):
    """Of six people; the wrong town is the next one's."""
    town, other = TOWNS[index], TOWNS[(index + 1) % len(TOWNS)]
    return Question(
        prompt=prompt.format(NAMES[index]),
        right=(right.format(town),),
        wrong=tuple(each.format(other) for each in wrong),
        where=str(index),
    )


def test_a_pair_stands_at_the_first_word_that_tells_right_from_wrong(words):
    """By hand: the towns, after four words that both answers share; the corrupted prompt is the next question's."""
    first, *_ = swapped_pairs(words, [question(index) for index in range(6)])
    assert first.clean == ids("Where is Ada from ? Ada was born in")
    assert first.corrupted == ids("Where is Ben from ? Ada was born in")
    assert (first.target, first.wrong) == (ids("Rome")[0], ids("Oslo"))


def test_where_wrong_answers_part_at_several_places_most_of_them_decide(words):
    wrong = [" The town was Oslo", " Ada was born in Oslo", " Ada was born in Lima", " Ada was born in"]
    found = parting(words, "Where ?", " Ada was born in Rome", wrong, "x")
    assert found is not None
    assert (found.clean, found.target) == (ids("Where ? Ada was born in"), ids("Rome")[0])
    assert found.wrong == ids("Oslo Lima"), "one parts elsewhere and one does not part"


def test_answers_that_do_not_part_give_no_pair(words):
    assert parting(words, "Where ?", " New Rome", [" New", " New Rome Old"], "x") is None


def test_a_target_that_the_prompt_gives_away_is_left_out(words):
    """The first asks for a town that its question names; case does not matter."""
    asked = [question(index) for index in range(6)]
    asked[0] = question(0, prompt="Where is {} from ? Rome")
    asked[1] = Question(prompt="Who is the ?", right=(" The one",), wrong=(" Old one",), where="1")
    pairs = swapped_pairs(words, [*asked, *(question(index) for index in range(6))])
    assert all(pair.target not in pair.clean for pair in pairs)
    assert not {"1"} & {pair.where for pair in pairs} or len(pairs) == 10
    with pytest.raises(SuiteError, match="4 pairs from 6 questions, of which 4 ask for a fact"):
        swapped_pairs(words, asked)


def test_a_target_among_options_that_are_all_in_the_prompt_stays(words):
    """So do lettered questions ask: the prompt holds every option and tells none."""
    lettered = [
        question(i, right=" {}", wrong=(" {}",), prompt="Q {} is one Rome Oslo Lima Bern Cork Riga ?") for i in range(6)
    ]
    assert len(swapped_pairs(words, lettered)) == 6


def test_of_two_right_answers_the_first_that_asks_for_a_fact_counts(words):
    """TOFU's paraphrase parts at the town; the answer that it paraphrases begins otherwise."""
    asked = [
        Question(prompt=q.prompt, right=(q.right[0], f" from {TOWNS[i]}"), wrong=q.wrong, where=q.where)
        for i, q in enumerate(question(index) for index in range(6))
    ]
    assert [pair.target for pair in swapped_pairs(words, asked)] == [ids(town)[0] for town in TOWNS]


def test_without_wrong_answers_those_of_the_other_questions_are_wrong(words):
    asked = [question(index, right=" {} Old", wrong=()) for index in range(6)]
    first, *_ = swapped_pairs(words, asked)
    assert (first.clean, first.target) == (ids("Where is Ada from ?"), ids("Rome")[0])
    assert set(first.wrong) == set(ids(" ".join(TOWNS[1:])))


def test_an_unknown_word_is_no_target(words):
    asked = [question(index, right=" Quito", wrong=(" {}",)) for index in range(6)]
    with pytest.raises(SuiteError, match="0 pairs"):
        swapped_pairs(words, asked)


def test_another_length_or_the_same_target_does_not_fit(words):
    asked = [question(index) for index in range(6)]
    longer = question(0, prompt="Where is the New {} from ?")
    with pytest.raises(SuiteError, match="0 pairs"):
        swapped_pairs(words, [longer])
    assert len(swapped_pairs(words, [*asked, longer])) == 6


@given(places=st.lists(st.integers(0, 5), min_size=0, max_size=12))
@settings(max_examples=50, deadline=None)
def test_every_pair_is_one_that_can_be_compared(words, places):
    """Equal lengths, another prompt, a target that neither the wrong ones nor the prompt hold; or a refusal."""
    asked = [question(place, prompt="Where is {} from ?" if n % 3 else "Q {} ?") for n, place in enumerate(places)]
    try:
        pairs = swapped_pairs(words, asked)
    except SuiteError:
        return
    assert len(pairs) >= FEWEST
    for pair in pairs:
        assert len(pair.clean) == len(pair.corrupted)
        assert pair.clean != pair.corrupted
        assert pair.target not in (*pair.wrong, *pair.clean)
