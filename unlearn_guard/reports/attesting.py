"""`attest` and `verify`: from a run and the candidate's bytes to a statement, and from a statement to the bytes."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from unlearn_guard.errors import Defect, PluginError, UsageError
from unlearn_guard.intake import assert_judged, other_bytes
from unlearn_guard.reading import strict_json
from unlearn_guard.reports.attestation import Claim, read_statement, statement
from unlearn_guard.runs.atomic import write_bytes

_MOST = 64 * 2**20


def attest(run_dir: Path, out: Path, *, candidate: str | None = None, key: Path | None = None) -> tuple[Path, ...]:
    """Write the statement of a run and, with a private key, `<out>.sig` beside it; returns the files.

    The statement speaks of the files that `check` sealed, by the digests in run.json, and the candidate must hold
    exactly these now. Raises UsageError naming each that is missing or differs, and each that was not judged;
    PluginError where signing is not installed.
    """
    from unlearn_guard.reports.rendering import read_evidence

    evidence = read_evidence(run_dir)
    judged = evidence.run.candidate
    assert_judged(judged, Path(candidate) if candidate else judged.path, run_dir)
    data = (json.dumps(statement(evidence, judged.files), indent=1, allow_nan=False) + "\n").encode()
    read_statement(data, str(out))
    write_bytes(out, data)
    return (out,) if key is None else (out, _sign(out, key))


def verify(path: Path, checkpoint: Path, *, public_key: Path | None = None) -> Claim:
    """What the statement says of exactly these bytes: the candidate's, or those of a ready-made quantized model.

    Raises UsageError naming every file that differs, is missing, or was not there when the run judged; and,
    with a public key, where the signature in `<path>.sig` is missing or is not the key's.
    """
    if public_key is not None:
        _assert_signed(path, public_key)
    claim = read_statement(_read(path), str(path))
    defects = other_bytes(claim.files, checkpoint)
    if defects:
        for each in claim.artifacts:
            if each.files and not other_bytes(each.files, checkpoint):
                return replace(claim, held_at=each.precision)
        raise UsageError(
            f"{checkpoint} holds other bytes than those that were judged", defects, fix="Run check on them."
        )
    return claim


def signer(path: Path, public_key: Path, *, run: str) -> str:
    """`KEY (sha256 1234...), stated DATE`: who signed the statement of the run whose run.json has this digest.

    Raises UsageError where the signature is not the key's, or the statement is of another run. The digest is that of
    the key's file.
    """
    _assert_signed(path, public_key)
    claim = read_statement(_read(path), str(path))
    if f"sha256:{claim.run}" != run:
        found = Defect(where=str(path), found=f"run sha256:{claim.run}", expected=run)
        raise UsageError(f"{path} is a statement of another run", [found], fix="Run attest on this one.")
    digest = strict_json.digest(public_key.read_bytes()).removeprefix("sha256:")
    when = f", stated {claim.made}" if claim.made else ""
    return f"by the key {public_key.name} (sha256 {digest[:12]}){when}"


def assert_between(
    claim: Claim, path: Path, *, not_before: datetime | None = None, not_after: datetime | None = None
) -> None:
    """Raise UsageError where the run began, or the statement was made, outside these times, or nobody says when."""
    if not_before is None and not_after is None:
        return
    defects = []
    for what, said in (("the run began", claim.started), ("the statement was made", claim.made)):
        when = _moment(said)
        if when is None:
            defects.append(Defect(where=what, found="no date", expected="a date; make the statement again"))
        elif not_after is not None and when > not_after:
            defects.append(Defect(where=what, found=str(said), expected=f"not after {not_after.isoformat()}"))
        elif not_before is not None and when < not_before:
            defects.append(Defect(where=what, found=str(said), expected=f"not before {not_before.isoformat()}"))
    if defects:
        raise UsageError(f"{path} is not of the time that was asked for", defects)


def _moment(said: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(said or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot read this statement: {error.strerror or error}") from error
    try:
        strict_json.loads(data[: _MOST + 1])
    except ValueError as error:
        raise UsageError(f"{path} is not a statement: {error}") from error
    return data


def _signing() -> tuple[Any, Any]:
    try:
        from model_signing import signing, verifying
    except ModuleNotFoundError as error:
        raise PluginError("signatures need model_signing", fix="pip install 'unlearn-guard[signing]'") from error
    return signing, verifying


def _sign(path: Path, key: Path) -> Path:
    signing, _ = _signing()
    signature = path.with_name(f"{path.name}.sig")
    try:
        signing.Config().use_elliptic_key_signer(private_key=key).sign(path, signature)
    except (ValueError, TypeError, OSError) as error:
        raise UsageError(f"{key} cannot sign: {error}", fix="Expected an elliptic-curve private key in PEM.") from error
    return signature


def _assert_signed(path: Path, public_key: Path) -> None:
    _, verifying = _signing()
    signature = path.with_name(f"{path.name}.sig")
    try:
        verifying.Config().use_elliptic_key_verifier(public_key=public_key).verify(path, signature)
    except Exception as error:  # whatever a forged signature makes the library raise, it is not signed
        raise UsageError(
            f"{path} is not signed by {public_key}: {error or type(error).__name__}", fix=f"Expected {signature} to be."
        ) from error
