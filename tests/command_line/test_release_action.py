"""From a run that passed to a signed statement: the steps of the release action."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Done
from composite import Played, play
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / ".github" / "actions" / "release"
Release = Callable[..., Played]


@pytest.fixture
def private() -> str:
    made = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return made.private_bytes(*form).decode()


@pytest.fixture
def release(
    environment: dict[str, str],
    checked: Callable[[str], tuple[Done, Path]],
    candidate: Callable[[str], Path],
    tmp_path: Path,
) -> Release:
    def run(name: str, **inputs: str) -> Played:
        path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{environment['PATH']}"
        where = {"run-directory": str(checked(name)[1]), "release": str(candidate(name)), "statement": "s.json"}
        return play(RELEASE, where | inputs, tmp_path, environment | {"PATH": path, "PYTHONPATH": str(ROOT)})

    return run


def test_what_passed_is_stated_signed_and_verified(
    release: Release, private: str, here: Callable[..., Done], candidate: Callable[[str], Path], tmp_path: Path
) -> None:
    told = release("erased", key=private)
    assert told.status == 0, told.log
    assert told.outputs == {"statement": "s.json", "signature": "s.json.sig"}
    public = serialization.load_pem_private_key(private.encode(), None).public_key()
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public.pem").write_bytes(public.public_bytes(*form))
    verified = here("verify", tmp_path / "s.json", candidate("erased"), "--public-key", tmp_path / "public.pem")
    assert verified.status == 0, verified.text
    assert private.splitlines()[1] not in told.log


def test_what_failed_or_is_other_bytes_is_not_released(
    release: Release, private: str, candidate: Callable[[str], Path]
) -> None:
    told = release("destroyed", key=private)
    assert told.status == 1, told.log
    assert told.outputs["statement"] == ""
    other = release("erased", key=private, release=str(candidate("destroyed")))
    assert other.status == 4, other.log
    assert other.outputs["statement"] == ""


def test_without_a_key_the_workflow_signs_by_its_own_identity(release: Release, tmp_path: Path) -> None:
    """Sigstore is not reached from a test: what it is asked for."""
    shim = tmp_path / "bin" / "python"
    shim.parent.mkdir()
    shim.write_text(
        f'#!/bin/sh\nif [ "$3" = model_signing ]; then echo "$@" > {tmp_path}/asked; touch "$6.sig"; exit 0; fi\n'
        f'exec {sys.executable} "$@"\n'
    )
    shim.chmod(0o755)
    told = release("erased")
    assert told.status == 0, told.log
    assert (tmp_path / "asked").read_text().split() == [
        *("-P", "-m", "model_signing", "sign", "sigstore", "s.json"),
        *("--signature", "s.json.sig", "--use_ambient_credentials"),
    ]
    told = release("destroyed")
    assert told.status == 1
