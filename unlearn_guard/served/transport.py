"""Questions over HTTP: a time limit on each, tried again where a server asks for it, and no redirect is followed.

urllib3 does the waiting (`Retry-After`, and twice as long each time without). A redirect would carry key and items to a
host that nobody named.
"""

import json
import logging
import ssl
import threading
import time
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import urllib3

from unlearn_guard import __version__
from unlearn_guard.errors import MeasurementError, UsageError
from unlearn_guard.served.address import Address, Key

TRIES, CONNECTS = 5, 2
"""Times that a request is put again: in all, and where nothing answers."""

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT = 60.0
"""Seconds that a server's Retry-After may ask for at a time."""

MOST_BYTES = 32 * 1024 * 1024
_SHOWN = 300
_PIECE = 65536


class RefusedError(MeasurementError):
    """The endpoint understood and will not: a request that it does not take. `status` is HTTP's."""

    def __init__(self, summary: str, status: int, *, fix: str = "") -> None:
        super().__init__(summary, fix=fix)
        self.status = status


class _Retry(urllib3.Retry):
    """urllib3's, which a server cannot keep waiting as long as it likes."""

    def get_retry_after(self, response: Any) -> float | None:
        """Seconds, as the server asks."""
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, LONGEST_WAIT)


class Transport:
    """Sends JSON and reads JSON. `timeout` is the seconds that one answer may take, `per_minute` the most requests."""

    def __init__(
        self, address: Address, key: Key | None, *, timeout: float, per_minute: int | None = None, pool: int = 4
    ) -> None:
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # tells each retry, with the whole URL
        self.address, self._key, self._timeout = address, key, timeout
        self._pause = 60.0 / per_minute if per_minute else 0.0
        self._lock, self._next = threading.Lock(), 0.0
        retry = _Retry(
            total=TRIES,
            connect=CONNECTS,
            read=CONNECTS,
            other=0,  # a certificate does not hold the next time either
            redirect=False,
            status_forcelist=AGAIN,
            allowed_methods=None,  # asking a model twice changes nothing
            backoff_factor=0.5,
            backoff_max=LONGEST_WAIT,
            backoff_jitter=0.5,
            raise_on_status=False,
        )
        how: dict[str, Any] = {"retries": retry, "maxsize": pool, "timeout": urllib3.Timeout(timeout, read=timeout)}
        proxy = None if address.local else _proxy(address)
        self._pool = urllib3.ProxyManager(proxy, **how) if proxy else urllib3.PoolManager(**how)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """What the endpoint answers. RefusedError for a status of 4xx, MeasurementError where there is no answer."""
        return self._ask("POST", path, json.dumps(body).encode())

    def get(self, path: str) -> dict[str, Any]:
        """The same without a body, and put once."""
        return self._ask("GET", path, None, retries=urllib3.Retry(CONNECTS, status=0, raise_on_status=False))

    def _ask(self, method: str, path: str, body: bytes | None, **how: Any) -> dict[str, Any]:
        self._wait()
        url = f"{self.address.url}{path}"
        try:
            with self._pool.request(
                method, url, body=body, headers=self._headers(), redirect=False, preload_content=False, **how
            ) as reply:
                status, location = reply.status, reply.headers.get("Location")
                data = self._read(reply, time.monotonic() + self._timeout)
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None  # what it was raised from names the whole request
        if 300 <= status < 400:
            raise UsageError(
                f"{url} sends on to {self._shown(urlsplit(location or '').netloc or location or 'nowhere')}, which was "
                "not followed: the key and the items' texts are for the host that was named",
                fix="Give the URL that it leads to, if that is the endpoint.",
            )
        return self._object(url, status, data)

    def _headers(self) -> dict[str, str]:
        key = {"Authorization": self._key.header} if self._key is not None else {}
        return {"Content-Type": "application/json", "User-Agent": f"unlearn-guard/{__version__}", **key}

    def _wait(self) -> None:
        """Until this request's turn, where their number is limited."""
        if self._pause:
            with self._lock:
                now = time.monotonic()
                turn = max(now, self._next)
                self._next = turn + self._pause
            time.sleep(turn - now)

    def _read(self, reply: Any, deadline: float) -> bytes:
        data = bytearray()
        while piece := reply.read1(_PIECE):
            data += piece
            if len(data) > MOST_BYTES:
                raise MeasurementError(f"{self.address.url} answers with more than {MOST_BYTES} bytes")
            if time.monotonic() > deadline:
                raise MeasurementError(
                    f"{self.address.url} had not finished its answer after {self._timeout:g} s", fix="See --timeout."
                )
        return bytes(data)

    def _object(self, url: str, status: int, data: bytes) -> dict[str, Any]:
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if 200 <= status < 300 and isinstance(found, dict) and "error" not in found:
            return found
        said = self._shown(_message(found) or data.decode(errors="replace"))
        if 200 <= status < 300:
            raise MeasurementError(f"{url} answers with what is no JSON object of an answer: {said or 'nothing'}")
        if status in (401, 403):
            fix = f"Is ${self._key.variable} the right key?" if self._key else "Name the key's variable: --key-env."
            raise UsageError(f"{url} refuses us ({status}): {said}", fix=fix)
        if 400 <= status < 500 and status not in AGAIN:
            raise RefusedError(f"{url} refuses the request ({status}): {said}", status)
        raise MeasurementError(
            f"{url} answers {status}, however often it is asked: {said}",
            fix="The same command goes on where this stopped.",
        )

    def _unreachable(self, error: BaseException) -> MeasurementError | UsageError:
        cause: BaseException = getattr(error, "reason", None) or error
        told = self._shown(str(cause))
        if isinstance(cause, urllib3.exceptions.SSLError | ssl.SSLError):
            return UsageError(
                f"{self.address.url}: its certificate does not hold: {told}",
                fix="A certificate of your own authority is trusted with SSL_CERT_FILE=FILE.",
            )
        return MeasurementError(
            f"{self.address.url} does not answer: {told}",
            fix="Is it running, and is this its URL? The same command goes on where this stopped.",
        )

    def _shown(self, text: str) -> str:
        """What a server or library says, without the key."""
        hidden = self._key.hide(text) if self._key is not None else text
        return " ".join(hidden.split())[:_SHOWN]


def _message(found: Any) -> str | None:
    """The words of an error, in the ways that servers put it."""
    error = found.get("error", found.get("detail", found.get("message"))) if isinstance(found, dict) else None
    error = error.get("message", error) if isinstance(error, dict) else error
    return None if error is None else str(error)


def _proxy(address: Address) -> str | None:
    """What the environment names for this host, as other programs read it."""
    if urllib.request.proxy_bypass(address.host):
        return None
    return urllib.request.getproxies().get(urlsplit(address.url).scheme)
