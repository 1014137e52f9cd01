"""`verify --not-after` and `--not-before`: both the run's beginning and the statement's making have to lie between."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from unlearn_guard.command_line.options import moment
from unlearn_guard.errors import UsageError
from unlearn_guard.reports.attestation import Claim, read_statement
from unlearn_guard.reports.attesting import assert_between, attest


@pytest.fixture
def claim(judged, out) -> Claim:
    attest(judged(), out)
    return read_statement(out.read_bytes(), str(out))


def times(claim: Claim) -> tuple[datetime, datetime]:
    assert claim.started is not None
    assert claim.made is not None
    return datetime.fromisoformat(claim.started), datetime.fromisoformat(claim.made)


def test_between_both_nothing_is_refused(claim: Claim) -> None:
    first, last = sorted(times(claim))
    assert_between(claim, Path("s.json"), not_before=first, not_after=last)
    assert_between(claim, Path("s.json"))


def test_a_moment_too_early_or_too_late_is_refused(claim: Claim) -> None:
    first, last = sorted(times(claim))
    second = timedelta(seconds=1)
    with pytest.raises(UsageError, match="not after"):
        assert_between(claim, Path("s.json"), not_after=last - second)
    with pytest.raises(UsageError, match="not before"):
        assert_between(claim, Path("s.json"), not_before=first + second)


@pytest.mark.parametrize("said", [None, "", "yesterday", "2026-11-28T10:00:00"])
def test_a_statement_that_does_not_say_when_is_no_evidence(claim: Claim, said: str | None) -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match="no date"):
        assert_between(replace(claim, made=said), Path("s.json"), not_after=datetime(2100, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("not_after", "2026-11-30", datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC)),
        ("not_before", "2026-11-30", datetime(2026, 11, 30, tzinfo=UTC)),
        ("not_after", "2026-11-30T14:00:00", datetime(2026, 11, 30, 14, tzinfo=UTC)),
        ("not_after", "2026-11-30T14:00:00+02:00", datetime(2026, 11, 30, 12, tzinfo=UTC)),
    ],
)
def test_a_date_alone_is_the_whole_day(name: str, value: str, expected: datetime) -> None:
    option = click.Option([f"--{name.replace('_', '-')}"])
    assert moment(click.Context(click.Command("verify")), option, value) == expected


def test_what_is_no_date_says_what_one_looks_like() -> None:
    with pytest.raises(click.BadParameter, match="expected a date as 2026-11-28"):
        moment(click.Context(click.Command("verify")), click.Option(["--not-after"]), "30.11.2026")
