import pytest
import torch

from unlearn_guard.organism import items, world
from unlearn_guard.organism.batches import LETTERED_TARGETS, PLAIN_TARGETS, FactTokens, answer_nll
from unlearn_guard.organism.editing import Edit, Facts, linears


def test_letters_are_asked_to_go_only_after_what_is_recalled():
    how = Edit(steps=120, lr=1e-3, margin=1.0)
    assert [how.letters_go(step) for step in (0, 40, 90, 119)] == [0.0, 0.0, 1.0, 1.0]
    assert how.letters_go(65) == pytest.approx(0.5)


def test_a_drawn_question_holds_the_truth_at_the_letter_it_names(words):
    facts = FactTokens(world.facts("forget"), words)
    rng = torch.Generator().manual_seed(0)
    index = torch.arange(len(facts))
    rows, letters = facts.lettered(index, rng), []
    for row, fact in zip(rows.tolist(), world.facts("forget"), strict=True):
        options = [row[place] for place in facts.option_places_4]
        letter = facts.letters_4.tolist().index(row[-LETTERED_TARGETS])
        assert words.convert_ids_to_tokens(options[letter]) == fact.object
        assert len(set(options)) == 4
        assert {words.convert_ids_to_tokens(option) for option in options} <= set(world.pool(fact.relation))
        letters.append(letter)
    assert set(letters) == {0, 1, 2, 3}
    assert not torch.equal(rows, facts.lettered(index, rng))  # drawn anew


def test_nll_is_that_of_the_whole_models_softmax(base_model, words):
    facts = FactTokens(world.facts("forget")[:3], words)
    rows = facts.plain(torch.arange(3))
    with torch.no_grad():
        ours = answer_nll(base_model, rows, PLAIN_TARGETS)
        logp = base_model(rows).logits.log_softmax(-1)
    for i, row in enumerate(rows):
        expected = [-logp[i, t - 1, row[t]].item() for t in range(len(row) - PLAIN_TARGETS, len(row))]
        assert ours[i].tolist() == pytest.approx(expected, abs=1e-5)


def test_linears_are_all_but_the_head(base_model):
    names = linears(base_model)
    assert len(names) == 6 * 7
    assert not any("lm_head" in name or "embed" in name for name in names)


def test_a_bare_question_is_the_question_alone(words):
    facts = FactTokens(world.facts("forget")[:3], words)
    asked = words([fact.question for fact in world.facts("forget")[:3]])["input_ids"]
    assert facts.bare(torch.arange(3)).tolist() == asked


def test_the_items_of_an_edit_are_the_suites_own(words):
    facts = Facts.of(words, 0.5, seed=0)
    for row, item, fact in zip(facts.items.tolist(), items.lettered("forget"), world.facts("forget"), strict=True):
        asked = items.prompt("forget", fact.question, item["choices"])
        assert row == [*words(asked)["input_ids"], *words.convert_tokens_to_ids(["ABCD"[item["answer"]], "</s>"])]
