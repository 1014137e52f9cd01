"""`attest` and `verify`: from a run and the candidate's bytes to a statement, and from a statement to the bytes."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unlearn_guard.errors import Defect, PluginError, UsageError
from unlearn_guard.intake import open_checkpoint
from unlearn_guard.intake.folder import is_small_text
from unlearn_guard.reports.attestation import Claim, read_statement, statement
from unlearn_guard.runs import strict_json
from unlearn_guard.runs.atomic import write_bytes

BESIDE = re.compile(
    r"(README|LICENSE|NOTICE|CHANGELOG|USE_POLICY)(\.[A-Za-z0-9]{1,8})?|[^/]{1,64}\.md|\.gitattributes|\.gitignore"
    r"|\.cache/huggingface/.*|\.eval_results/[^/]*\.yaml",
    re.IGNORECASE | re.DOTALL,
)
"""What may lie beside the judged files if it is a small text: the card, the licence, what hub clients leave behind."""

_MOST = 64 * 2**20


def attest(run_dir: Path, out: Path, *, candidate: str | None = None, key: Path | None = None) -> tuple[Path, ...]:
    """Write the statement of a run and, with a private key, `<out>.sig` beside it; returns the files.

    The statement speaks of the files that `check` sealed, by the digests in run.json, and the candidate must hold
    exactly these now. Raises UsageError naming each that is missing or differs, and each that was not judged;
    PluginError where signing is not installed.
    """
    from unlearn_guard.reporting import read_evidence

    evidence = read_evidence(run_dir)
    judged = evidence.run.candidate
    files = dict(judged.files)
    if not files:
        raise UsageError(f"{run_dir} does not say which files it judged", fix="Run check again: it records them.")
    place = Path(candidate) if candidate else judged.path
    if defects := _other_bytes(files, place):
        fix = "Let `check --release DIR` write the judged files alone, and give DIR with --candidate; or check again."
        raise UsageError(f"{place} is not what {run_dir} judged, and nothing else", defects, fix=fix)
    # The list of files is run.json's word; the digest is what every measurement carries.
    if (found := open_checkpoint(place).checkpoint.digest) != judged.digest:
        raise UsageError(
            f"{place} is not what {run_dir} judged: its run.json lists the files of another model",
            [Defect(where="run.json: candidate.files", found=f"a model {found}", expected=judged.digest)],
            fix="Run check on it.",
        )
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
    defects = _other_bytes(claim.files, checkpoint)
    if defects:
        raise UsageError(
            f"{checkpoint} holds other bytes than those that were judged", defects, fix="Run check on them."
        )
    return claim


def _other_bytes(judged: Mapping[str, str], directory: Path) -> list[Defect]:
    """Each judged file that is missing or differs, and each file beside them that may not stand there."""
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory")
    paths = {path.relative_to(directory).as_posix(): path for path in _files(directory)}
    found = {name: _sha256(paths[name]) for name in judged if name in paths}
    defects = [
        Defect(where=name, found=found[name][:16] if name in found else "no such file", expected=digest[:16])
        for name, digest in sorted(judged.items())
        if found.get(name) != digest
    ]
    return defects + [
        Defect(where=name, found="a file that was not judged", expected="none, or a small text such as README.md")
        for name, path in sorted(paths.items())
        if name not in judged and not (BESIDE.fullmatch(name) and is_small_text(path))
    ]


def _files(directory: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(directory, onerror=fail):
        linked = [name for name in folders if (Path(folder) / name).is_symlink()]
        if linked:
            raise UsageError(f"{Path(folder) / linked[0]} is a linked folder", fix="Copy it into the checkpoint.")
        for name in sorted(names):
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
