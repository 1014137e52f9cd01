"""Which URLs are asked, and where a key comes from."""

import pytest

from unlearn_guard.errors import UsageError
from unlearn_guard.served.address import Address, address_of, key_of

SECRET = "sk-verysecret-0123456789abcdef"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://models.example.org/v1", "without TLS"),
        ("http://10.0.0.7:8000/v1", "without TLS"),
        ("http://127.0.0.1.example.org/v1", "without TLS"),
        ("ftp://127.0.0.1/v1", "not a URL"),
        ("127.0.0.1:8080", "not a URL"),
        ("http://[::1/v1", "not a URL"),
        ("https://models.example.org/v1?key=abc", "not a URL"),
        (f"https://user:{SECRET}@models.example.org/v1", "holds a user or a password"),
    ],
)
def test_urls_that_are_not_asked(url, told):
    with pytest.raises(UsageError, match=told) as caught:
        address_of(url, insecure=False)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8080", "http://localhost:8080/v1"),
        ("http://[::1]:8080/v1/", "http://[::1]:8080/v1"),
        ("https://models.example.org/openai/v1", "https://models.example.org/openai/v1"),
    ],
)
def test_urls_that_are(url, expected):
    found = address_of(url, insecure=False)
    assert isinstance(found, Address)
    assert found.url == expected
    assert found.local == ("example" not in url)


def test_another_machine_may_be_asked_without_tls_where_that_is_said():
    assert not address_of("http://10.0.0.7:8000/v1", insecure=True).local


def test_a_key_is_the_variables_and_shows_in_no_text(monkeypatch):
    monkeypatch.setenv("A_KEY", f" {SECRET}\n")
    assert SECRET not in f"{key_of('A_KEY')!r} {key_of('A_KEY')}"
    assert key_of("A_KEY").header == f"Bearer {SECRET}"
    monkeypatch.setenv("A_KEY", "two words")
    with pytest.raises(UsageError, match="characters that no key has") as caught:
        key_of("A_KEY")
    assert "two words" not in str(caught.value)
    with pytest.raises(UsageError, match="not set"):
        key_of("NO_SUCH_KEY")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert key_of(None) is None
