"""A badge for a README or a model card: the verdict and the policy, as an SVG that asks nobody for anything."""

from xml.sax.saxutils import escape

from unlearn_guard.records import Run
from unlearn_guard.reports import wording

_COLOURS = {"passed": "#1f5fa8", "failed": "#a84300"}
_OPEN = "#6d5a00"
"""As in the report: told apart by everyone, white letters readable on each."""

_LETTER, _HEIGHT = 7, 20
"""Of 11 px letters, in SVG units."""


def badge(run: Run, digest: str) -> str:
    """`unlearning | passed (release)`; its title names the candidate, the run and the day, for who looks closely."""
    word = {"incomplete": "not established"}.get(run.verdict.word, run.verdict.word)
    left, right = "unlearning", f"{word} ({wording.short(run.policy.path, 40)})"
    title = (
        f"unlearn-guard: {word} by {wording.short(run.policy.path)}, suite {wording.short(run.suite)}, candidate "
        f"{wording.short(run.candidate.digest)}, run {wording.short(digest)}, {wording.short(run.started, 40)}"
    )
    at = _LETTER * len(left) + 12
    width = at + _LETTER * len(right) + 12
    text = '<text x="{}" y="14" textLength="{}" lengthAdjust="spacingAndGlyphs">{}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}" role="img" '
        f'aria-label="{_text(f"{left}: {right}")}"><title>{_text(title)}</title>'
        f'<rect width="{at}" height="{_HEIGHT}" fill="#3b4048"/>'
        f'<rect x="{at}" width="{width - at}" height="{_HEIGHT}" fill="{_COLOURS.get(run.verdict.word, _OPEN)}"/>'
        f'<g fill="#ffffff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">'
        f"{text.format(6, at - 12, _text(left))}{text.format(at + 6, width - at - 12, _text(right))}</g></svg>\n"
    )


def _text(words: str) -> str:
    return escape(words, {'"': "&quot;"})
