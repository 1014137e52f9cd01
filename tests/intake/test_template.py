"""Chat templates at their bounds, and which of several is the one that is used."""

from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment

from unlearn_guard.intake.template import LONGEST, check_template, chosen_template, inner_templates

WHERE = "tokenizer_config.json: chat_template"


def found(template: str) -> list[str]:
    return [each.found for each in check_template(template, "x")]


@pytest.mark.parametrize(
    "template",
    [
        "a" * LONGEST,
        "{% for i in range(1000) %}x{% endfor %}",
        "{% for i in range(-1000, 1000) %}x{% endfor %}",
        "{% for i in range(n) %}{% for m in messages %}x{% endfor %}{% endfor %}",
        "{% for m in messages %}{% for i in range(n) %}x{% endfor %}{% endfor %}",
        "{% for i in range(n) %}x{% endfor %}{% for i in range(n) %}x{% endfor %}",
        "{{ messages[0] }}{{ messages[i] }}{{ messages[i + 1] }}{{ x.y | trim }}{{ x['y'] }}{{ a() }}{{ a.b() }}",
        "{{ strftime_now('%d %b %Y') }}{{ other(5000) }}{{ x.range(5000) }}{{ (a or b)(5000) }}{{ 2 * n }}{{ n * 3 }}",
        "{% generation %}{{ m }}{% endgeneration %}{% for m in a %}{% continue %}{% endfor %}",
        "{% macro say(a) %}{{ a }}{% endmacro %}{{ say(1) }}{% set ns = namespace(a=1) %}{% set ns.a = 2 %}",
    ],
)
def test_what_formats_messages_passes(template: str) -> None:
    assert found(template) == []


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("a" * (LONGEST + 1), f"{LONGEST + 1} characters"),
        ("{% for i in range(1001) %}x{% endfor %}", "a range of 1001 in line 1"),
        ("\n{% for i in range(5, 1001) %}x{% endfor %}", "a range of 1001 in line 2"),
        ("{% for i in range(n) | list %}{% for j in x %}{% for k in range(n) %}{% endfor %}{% endfor %}{% endfor %}",
         "a loop over a range inside another, line 1"),
        ("{% for i in [1] + range(n) %}{% for k in range(n) %}{% endfor %}{% endfor %}",
         "a loop over a range inside another, line 1"),
        ("{{ a._b }}", "the private attribute '_b' in line 1"),
        ("{{ a['_b'] }}", "the private attribute '_b' in line 1"),
        ("{% import 'a' as b %}", "an include or import in line 1"),
        ("{% from 'a' import b %}", "FromImport in line 1"),
        ("{{ n * 'a' }}", "a text multiplied in line 1"),
        ("{% generation %}{{ a._b }}{% endgeneration %}", "the private attribute '_b' in line 1"),
        ("{% generation %}", "a syntax error in line 1: "),
        ("{{ a | attr('b') }}", "the filter attr, which walks attributes, in line 1"),
    ],
)  # fmt: skip
def test_what_could_do_more_does_not(template: str, said: str) -> None:
    (only,) = found(template)
    assert only.startswith(said)


def test_all_of_it_is_named() -> None:
    assert len(found("{{ a._b }}{{ 'a' * n }}{{ 9 ** 9 }}{% for i in a recursive %}{% endfor %}")) == 4


def test_nothing_of_a_template_is_run() -> None:
    before = Environment(autoescape=True).filters.keys()
    assert found("{{ raise_exception('x') }}{{ 1 / 0 }}") == []
    assert Environment(autoescape=True).filters.keys() == before


@pytest.mark.parametrize(
    ("settings", "templates"),
    [
        ({}, {}),
        ({"chat_template": None}, {}),
        ({"chat_template": 5}, {}),
        ({"chat_template": "a"}, {WHERE: "a"}),
        ({"chat_template": {"x": "a"}}, {f"{WHERE}: x": "a"}),
        ({"chat_template": [{"name": "x", "template": "a"}, 5, {"name": "y"}]},
         {f"{WHERE}: x": "a", f"{WHERE}: y": "None"}),
    ],
)  # fmt: skip
def test_templates_inside_a_config_are_named_by_their_key(settings: dict[str, Any], templates: dict[str, str]) -> None:
    assert inner_templates(settings) == templates


NAMED = {"chat_template": [{"name": "other", "template": "o"}, {"name": "default", "template": "d"}]}
FOLDER, FILE = "additional_chat_templates/default.jinja", "chat_template.jinja"


@pytest.mark.parametrize(
    ("files", "settings", "chosen"),
    [
        ({}, {}, None),
        ({}, {"chat_template": "a"}, "a"),
        ({}, NAMED, "d"),
        ({}, {"chat_template": [{"name": "other", "template": "o"}]}, None),
        ({FILE: "f"}, NAMED, "f"),
        ({FOLDER: "g", FILE: "f"}, NAMED, "g"),
        ({"x.jinja": "x"}, {}, None),
    ],
)
def test_which_template_is_used(files: dict, settings: dict, chosen: str | None) -> None:
    assert chosen_template(files, settings) == chosen


def test_transformers_chooses_alike(sound: Path) -> None:
    from unlearn_guard.intake import open_checkpoint, open_tokenizer

    (sound / FILE).write_text("f")
    assert open_tokenizer(sound).chat_template == open_checkpoint(sound).template == "f"
    (sound / "additional_chat_templates").mkdir()
    (sound / FOLDER).write_text("g")
    assert open_tokenizer(sound).chat_template == open_checkpoint(sound).template == "g"
