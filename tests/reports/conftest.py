"""A run that judged a copy of the embedded organism, and keys to sign with."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.oracles.made_scores import CANDIDATE, made_run, made_scores
from unlearn_guard.intake import file_digests, open_checkpoint
from unlearn_guard.organism import base_path
from unlearn_guard.runs.directory import write_run


@pytest.fixture(scope="session")
def opened():
    return open_checkpoint(str(base_path()))


@pytest.fixture
def candidate(tmp_path):
    """A copy of the embedded organism, whose files nobody else sees."""
    import shutil

    return Path(shutil.copytree(base_path(), tmp_path / "model"))


def _of(digest, score):
    """A score of the candidate as one of this model."""
    if score.subject != CANDIDATE:
        return score
    return replace(score, subject=digest, measurement=replace(score.measurement, subject=digest))


@pytest.fixture
def judged(tmp_path, candidate, opened):
    """A run that judged the copy."""

    def make(scores=None, **changes):
        digest = opened.checkpoint.digest
        scores = [_of(digest, each) for each in (made_scores() if scores is None else scores)]
        run, scores = made_run(scores=scores, subject=digest, **changes)
        run = replace(run, candidate=replace(run.candidate, path=candidate, files=file_digests(candidate)))
        write_run(run, scores, tmp_path / "run")
        return tmp_path / "run"

    return make


@pytest.fixture
def out(tmp_path):
    return tmp_path / "statement.json"


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs"):
        key = ec.generate_private_key(ec.SECP256R1())
        pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        (folder / f"{name}.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        public = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(public)
    return folder
