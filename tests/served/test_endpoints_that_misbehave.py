"""What servers do wrong, and what becomes of the key and of the status then."""

import ssl
import threading
import time

import pytest
import urllib3
from model_server import serving

from unlearn_guard.errors import MeasurementError, UsageError
from unlearn_guard.served.address import address_of, key_of
from unlearn_guard.served.transport import RefusedError, Transport

SECRET = "sk-verysecret-0123456789abcdef"


@pytest.fixture
def quick(monkeypatch):
    """No waiting between two tries but what a server asks for."""
    monkeypatch.setattr(urllib3.Retry, "get_backoff_time", lambda self: 0)


@pytest.fixture
def transport_to(monkeypatch):
    def get(url, *, secret=SECRET, timeout=5.0, **more):
        if secret:
            monkeypatch.setenv("A_KEY", secret)
        key = key_of("A_KEY") if secret else None
        return Transport(address_of(url, insecure=False), key, timeout=timeout, **more)

    return get


def once(answer, times=1):
    """Misbehave at the first requests alone."""

    def misbehave(handler, number):
        if number > times:
            return False
        answer(handler)
        return True

    return misbehave


def always(answer):
    return once(answer, 10**9)


BODY = {"model": "judged", "prompt": "Where lives n1 n2 ?"}


def test_retry_after_is_kept(server_of, transport_to):
    server = server_of()
    server.misbehave = once(lambda handler: handler.say(429, {"error": "slow down"}, Retry_After="1"))
    with serving(server) as url:
        begin = time.monotonic()
        assert transport_to(url).post("/completions", BODY)["choices"]
    assert time.monotonic() - begin >= 1
    assert len(server.seen) == 2


def test_a_server_does_not_keep_us_waiting_as_long_as_it_likes(server_of, transport_to, monkeypatch):
    monkeypatch.setattr("unlearn_guard.served.transport.LONGEST_WAIT", 0.2)
    server = server_of()
    server.misbehave = once(lambda handler: handler.say(429, {}, Retry_After="86400"))
    with serving(server) as url:
        assert transport_to(url).post("/completions", BODY)["choices"]


def test_an_error_of_the_server_is_put_again_and_told_if_it_stays(server_of, transport_to, quick):
    server = server_of()
    server.misbehave = once(lambda handler: handler.say(500, {"error": {"message": "cuda"}}), 3)
    with serving(server) as url:
        assert transport_to(url).post("/completions", BODY)["choices"]
        assert len(server.seen) == 4
        server.misbehave = always(lambda handler: handler.say(503, {"error": {"message": f"no {SECRET} today"}}))
        with pytest.raises(MeasurementError, match=r"503, however often it is asked: no \*\*\* today") as caught:
            transport_to(url).post("/completions", BODY)
    assert SECRET not in repr(caught.value)


@pytest.mark.parametrize("data", [b"<html>busy</html>", b'{"choices": [', b"[]", b""])
def test_what_is_no_json_object_is_no_answer(data, server_of, transport_to):
    server = server_of()
    server.misbehave = always(lambda handler: handler.say(200, data))
    with serving(server) as url, pytest.raises(MeasurementError, match="no JSON object"):
        transport_to(url).post("/completions", BODY)


def test_a_body_that_drips_is_left_after_the_time_limit(server_of, transport_to):
    server = server_of()
    server.misbehave = always(lambda handler: handler.drip(5))
    with serving(server) as url:
        begin = time.monotonic()
        with pytest.raises(MeasurementError, match=r"not finished its answer after 0\.3 s"):
            transport_to(url, timeout=0.3).post("/completions", BODY)
    assert time.monotonic() - begin < 4


def test_a_server_that_says_nothing_is_left(server_of, transport_to, quick):
    server = server_of()
    server.misbehave = always(lambda handler: time.sleep(0.6))
    with serving(server) as url, pytest.raises(MeasurementError, match="does not answer"):
        transport_to(url, timeout=0.1).post("/completions", BODY)


def test_where_nothing_listens_it_is_said(transport_to, quick):
    with pytest.raises(MeasurementError, match="does not answer"):
        transport_to("http://127.0.0.1:9").post("/completions", BODY)


def test_a_redirect_is_not_followed_and_the_key_stays(server_of, transport_to):
    elsewhere, server = server_of(), server_of()
    with serving(elsewhere) as other, serving(server) as url:
        there = other.replace("127.0.0.1", "localhost")
        server.misbehave = always(lambda handler: handler.say(307, {}, Location=f"{there}/completions"))
        with pytest.raises(UsageError, match="sends on to localhost"):
            transport_to(url).post("/completions", BODY)
    assert elsewhere.seen == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_named_by_its_variable(status, server_of, transport_to):
    server = server_of()
    said = {"error": {"message": f"Incorrect API key provided: {SECRET[:6]}**********cdef."}}
    server.misbehave = always(lambda handler: handler.say(status, said))
    with serving(server) as url, pytest.raises(UsageError, match="A_KEY") as caught:
        transport_to(url).post("/completions", BODY)
    assert SECRET[:6] not in str(caught.value)


