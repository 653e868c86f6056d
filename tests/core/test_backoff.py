"""When a client comes back: the delays, and what is worth another try. A fake clock, fake dice."""

import random
import ssl

import pytest

from wsproto_core import HandshakeError, Headers, LocalProtocolError, Response
from wsproto_core.backoff import Backoff, is_worth_retrying, retry_after_untrusted
from wsproto_core.errors import PeerTimeout
from wsproto_core.uri import InvalidUri

DATE = ("Date", "Sun, 22 Nov 2026 10:00:00 GMT")


def answer(status: int, *headers: tuple[str, str]) -> HandshakeError:
    return HandshakeError("no", Response(status, Headers(headers)))


def test_io_7_2_3_backoff_first_random_then_longer_to_a_cap() -> None:
    """The first delay is anything from 0 to 5 s, later ones are drawn from twice as much."""
    spans = []
    for most in (0.0, 0.5, 1.0):
        backoff = Backoff(lambda most=most: most)  # type: ignore[misc]
        spans.append([backoff.delay(0.0) for _ in range(7)])
    assert spans[0] == [0.0] * 7
    assert spans[1] == [2.5, 5.0, 10.0, 20.0, 30.0, 30.0, 30.0]
    assert spans[2] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


@pytest.mark.parametrize(("lived", "delay"), [(59.9, 20.0), (60.0, 5.0), (3600.0, 5.0)])
def test_a_connection_that_lived_begins_anew(lived: float, delay: float) -> None:
    backoff = Backoff(lambda: 1.0)
    assert [backoff.delay(0.0, OSError()), backoff.delay(5.0, OSError())] == [5.0, 10.0]
    backoff.opened(100.0)
    assert backoff.delay(100.0 + lived) == delay


def test_e12_a_thousand_clients_do_not_come_back_together() -> None:
    """Full jitter: in no tenth of a span are many more than a tenth of those that were lost."""
    rng = random.Random(7)
    clients = [Backoff(rng.random) for _ in range(1000)]
    for span in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
        delays = [client.delay(0.0) or 0.0 for client in clients]
        assert max(delays) < span
        tenths = [int(delay / span * 10) for delay in delays]
        assert max(tenths.count(tenth) for tenth in range(10)) < 150


def test_an_old_connection_counts_once() -> None:
    backoff = Backoff(lambda: 1.0)
    backoff.opened(0.0)
    assert backoff.delay(100.0) == 5.0
    assert backoff.delay(200.0, OSError()) == 10.0


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        OSError(-2, "Name or service not known"),
        ssl.SSLError("EOF"),
        PeerTimeout("no answer", timer="open", close_code=1006),
        HandshakeError("the stream ended"),
        *(answer(status) for status in (408, 425, 429, 500, 502, 503, 504)),
    ],
    ids=repr,
)
def test_worth_another_try(error: Exception) -> None:
    assert is_worth_retrying(error)
    assert Backoff(lambda: 1.0).delay(0.0, error) == 5.0


@pytest.mark.parametrize(
    "error",
    [
        ssl.SSLCertVerificationError("self-signed"),
        LocalProtocolError("a header"),
        InvalidUri("an address"),
        TypeError(),
        *(answer(status) for status in (101, 200, 301, 307, 400, 401, 403, 404, 407, 426, 501)),
    ],
    ids=repr,
)
def test_will_not_change(error: Exception) -> None:
    assert not is_worth_retrying(error)
    assert Backoff(lambda: 1.0).delay(0.0, error) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([("Retry-After", "7")], 7.0),
        ([("retry-after", "0")], 0.0),
        ([("Retry-After", "999999999")], 3600.0),
        ([("Retry-After", "Sun, 22 Nov 2026 10:02:00 GMT"), DATE], 120.0),
        ([("Retry-After", "Sun, 22 Nov 2026 09:00:00 GMT"), DATE], 0.0),
        ([("Retry-After", "Sun, 22 Nov 2036 10:00:00 GMT"), DATE], 3600.0),
        # What cannot be read is as if it were not there.
        ([], 0.0),
        ([("Retry-After", "7"), ("Retry-After", "8")], 0.0),
        *(
            ([("Retry-After", value), DATE], 0.0)
            for value in ("", "-1", "+1", "1_0", "1.5", "\xb2", "9" * 400, "soon", "nan", "inf")
        ),
        ([("Retry-After", "Sun, 22 Nov 2026 10:02:00 GMT")], 0.0),
        ([("Retry-After", "Sun, 99 Nov 2026 10:02:00 GMT"), DATE], 0.0),
        ([("Retry-After", "Sun, 22 Nov 2026 10:02:00 GMT"), DATE, DATE], 0.0),
    ],
)
def test_retry_after(headers: list[tuple[str, str]], seconds: float) -> None:
    assert retry_after_untrusted(Response(503, Headers(headers))) == seconds


def test_retry_after_comes_on_top_of_503_and_429_only() -> None:
    for status, delay in ((503, 7.0), (429, 7.0), (500, 5.0)):
        assert Backoff(lambda: 1.0).delay(0.0, answer(status, ("Retry-After", "2"))) == delay
