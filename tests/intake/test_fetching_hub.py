"""What is asked of the hub, and what each of its refusals is said to mean."""

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from checkpoint_files import write
from huggingface_hub import errors

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake.location import UNWANTED, WANTED, find


@pytest.mark.parametrize(
    ("location", "revision"), [("org/name", None), ("org/name@v1", "v1"), ("o/n@refs/pr/1", "refs/pr/1")]
)
def test_it_is_asked_for_data_alone_of_that_revision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, location: str, revision: str | None
) -> None:
    asked: dict[str, Any] = {}

    def download(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        return str(tmp_path / "models--o--n" / "snapshots" / "abc")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    place = find(location)
    assert asked == {
        "repository": location.partition("@")[0],
        "revision": revision,
        "allow_patterns": list(WANTED),
        "ignore_patterns": list(UNWANTED),
    }
    assert place.directory == tmp_path / "models--o--n" / "snapshots" / "abc"
    assert place.blobs == tmp_path / "models--o--n" / "blobs"
    assert place.note is None


def raised(kind: type[Exception]) -> Exception:
    """An error as the hub's client raises it, without the answer that it would hold."""
    error = kind.__new__(kind)
    Exception.__init__(error, "no answer")
    return error


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (errors.GatedRepoError, "accepted its terms\nAccept them, then `hf auth login`"),
        (errors.RevisionNotFoundError, "the hub has no such revision\nCheck the part after @."),
        (errors.RepositoryNotFoundError, "the hub knows no such model .*\nCheck the name"),
        (errors.LocalEntryNotFoundError, "cannot be reached\n.*`hf download org/name --revision v1`"),
        (errors.OfflineModeIsEnabled, "not in the local hub cache"),
        (OSError, r"the hub did not answer \('no answer'\)\nTry again"),
        (errors.HfHubHTTPError, "the hub did not answer"),
        (errors.HfHubHTTPError.__bases__[0], "the hub did not answer"),  # the HTTP library's own
    ],
)
def test_each_refusal_says_what_to_do(monkeypatch: pytest.MonkeyPatch, kind: type[Exception], said: str) -> None:
    def download(*_: object, **__: object) -> str:
        raise raised(kind)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(CheckpointError, match=r"no such hub model at hand: 'org/name@v1': ") as caught:
        find("org/name@v1")
    assert caught.match(said)
    assert isinstance(caught.value.__cause__, kind)


@pytest.mark.parametrize(
    ("folder", "blobs"),
    [
        ("models--org--name/snapshots/abc", "models--org--name/blobs"),
        ("datasets--org--name/snapshots/abc", None),
        ("models--org--name/other/abc", None),
        ("a/snapshots/abc", None),
    ],
)
def test_links_may_lead_to_the_blobs_of_a_model_s_snapshot_alone(
    tmp_path: Path, folder: str, blobs: str | None
) -> None:
    place = find(write(tmp_path / folder))
    assert place.blobs == (None if blobs is None else tmp_path / blobs)
