"""Each report of a passed, a failed and an incomplete run, as it was last looked at; of the pages the failed one.

After a wanted change: `python -m pytest tests/reports/test_snapshots.py --snapshot-update`, and read the difference.
"""

import io
import re

import pytest
from rich.console import Console
from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from tests.oracles.made_evidence import VERDICTS, made_evidence
from unlearn_guard import __version__
from unlearn_guard.reports.annotations import annotations
from unlearn_guard.reports.html import page
from unlearn_guard.reports.markdown import markdown
from unlearn_guard.reports.sarif import sarif
from unlearn_guard.reports.terminal import render


def terminal(evidence):
    file = io.StringIO()
    render(evidence.run, Console(file=file, width=80))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def without_assets(text):
    """The page without its style and script, which have tests of their own."""
    text = re.sub(r"<(style|script)>.*?</\1>", r"<\1></\1>", text, flags=re.DOTALL)
    return re.sub(r"'sha256-[^']+'", "'sha256-...'", text)


REPORTS = {
    "html": lambda evidence: without_assets(page(evidence)),
    "md": markdown,
    "txt": terminal,
    "annotations": lambda evidence: "\n".join(annotations(evidence.run)) + "\n",
    "sarif": lambda evidence: sarif(evidence).replace(f'"version": "{__version__}"', '"version": "0"'),
}


SHOWN = [(verdict, kind) for verdict in sorted(VERDICTS) for kind in sorted(REPORTS)]


@pytest.mark.parametrize(("verdict", "kind"), [each for each in SHOWN if each[1] != "html" or each[0] == "failed"])
def test_a_report_is_as_it_was(verdict, kind, snapshot):
    class AsFile(SingleFileSnapshotExtension):
        file_extension = kind
        _write_mode = WriteMode.TEXT

    assert REPORTS[kind](made_evidence(VERDICTS[verdict]())) == snapshot(extension_class=AsFile)
