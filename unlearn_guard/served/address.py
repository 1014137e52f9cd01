"""Where an endpoint is, and the key it asks for: a key goes to no other host, and is in no text that we write."""

import ipaddress
import os
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from unlearn_guard.errors import UsageError

DEFAULT_KEY = "OPENAI_API_KEY"
"""The variable that programs of this kind read."""

HIDDEN = "***"
_HEADER = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """`url` is the API's root, to which `/completions` is put, without a slash at its end."""

    url: str
    host: str
    local: bool

    @property
    def name(self) -> str:
        """What a file about it is called."""
        return re.sub(r"[^A-Za-z0-9.-]+", "-", urlsplit(self.url).netloc)


class Key:
    """A secret that no text shows: it leaves this object in a header alone."""

    __slots__ = ("_secret", "variable")

    def __init__(self, variable: str, secret: str) -> None:
        self.variable, self._secret = variable, secret

    def __repr__(self) -> str:
        return f"<key of ${self.variable}>"

    @property
    def header(self) -> str:
        """The value of `Authorization`."""
        return f"Bearer {self._secret}"

    def hide(self, text: str) -> str:
        """The text as it may be shown: servers repeat a key, or its ends, in what they say of it."""
        text = text.replace(self._secret, HIDDEN)
        ends = re.escape(self._secret[:4]) + r"[^\s\"']*"
        return re.sub(ends, HIDDEN, text) if len(self._secret) >= 8 else text


def address_of(url: str, *, insecure: bool) -> Address:
    """Raises UsageError for what is no http(s) URL, holds a secret, or would show prompts and key to the network."""
    fix = "Give the API's root, as in http://127.0.0.1:8080/v1 or https://models.example.org/v1."
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError("this is not a URL that can be asked", fix=fix) from error
    if "@" in parts.netloc:
        raise UsageError(
            "the URL holds a user or a password, which every log of a command line would keep",
            fix=f"Put the key into a variable and name it: --key-env {DEFAULT_KEY}.",
        )
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise UsageError("this is not a URL that can be asked", fix=fix)
    local = _is_local(host)
    if parts.scheme == "http" and not local and not insecure:
        raise UsageError(
            f"http://{host}: without TLS anybody on the way reads the items' texts and the key",
            fix="Use https://, or say --insecure-http if the network between is your own.",
        )
    path = parts.path.rstrip("/")
    return Address(url=f"{parts.scheme}://{parts.netloc}{path or '/v1'}", host=host, local=local)


def key_of(variable: str | None) -> Key | None:
    """The key in the variable that was named, or in the usual one; None where nobody named one and that is not set.

    Raises UsageError for a variable that was named and is empty, or holds what no header can.
    """
    name = variable or DEFAULT_KEY
    secret = os.environ.get(name, "").strip()
    if not secret:
        if variable is not None:
            raise UsageError(f"${name} is not set, so there is no key", fix="Set it, or leave --key-env out.")
        return None
    if not _HEADER.fullmatch(secret):
        raise UsageError(f"${name} holds characters that no key has", fix="Look for spaces and line breaks in it.")
    return Key(name, secret)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
