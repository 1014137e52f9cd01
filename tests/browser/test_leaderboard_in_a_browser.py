"""The leaderboard in Debian's Chromium, opened from disk: it sorts, filters, links, and asks nothing of the network."""

import pytest

from tests.oracles.made_cells import write_made_cell
from tests.oracles.made_evidence import EVIL
from unlearn_guard.comparing.leaderboard import write_leaderboard

pytestmark = pytest.mark.slow

LOOKS = {
    "light": (1280, "light"),
    "dark": (1280, "dark"),
    "phone": (390, "light"),
    "dark phone": (390, "dark"),
}


@pytest.fixture(scope="session")
def sites(tmp_path_factory):
    root = tmp_path_factory.mktemp("sites")
    write_made_cell(root / "plain" / "a0", method="npo", forget_nf4=30, settings={"lr": "1e-3"})
    write_made_cell(root / "plain" / "a1", method="npo", seed=1, forget_nf4=34, settings={"lr": "1e-3"})
    write_made_cell(root / "plain" / "b0", method="mansu", retain=58)
    write_made_cell(root / "plain" / "c0", method="ga", changes={"suite": "other"}, forget_nf4=90)
    write_made_cell(root / "plain" / "d0", method="gu", state="failed", error="out of memory")
    write_made_cell(root / "hostile" / "x", method=EVIL, settings={EVIL: EVIL}, changes={"suite": EVIL})
    write_made_cell(root / "hostile" / "y", method=EVIL, settings={EVIL: EVIL}, state="failed", error=EVIL * 9)
    for name in ("plain", "hostile"):
        write_leaderboard([root / name], root / f"{name}-site", with_reports=name == "plain")
    return root


@pytest.fixture
def opened(browser, sites):
    contexts = []

    def open_(name, look="light", **options):
        path = sites / f"{name}-site" / "index.html"
        width, scheme = LOOKS[look]
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        contexts.append(context)
        shown, wrong = context.new_page(), []
        shown.on("console", lambda message: wrong.append(f"console: {message.text}"))
        shown.on("pageerror", lambda error: wrong.append(f"error: {error}"))
        shown.on("dialog", lambda dialog: (wrong.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        shown.on("request", lambda request: None if request.url.startswith("file:") else wrong.append(request.url))
        shown.goto(path.as_uri())
        return shown, wrong

    yield open_
    for context in contexts:
        context.close()


def methods(shown):
    rows = shown.locator("tr[data-suite]:not([hidden]) th")
    return [text.split()[0] for text in rows.all_inner_texts()]


@pytest.mark.parametrize("look", sorted(LOOKS))
@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_it_opens_without_an_error_or_a_request(opened, name, look):
    shown, wrong = opened(name, look)
    assert shown.locator("h1").is_visible()
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
    assert wrong == []


def test_it_sorts_and_filters(opened):
    shown, wrong = opened("plain")
    assert methods(shown) == ["mansu", "npo", "ga"]
    head = shown.locator("table.board thead th", has_text="Gap")
    head.get_by_role("button").click()
    assert methods(shown) == ["mansu", "npo", "ga"]
    head.get_by_role("button").click()
    assert methods(shown) == ["ga", "npo", "mansu"]
    shown.get_by_label("Suite").select_option(label="other")
    assert methods(shown) == ["ga"]
    assert shown.locator("#shown").inner_text() == "1 rows shown"
    assert shown.locator("svg g[data-suite]:not([hidden])").count() == 2  # no AS-NC was measured
    assert wrong == []


@pytest.mark.parametrize("look", ["light", "phone"])
def test_a_link_leads_to_the_run_s_report(opened, look):
    """It is there to be clicked without scrolling sideways."""
    shown, wrong = opened("plain", look)
    link = shown.get_by_role("link", name="report of seed 1")
    place, table = link.bounding_box(), shown.locator(".scroll").first.bounding_box()
    assert place["x"] + place["width"] <= table["x"] + table["width"]
    link.click()
    assert "unlearn-guard" in shown.locator(".tool").inner_text()
    assert wrong == []


def test_it_reads_without_a_script(opened):
    shown, _ = opened("plain", java_script_enabled=False)
    assert methods(shown) == ["mansu", "npo", "ga"]
    assert not shown.locator(".filters").is_visible()
    assert "out of memory" in shown.locator("main").inner_text()


@pytest.mark.parametrize("look", sorted(LOOKS))
@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_axe_finds_nothing(opened, axe, name, look):
    shown, _ = opened(name, look, bypass_csp=True)
    shown.evaluate(axe)
    found = shown.evaluate("axe.run()")["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:200], each["nodes"][0]["failureSummary"]) for each in found] == []
