import re

import pytest
from markdown_it import MarkdownIt

from tests.oracles.made_evidence import VERDICTS, hostile_evidence, made_evidence, wide_evidence
from unlearn_guard.reports.markdown import LIMIT, markdown
from unlearn_guard.reports.scorecard import sentence

GITHUB = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
OURS = {
    "h2",
    "h3",
    "p",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "code",
    "strong",
    "details",
    "summary",
    "ul",
    "li",
}


def rendered(text):
    return GITHUB.render(text)


def words(html):
    from html import unescape

    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).replace("\u200b", "").split())


@pytest.mark.parametrize("name", sorted(VERDICTS))
def test_it_says_the_verdict_and_what_did_not_hold(name):
    run = VERDICTS[name]()
    text = words(rendered(markdown(made_evidence(run))))
    assert sentence(run) in text
    for check in run.verdict.checks:
        assert check.id in text
    assert ("What did not hold" in text) == (name != "passed")


def test_a_table_row_is_one_row():
    html = rendered(markdown(made_evidence(VERDICTS["failed"]())))
    assert html.count("<table>") == 4
    assert "FAILED" in re.search(r"<tr>(?:(?!</tr>).)*ptq_gap.*?</tr>", html, flags=re.DOTALL)[0]


def test_hostile_names_are_text():
    text = markdown(hostile_evidence())
    html = rendered(text)
    assert set(re.findall(r"<\s*/?\s*([a-z0-9]+)", html)) <= OURS
    assert not re.search(r"<[^>]*\s(href|src|on\w+)=", html)
    assert "<script>alert(1)</script>" in words(html)
    assert "@everyone" not in text  # broken up: GitHub would call everyone
    for raw in ("www.evil", "https://", "\x1b", "\u202e", "\n::error", "$x$", "~["):
        assert raw not in text


def test_a_long_run_is_cut_with_a_pointer():
    text = markdown(wide_evidence())
    assert len(text.encode()) <= LIMIT
    assert "Cut here; all of it is in report.html of <code>" in text
    assert text.count("<details>") == text.count("</details>")
    short = markdown(made_evidence(VERDICTS["failed"]()))
    assert "Cut here" not in short


@pytest.mark.parametrize("limit", range(400, 4000, 300))
def test_it_never_grows_beyond_its_limit(limit):
    text = markdown(made_evidence(VERDICTS["passed"]()), limit=limit)
    assert len(text.encode()) <= limit
    assert text.count("<details>") == text.count("</details>")