def test_a_request_that_is_refused_is_not_put_again(server_of, transport_to):
    server = server_of()
    with serving(server) as url, pytest.raises(RefusedError, match="does not exist"):
        transport_to(url).post("/completions", BODY | {"model": "other"})
    assert len(server.seen) == 1


def test_a_certificate_that_nobody_vouches_for_is_refused(server_of, transport_to, tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    server = server_of()
    with serving(server, tls=context) as url, pytest.raises(UsageError, match="certificate does not hold"):
        transport_to(url).post("/completions", BODY)
    assert server.seen == []


def certificate(folder):
    """A key and a certificate that it signed itself, in one PEM file."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    form = serialization.Encoding.PEM
    secret = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(secret + made.public_bytes(form))
    return folder / "server.pem"


def test_no_more_requests_a_minute_than_were_allowed(server_of, transport_to):
    server = server_of()
    with serving(server) as url:
        transport = transport_to(url, per_minute=600)
        begin = time.monotonic()
        threads = [threading.Thread(target=transport.post, args=("/completions", BODY)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert time.monotonic() - begin >= 0.5


@pytest.mark.parametrize(("refusal", "expected"), [(400, 5), (401, 4), (500, 3)])
def test_nothing_of_the_key_is_left_anywhere(refusal, expected, probed, server_of, run_of, monkeypatch, quick, caplog):
    """A server that tells the key in each of its errors: some pass by, and then it refuses for good."""
    caplog.set_level("DEBUG")
    monkeypatch.setenv("A_KEY", SECRET)
    statuses = {3: 500, 5: 429} | dict.fromkeys(range(9, 10_000), refusal)
    server = server_of()
    server.misbehave = lambda handler, number: (
        number in statuses
        and handler.say(statuses[number], {"error": {"message": f"I was given {SECRET}"}}, Retry_After="0") is None
    )
    with serving(server) as url:
        status, out, err, _ = probed(url, "--key-env", "A_KEY", "--concurrency", "1")
    assert status == expected
    assert {headers.get("Authorization") for _, _, headers in server.seen} == {f"Bearer {SECRET}"}
    assert "and the key of $A_KEY" in err
    written = b"".join(path.read_bytes() for path in run_of()[0].rglob("*") if path.is_file())
    for text in (out, err, caplog.text, written.decode(errors="replace")):
        assert SECRET not in text
        assert SECRET[3:12] not in text


def test_a_model_of_another_name_is_no_judgement(probed, server_of):
    with serving(server_of()) as url:
        status, _, err, _ = probed(url, "--model", "judgd")
    assert status == 4
    assert "does not exist" in err
    assert "--model" in err


def test_of_several_models_one_is_named(probed, server_of):
    server = server_of()
    server.misbehave = lambda handler, _: (
        handler.path == "/v1/models" and handler.say(200, {"data": [{"id": "a"}, {"id": "b"}]}) is None
    )
    with serving(server) as url:
        status, _, err, _ = probed(url)
    assert status == 4
    assert "lists 2 models, so nobody knows which is meant: a, b" in err


def test_what_was_answered_before_the_server_went_is_not_asked_again(probed, server_of, run_of, quick):
    server = server_of()
    server.misbehave = lambda handler, number: number > 60 and handler.say(503, {"error": "gone"}) is None
    with serving(server) as url:
        status, _, err, _ = probed(url, "--concurrency", "1")
        assert status == 3
        assert "The same command goes on" in err
        server.misbehave, server.seen = None, []
        assert probed(url)[0] == 0
        assert len(server.seen) < 160
        server.seen = []
        assert probed(url)[0] == 0  # a finished one leaves nothing behind: all is asked anew
        assert len(server.seen) >= 160
        assert not [*(run_of()[0] / "probes").glob("*.unfinished")]


def test_answers_of_another_model_are_not_taken_up(probed, server_of, served_models, quick):
    server = server_of("base")
    server.misbehave = lambda handler, number: number > 100 and handler.say(503, {"error": "gone"}) is None
    with serving(server) as url:
        assert probed(url, "--concurrency", "1")[0] == 3
        server.misbehave, server.model = None, served_models["candidate"]
        status, out, _, _ = probed(url)
    assert status == 0, out
    assert "0 of 160 items answered otherwise" in out
