"""The run as SARIF 2.1.0: each limit is a rule, each limit that did not hold a result at the policy's line.

Source: OASIS, Static Analysis Results Interchange Format (SARIF) Version 2.1.0 plus Errata 01.
"""

import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from unlearn_guard import __version__
from unlearn_guard.records import Check, Outcome, Run
from unlearn_guard.reports import wording
from unlearn_guard.reports.annotations import policy_file
from unlearn_guard.reports.evidence import Evidence
from unlearn_guard.reports.scorecard import worst_first

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LONGEST = 200


def sarif(evidence: Evidence) -> str:
    """The document, the same bytes for the same run."""
    run = evidence.run
    rules = {check.id: index for index, check in enumerate(run.verdict.checks)}
    broken = [check for check in worst_first(run.verdict.checks) if check.outcome is not Outcome.PASSED]
    driver = {
        "name": "unlearn-guard",
        "version": __version__,
        "rules": [_rule(check) for check in run.verdict.checks],
    }
    invocation = {"executionSuccessful": True, "exitCode": 0 if run.verdict.passed else 1 if run.verdict.failed else 5}
    properties = {"verdict": run.verdict.word, "run": evidence.digest, "candidate": run.candidate.digest}
    held = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "automationDetails": {"id": f"unlearn-guard/{quote(wording.short(run.suite), safe='')}/"},
                "invocations": [invocation],
                "results": [_result(check, run, rules[check.id]) for check in broken] or _no_release(run),
                "properties": {**properties, "headline": wording.headline(run)},
            }
        ],
    }
    return json.dumps(held, indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _no_release(run: Run) -> list[dict[str, Any]]:
    """What stands where every limit held and the run is no release all the same: no result would read as a pass."""
    if run.verdict.passed:
        return []
    place = {"physicalLocation": _location(None, run)}
    text = wording.short(wording.headline(run), 1000)
    return [{"ruleId": "verdict", "level": "warning", "message": {"text": text}, "locations": [place]}]


def rule_id(check: Check) -> str:
    """The check's id; of one that no honest suite has, its beginning and its digest."""
    name = wording.plain(check.id)
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _rule(check: Check) -> dict[str, Any]:
    limit = check.limit
    return {
        "id": rule_id(check),
        "shortDescription": {"text": wording.short(f"{check.id} {wording.bounds(limit)}", 400)},
        "fullDescription": {"text": wording.short(limit.because, 600)},
        "properties": {"tags": [str(limit.guards)], "precision": "high"},
    }


def _result(check: Check, run: Run, index: int) -> dict[str, Any]:
    text = f"{wording.outcome(check)}: value {wording.value(check)}, limit {wording.bounds(check.limit)}. "
    measured = check.measurement
    properties = {"outcome": str(check.outcome), "margin": check.margin, "value": measured.value if measured else None}
    return {
        "ruleId": rule_id(check),
        "ruleIndex": index,
        "level": "error" if check.outcome is Outcome.FAILED else "warning",
        "message": {"text": wording.short(text + wording.next_step(check), 1000)},
        "locations": [{"physicalLocation": _location(check.limit.line, run)}],
        "partialFingerprints": {"limit/v1": hashlib.sha256(check.id.encode()).hexdigest()},
        "properties": properties,
    }


def _location(line: int | None, run: Run) -> dict[str, Any]:
    path = policy_file(run) or "run.json"  # a shipped policy is no file here; run.json lies beside this one
    uri = Path(path).as_uri() if Path(path).is_absolute() else quote(wording.plain(path))
    return {"artifactLocation": {"uri": uri}, "region": {"startLine": line or 1}}
