"""report.html in Debian's Chromium: quiet, offline, sortable, printable, and usable without sight or mouse."""

import re

import pytest

from tests.oracles.made_evidence import VERDICTS, hostile_evidence, made_evidence, wide_evidence
from unlearn_guard.reports.html import page

pytestmark = pytest.mark.slow

MAKE = {
    **{name: (lambda make=make: made_evidence(make())) for name, make in VERDICTS.items()},
    "hostile": hostile_evidence,
    "wide": wide_evidence,
}
LOOKS = {"light": (1200, "light"), "dark": (1200, "dark"), "phone": (390, "light")}


@pytest.fixture
def opened(browser, tmp_path):
    """Open a report as a reader would, from disk; what went wrong is in the list beside the page."""
    contexts = []

    def open_(name, look="light", **options):
        path = tmp_path / f"{name}.html"
        path.write_text(page(MAKE[name](), show_items=name == "hostile"), encoding="utf-8")
        width, scheme = LOOKS[look]
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        shown, wrong = context.new_page(), []
        shown.on("console", lambda message: wrong.append(f"console: {message.text}"))
        shown.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        shown.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        shown.on("request", lambda request: wrong.append(request.url) if request.url != path.as_uri() else None)
        shown.goto(path.as_uri())
        return shown, wrong

    yield open_
    for context in contexts:
        context.close()


@pytest.mark.parametrize("look", sorted(LOOKS))
@pytest.mark.parametrize("name", sorted(MAKE))
def test_it_opens_without_an_error_or_a_request(opened, name, look):
    shown, wrong = opened(name, look)
    assert shown.locator("h1").is_visible()
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    assert wrong == []


def test_an_error_would_be_noticed(opened):
    shown, wrong = opened("passed")
    shown.evaluate("setTimeout(() => { throw new Error('mine') }, 0)")
    shown.evaluate("fetch('https://example.invalid/x').catch(() => {})")
    shown.wait_for_timeout(200)
    assert any("mine" in each for each in wrong)
    assert any("Content Security Policy" in each for each in wrong)


def column(shown, place):
    rows = shown.locator("table.stacks tbody tr")
    return [
        cells[place]
        for cells in rows.evaluate_all("rows => rows.map(r => [...r.cells].map(c => c.textContent.trim()))")
    ]


def test_a_table_sorts_by_number_and_back(opened):
    shown, wrong = opened("failed")
    assert column(shown, 6) == ["-0.650", "+0.050", "+0.478"]
    head = shown.locator("table.stacks thead th", has_text="Value")
    head.get_by_role("button").click()
    assert (column(shown, 3), head.get_attribute("aria-sort")) == (["0.100", "0.650", "0.778"], "ascending")
    head.get_by_role("button").press("Enter")
    assert (column(shown, 3), head.get_attribute("aria-sort")) == (["0.778", "0.650", "0.100"], "descending")
    assert wrong == []


def test_what_was_never_measured_sorts_last_both_ways(opened):
    shown, _ = opened("incomplete")
    button = shown.locator("table.stacks thead th", has_text="Margin").get_by_role("button")
    for _ in range(2):
        button.click()
        assert column(shown, 6)[1:] == ["-", "-"]


def test_it_reads_without_a_script(opened):
    shown, _ = opened("failed", java_script_enabled=False)
    assert "must not be released" in shown.locator("header").inner_text()
    assert len(column(shown, 0)) == 3


def test_it_prints_whole(opened, tmp_path):
    shown, wrong = opened("failed")
    data = shown.pdf(format="A4")
    assert data.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", data))
    assert 2 <= pages <= 8
    shown.emulate_media(media="print")
    shown.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert shown.locator("details:not([open])").count() == 0
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert wrong == []


@pytest.mark.parametrize("look", sorted(LOOKS))
@pytest.mark.parametrize("name", ["failed", "incomplete", "hostile"])
def test_axe_finds_no_serious_fault(opened, axe, name, look):
    shown, _ = opened(name, look, bypass_csp=True)
    shown.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    shown.evaluate(axe)
    found = shown.evaluate("axe.run()")["violations"]
    grave = [each for each in found if each["impact"] in ("serious", "critical")]
    assert [(each["id"], each["nodes"][0]["html"][:200], each["nodes"][0]["failureSummary"]) for each in grave] == []


def test_axe_would_find_one(opened, axe):
    shown, _ = opened("passed", bypass_csp=True)
    shown.evaluate("document.body.append(document.createElement('button')); document.documentElement.lang = ''")
    shown.evaluate(axe)
    assert {"button-name", "html-has-lang"} <= {each["id"] for each in shown.evaluate("axe.run()")["violations"]}
