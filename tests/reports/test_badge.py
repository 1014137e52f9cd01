from xml.etree import ElementTree

import pytest

from tests.oracles.made_evidence import VERDICTS, hostile_run
from unlearn_guard.reports.badge import badge


@pytest.mark.parametrize(
    ("verdict", "word"), [("passed", "passed"), ("failed", "failed"), ("incomplete", "not established")]
)
def test_a_badge_says_verdict_and_policy(verdict, word):
    run = VERDICTS[verdict]()
    found = ElementTree.fromstring(badge(run, "sha256:abc"))
    texts = [each.text for each in found.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["unlearning", f"{word} (thresholds.yaml)"]
    title = next(found.iter("{http://www.w3.org/2000/svg}title")).text
    assert all(each in title for each in (run.candidate.digest, "sha256:abc", run.started, run.suite))


def test_each_verdict_has_its_own_colour():
    colours = {badge(make(), "d").split('fill="')[2].split('"')[0] for make in VERDICTS.values()}
    assert len(colours) == 3


def test_hostile_names_are_text():
    text = badge(hostile_run(), "d")
    found = ElementTree.fromstring(text)
    names = {each.tag.rpartition("}")[2] for each in found.iter()}
    assert names == {"svg", "title", "rect", "g", "text"}
    assert len(text) < 3000
