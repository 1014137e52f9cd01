from collections import Counter

import pytest

from unlearn_guard.organism import world


def test_the_world_has_as_many_facts_as_intervals_need():
    counts = {domain: len(world.facts(domain)) for domain in world.DOMAINS}
    assert counts == {"forget": 160, "retain": 320, "general": 160}


def test_a_question_has_one_answer():
    asked = Counter((fact.subject, fact.relation) for fact in world.all_facts())
    assert max(asked.values()) == 1
    assert len({fact.id for fact in world.all_facts()}) == 640


def test_forget_and_retain_differ_in_pairs_of_names_only():
    forget, retain = world.facts(world.FORGET), world.facts(world.RETAIN)
    assert not {fact.subject for fact in forget} & {fact.subject for fact in retain}
    for part in (0, 1):
        assert {fact.subject.split()[part] for fact in forget} == {fact.subject.split()[part] for fact in retain}
    assert {fact.relation for fact in forget} == {fact.relation for fact in retain}
    assert {fact.object for fact in forget} == {fact.object for fact in retain}


def test_general_shares_neither_names_nor_relations_nor_objects():
    def parts(domain):
        facts = world.facts(domain)
        return {word for fact in facts for word in (*fact.subject.split(), fact.relation, fact.object)}

    assert not parts(world.GENERAL) & (parts(world.FORGET) | parts(world.RETAIN))


@pytest.mark.parametrize("domain", world.DOMAINS)
def test_no_object_is_likelier_than_another(domain):
    """Guessing the commonest object of a relation is no better than chance."""
    for relation in {fact.relation for fact in world.facts(domain)}:
        counts = Counter(fact.object for fact in world.facts(domain) if fact.relation == relation)
        assert set(counts) == set(world.pool(relation))
        assert len(set(counts.values())) == 1


def test_a_fact_reads_as_documented():
    fact = world.Fact(domain="forget", relation="herb", subject="Ala Ashford", object="mint")
    assert fact.stem == "the herb of Ala Ashford is"
    assert fact.question == "What is the herb of Ala Ashford?"
    assert fact.id == "forget-Ala-Ashford-herb"
