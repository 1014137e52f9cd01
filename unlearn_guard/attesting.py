"""`attest` and `verify`: from a run and the candidate's bytes to a statement, and from a statement to the bytes."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unlearn_guard.errors import Defect, PluginError, UsageError
from unlearn_guard.reports.attestation import Claim, read_statement, statement
from unlearn_guard.runs import strict_json
from unlearn_guard.runs.atomic import write_bytes

IGNORED = (".git", ".gitattributes", ".github", ".gitignore", ".eval_results", "README.md", ".cache")
"""Left out of a statement: what `model_signing` leaves out, and the card, which tells of the verdict and follows it."""

_MOST = 64 * 2**20


def attest(run_dir: Path, out: Path, *, candidate: str | None = None, key: Path | None = None) -> tuple[Path, ...]:
    """Write the statement of a run and, with a private key, `<out>.sig` beside it; returns the files.

    The candidate is opened as `check` opens it and must still be the one that was judged. Raises UsageError
    where it is not, or holds pickles, code or other models beside what was judged; PluginError where signing is not
    installed.
    """
    from unlearn_guard.intake import assert_unchanged, may_run, open_checkpoint
    from unlearn_guard.reporting import read_evidence

    evidence = read_evidence(run_dir)
    judged = evidence.run.candidate
    intake = open_checkpoint(candidate or str(judged.path))
    if intake.checkpoint.digest != judged.digest:
        raise UsageError(
            f"{intake.location} is not the candidate that {run_dir} judged",
            [Defect(where="digest", found=intake.checkpoint.digest, expected=judged.digest)],
            fix="Give the judged candidate with --candidate, or check this one.",
        )
    files = file_digests(intake.checkpoint.path)
    assert_unchanged(intake)
    # `verify` says of every file that it was judged; these nobody opened, and nobody knows who changed them since.
    defects = [
        Defect(where=name, found="a model or code that was never opened", expected="only what was judged")
        for name in files
        if name not in intake.names and may_run(name)
    ]
    if defects:
        fix = "Take them out of what is released, then attest again: the judged files stay as they are."
        raise UsageError(f"{intake.location} holds what no statement can speak for", defects, fix=fix)
    data = (json.dumps(statement(evidence, files), indent=1, allow_nan=False) + "\n").encode()
    read_statement(data, str(out))
    write_bytes(out, data)
    return (out,) if key is None else (out, _sign(out, key))


def verify(path: Path, checkpoint: Path, *, public_key: Path | None = None) -> Claim:
    """What the statement says of exactly these bytes.

    Raises UsageError naming every file that differs, is missing, or was not there when the run judged; and,
    with a public key, where the signature in `<path>.sig` is missing or is not the key's.
    """
    if public_key is not None:
        _assert_signed(path, public_key)
    claim = read_statement(_read(path), str(path))
    found = file_digests(checkpoint)
    defects = [
        Defect(where=name, found="no such file" if name not in found else found[name][:16], expected=digest[:16])
        for name, digest in sorted(claim.files.items())
        if found.get(name) != digest
    ]
    defects += [
        Defect(where=name, found="a file that was not judged", expected="none")
        for name in sorted(found.keys() - claim.files.keys())
    ]
    if defects:
        raise UsageError(
            f"{checkpoint} holds other bytes than those that were judged", defects, fix="Run check on them."
        )
    return claim


def file_digests(directory: Path) -> dict[str, str]:
    """sha256 of each file below `directory`, by its path with forward slashes; links are read, IGNORED left out."""
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory")
    return {path.relative_to(directory).as_posix(): _sha256(path) for path in sorted(_files(directory))}


def _files(directory: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(directory, onerror=fail):
        if Path(folder) == directory:
            folders[:] = [name for name in folders if name not in IGNORED]
            names = [name for name in names if name not in IGNORED]
        linked = [name for name in folders if (Path(folder) / name).is_symlink()]
        if linked:
            raise UsageError(f"{Path(folder) / linked[0]} is a linked folder", fix="Copy it into the checkpoint.")
        for name in names:
            path = Path(folder) / name
            if not path.is_file():
                raise UsageError(f"{path} is neither a file nor a folder", fix="Remove it, or judge a clean copy.")
            yield path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
