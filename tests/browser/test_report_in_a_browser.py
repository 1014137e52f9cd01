"""report.html in Debian's Chromium: quiet, offline, sortable, printable, and usable without sight or mouse."""

import re

import pytest

from tests.oracles.made_evidence import VERDICTS, hostile_evidence, made_evidence, wide_evidence
from unlearn_guard.reports.html import page
from unlearn_guard.reports.items_page import items_page

pytestmark = pytest.mark.slow

MAKE = {
    **{name: (lambda make=make: made_evidence(make())) for name, make in VERDICTS.items()},
    "hostile": hostile_evidence,
    "wide": wide_evidence,
}
LOOKS = {
    "light": (1280, "light"),
    "dark": (1280, "dark"),
    "phone": (390, "light"),
    "dark phone": (390, "dark"),
}


@pytest.fixture
def opened(browser, tmp_path):
    """Open a report as a reader would, from disk; what went wrong is in the list beside the page."""
    contexts = []

    def open_(name, look="light", **options):
        path = tmp_path / f"{name}.html"
        made = MAKE[name.removeprefix("items of ")]()
        write = items_page if name.startswith("items of ") else page
        path.write_text(write(made, show_items=name == "hostile"), encoding="utf-8")
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
@pytest.mark.parametrize("name", [*sorted(MAKE), "items of hostile", "items of wide"])
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


def column(table, place):
    rows = table.locator("tbody tr")
    return [
        cells[place]
        for cells in rows.evaluate_all("rows => rows.map(r => [...r.cells].map(c => c.textContent.trim()))")
    ]


def test_a_table_sorts_by_number_and_back(opened):
    shown, wrong = opened("failed")
    broken = shown.locator("table.stacks").first
    assert column(broken, 6) == ["-0.650", "+0.050"]
    head = broken.locator("thead th", has_text="Value")
    head.get_by_role("button").click()
    assert (column(broken, 3), head.get_attribute("aria-sort")) == (["0.100", "0.650"], "ascending")
    head.get_by_role("button").press("Enter")
    assert (column(broken, 3), head.get_attribute("aria-sort")) == (["0.650", "0.100"], "descending")
    assert wrong == []


def test_what_has_no_number_sorts_last_both_ways(opened):
    shown, _ = opened("incomplete")
    shown.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    table = shown.locator("[aria-label='Table: other measurements'] table")
    assert {"-"} < set(column(table, 2))
    button = table.locator("thead th", has_text="Standard error").get_by_role("button")
    for _ in range(2):
        button.click()
        there = [text != "-" for text in column(table, 2)]
        assert there == sorted(there, reverse=True)


def test_limits_stand_by_what_came_of_them(opened):
    """Those that did not hold openly, many that held folded to a count."""
    shown, _ = opened("wide")
    assert shown.locator("table.stacks").first.locator("tbody tr").first.is_visible()
    held = shown.locator("details", has_text="Each of them").last
    assert "Held: " in shown.locator("main").inner_text()
    assert not held.locator("tbody tr").first.is_visible()
    held.locator("summary").click()
    assert held.locator("tbody tr").first.is_visible()


@pytest.mark.parametrize("look", ["light", "phone"])
@pytest.mark.parametrize("name", ["failed", "wide", "items of wide"])
def test_no_table_is_cut_without_a_cue(opened, name, look):
    """Where there is more to the right, a line says so and a shade lies at the edge; where not, neither is there."""
    shown, _ = opened(name, look)
    shown.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    shown.wait_for_timeout(200)
    places = shown.evaluate(
        """[...document.querySelectorAll('.scroll')].map(e => [e.scrollWidth > e.clientWidth + 1,
        !e.nextElementSibling.hidden, getComputedStyle(e).backgroundImage.includes('gradient')])"""
    )
    assert places
    assert all(cut == told and shaded for cut, told, shaded in places)
    alone = shown.evaluate(
        "[...document.querySelectorAll('table, svg[role=img]')].filter(e => !e.closest('.scroll')).length"
    )
    assert alone == 0


def test_every_text_of_a_picture_is_readable(opened):
    shown, _ = opened("wide")
    sizes = shown.evaluate(
        "[...document.querySelectorAll('svg text')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert len(sizes) > 100
    assert min(sizes) >= 12
    # Not drawn smaller than its own units either.
    assert shown.evaluate(
        """[...document.querySelectorAll('svg[role=img]')].every(
        e => e.getBoundingClientRect().width > e.viewBox.baseVal.width - 0.1)"""
    )


def test_no_series_has_the_colour_of_a_verdict(opened):
    shown, _ = opened("failed")
    names = ["--s0", "--s1", "--s2", "--s3", "--failed", "--passed", "--open"]
    for scheme in ("light", "dark"):
        shown.emulate_media(color_scheme=scheme)
        values = shown.evaluate(
            "names => names.map(n => getComputedStyle(document.documentElement).getPropertyValue(n))", names
        )
        assert len(set(values)) == len(names)


def test_it_reads_without_a_script(opened):
    shown, _ = opened("failed", java_script_enabled=False)
    assert "must not be released" in shown.locator("header").inner_text()
    assert [len(column(table, 0)) for table in shown.locator("table.stacks").all()[:2]] == [2, 1]


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
@pytest.mark.parametrize("name", ["failed", "incomplete", "hostile", "items of hostile"])
def test_axe_finds_nothing(opened, axe, name, look):
    shown, _ = opened(name, look, bypass_csp=True)
    shown.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    shown.evaluate(axe)
    found = shown.evaluate("axe.run()")["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200], each["nodes"][0]["failureSummary"]) for each in found] == []


def test_axe_would_find_one(opened, axe):
    shown, _ = opened("passed", bypass_csp=True)
    shown.evaluate("document.body.append(document.createElement('button')); document.documentElement.lang = ''")
    shown.evaluate(axe)
    assert {"button-name", "html-has-lang"} <= {each["id"] for each in shown.evaluate("axe.run()")["violations"]}
