"""``PreparedMessage``, ``Connection.send_prepared`` and ``offer``: one message to many.

What goes out is judged by the codec of ``wire.py`` and by one zlib inflater for each connection,
which keeps its window from message to message as a peer does.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.wire import Repeater, Rig, close_body, with_codec
from wsproto_core import (
    Agreement,
    Codec,
    Config,
    Connection,
    ConnectionClosed,
    LocalProtocolError,
    Message,
    OpCode,
    PreparedMessage,
    Role,
    Session,
)
from wsproto_core.extensions.base import Agreed
from wsproto_core.extensions.deflate import PerMessageDeflate

TEXT, BINARY = OpCode.TEXT, OpCode.BINARY
JSON = '{"user": "anna", "text": "hello", "room": "lobby", "likes": 17}'


def codec(
    role: Role = Role.SERVER, offer: Sequence[tuple[str, str | None]] = (), **options: Any
) -> Codec:
    """permessage-deflate as agreed with a peer that offers ``offer``."""
    agreed = PerMessageDeflate(**{"threshold": 0, "backend": "zlib", **options}).accept(
        tuple(offer)
    )
    assert isinstance(agreed, Agreed)
    return agreed.codec(role)


def server(**options: Any) -> Rig:
    """A server's connection with permessage-deflate."""
    config = Config(max_frame_size=options.pop("max_frame_size", 1 << 20))
    return Rig(Role.SERVER, config, **with_codec(codec(**options)))


@dataclass
class Reader:
    """A peer: joins fragments and inflates, with one window for all messages."""

    rig: Rig
    inflater: Any = field(default_factory=lambda: zlib.decompressobj(-15))

    def read(self) -> list[tuple[int, bytes]]:
        """Opcode and payload of each message since the last call; control frames are left out."""
        messages: list[tuple[int, bytes]] = []
        first, parts = 0, b""
        for head, payload in self.rig.sent():
            if head & 0x08:
                continue
            if head & 0x0F:
                assert not first, "a message begins inside another"
                first, parts = head, b""
            else:
                assert first, "nothing to continue"
                assert not head & 0x70
            parts += payload
            if head & 0x80:
                if first & 0x40:
                    parts = self.inflater.decompress(parts + b"\x00\x00\xff\xff")
                messages.append((first & 0x0F, parts))
                first = 0
        assert not first
        return messages


# ------------------------------------------------------------------------------ the arguments


@pytest.mark.parametrize(
    ("data", "opcode", "payload"),
    [
        ("grüße", TEXT, "grüße".encode()),
        ("grüße".encode(), TEXT, "grüße".encode()),
        (b"\xff\x00", BINARY, b"\xff\x00"),
        (bytearray(b"abc"), BINARY, b"abc"),
        (memoryview(b"abc")[1:], 2, b"bc"),
        ("", TEXT, b""),
    ],
)
def test_what_is_prepared(data: Any, opcode: int, payload: bytes) -> None:
    message = PreparedMessage(data, opcode)
    assert (message.data, message.opcode, message.compress) == (payload, opcode, None)
    assert type(message.data) is bytes
    assert isinstance(message.opcode, OpCode)
    assert repr(message) == f"<PreparedMessage {message.opcode.name} of {len(payload)} bytes>"


def test_text_is_the_default_and_later_changes_do_not_count() -> None:
    data = bytearray(b"abc")
    message = PreparedMessage(data, compress=True)
    data[0] = 0xFF
    assert (message.data, message.opcode, message.compress) == (b"abc", TEXT, True)


@pytest.mark.parametrize("bad", ["\ud800", b"\xff", "ab\udfff".encode("utf-8", "surrogatepass")])
def test_text_that_is_none_is_refused_in_the_words_of_send(bad: Any) -> None:
    with pytest.raises(LocalProtocolError) as prepared:
        PreparedMessage(bad)
    with pytest.raises(LocalProtocolError) as sent:
        Rig(Role.SERVER).connection.send_text(bad)
    assert str(prepared.value) == str(sent.value)
    assert "(RFC 6455 5.6)" in str(sent.value)


@pytest.mark.parametrize(
    ("data", "opcode", "error", "words"),
    [
        ("text", BINARY, TypeError, "expected bytes for a BINARY message, got str"),
        (b"x", OpCode.PING, LocalProtocolError, "expected opcode TEXT or BINARY, got"),
        (b"x", 3, LocalProtocolError, "expected opcode TEXT or BINARY, got 3"),
        (
            7,
            TEXT,
            TypeError,
            r"^PreparedMessage\(\): expected str, bytes, bytearray or a memoryview of bytes, got ",
        ),
    ],
)
def test_wrong_arguments(data: Any, opcode: int, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        PreparedMessage(data, opcode)


# ----------------------------------------------------------------------------------- encoding


@pytest.mark.parametrize("size", [None, 1, 3, 10, 11])
@pytest.mark.parametrize("role", list(Role))
def test_plain_frames_are_those_of_an_ordinary_message(role: Role, size: int | None) -> None:
    one, other = (Rig(role, Config(max_frame_size=size)) for _ in range(2))
    one.connection.send_prepared(PreparedMessage("0123456789"))
    other.connection.send_text("0123456789")
    one.look()
    other.look()
    assert one.output == other.output


@pytest.mark.parametrize("length", [0, 1, 125, 126, 16 << 10, 65535, 65536, 100_000])
def test_any_length_goes_out_as_one_buffer(length: int) -> None:
    rig = Rig(Role.SERVER)
    rig.connection.send_prepared(PreparedMessage(bytes(length), BINARY))
    size = rig.connection.bytes_to_send
    (data,) = rig.connection.data_to_send()
    rig.output += data
    assert size == len(data)
    assert rig.sent() == [(0x82, bytes(length))]


@pytest.mark.parametrize("make", [lambda: Rig(Role.SERVER), server])
def test_connections_that_encode_alike_share_one_buffer(make: Any) -> None:
    message = PreparedMessage(JSON * 3)
    first, second = make(), make()
    for rig in (first, second):
        rig.connection.send_prepared(message)
    (one,), (other,) = first.connection.data_to_send(), second.connection.data_to_send()
    assert one is other
    assert len(message.encodings) == 1


def test_what_is_queued_is_counted() -> None:
    message = PreparedMessage(bytes(100), BINARY)
    connection = Rig(Role.SERVER).connection
    for count in range(1, 4):
        connection.send_prepared(message)
        assert connection.bytes_to_send == count * 102


@pytest.mark.parametrize(
    "options",
    [
        {"level": 9},
        {"mem_level": 9},
        {"server_max_window_bits": 10},
        {"offer": [("server_max_window_bits", "10")]},
        {"threshold": 1000},
        {"max_frame_size": 20},
    ],
)
def test_connections_that_encode_otherwise_do_not(options: dict[str, Any]) -> None:
    message = PreparedMessage(JSON * 3)
    first, second = server(level=1, mem_level=1), server(**{"level": 1, "mem_level": 1, **options})
    for rig in (first, second):
        rig.connection.send_prepared(message)
        assert Reader(rig).read() == [(TEXT, message.data)]
    assert len(message.encodings) == 2


def test_what_the_peer_sends_does_not_part_them() -> None:
    message = PreparedMessage(JSON * 3)
    for offer in ([], [("client_max_window_bits", None)], [("client_no_context_takeover", None)]):
        server(offer=offer).connection.send_prepared(message)
    server(offer=[("server_no_context_takeover", None)]).connection.send_prepared(message)
    assert len(message.encodings) == 1


@pytest.mark.parametrize("compress", [None, True, False])
def test_compress_is_the_message_s_own(compress: bool | None) -> None:
    rig = server(threshold=1000)
    rig.connection.send_prepared(PreparedMessage(JSON, compress=compress))
    ((first, payload),) = rig.sent()
    assert bool(first & 0x40) == bool(compress)
    assert (payload == JSON.encode()) == (not compress)


def test_a_client_masks_each_anew_and_takes_no_frames_of_a_server() -> None:
    message = PreparedMessage(JSON)
    Rig(Role.SERVER).connection.send_prepared(message)
    client = Rig(Role.CLIENT)
    outputs = []
    for _ in range(2):
        client.connection.send_prepared(message)
        client.look()
        outputs.append(bytes(client.output))
        assert client.sent() == [(0x81, JSON.encode())]
    assert outputs[0] != outputs[1]
    assert len(message.encodings) == 1


def test_a_client_s_running_deflater_goes_on() -> None:
    rig = Rig(Role.CLIENT, **with_codec(codec(Role.CLIENT)))
    sizes = []
    for _ in range(2):
        rig.connection.send_prepared(PreparedMessage(JSON))
        ((_, payload),) = rig.sent()
        sizes.append(len(payload))
    assert sizes[1] < sizes[0] / 4


# ------------------------------------------------------------------------------------ contexts


def test_nothing_refers_over_a_prepared_message() -> None:
    """The first to send it encodes it, the second takes it; both peers have seen JSON before."""
    message = PreparedMessage(JSON)
    for _ in range(2):
        rig = server()
        reader = Reader(rig)
        rig.connection.send_text(JSON)
        rig.connection.send_prepared(message)
        rig.connection.send_text(JSON)
        assert reader.read() == [(TEXT, JSON.encode())] * 3


@pytest.mark.parametrize("text", ["x", JSON])
def test_of_any_length(text: str) -> None:
    """As before: it is the first byte of a frame that tells whether it is compressed."""
    message = PreparedMessage(text, compress=True)
    for _ in range(2):
        rig = server()
        reader = Reader(rig)
        rig.connection.send_text(JSON)
        rig.connection.send_prepared(message)
        rig.connection.send_text(JSON + JSON)
        assert [payload.decode() for _, payload in reader.read()] == [JSON, text, JSON + JSON]


def test_a_prepared_message_is_the_same_whoever_sends_it_first() -> None:
    """One that has a window would otherwise leave what refers to it."""
    frames = []
    for before in ([], [JSON]):
        rig = server()
        for text in before:
            rig.connection.send_text(text)
        rig.connection.data_to_send()
        message = PreparedMessage(JSON)
        rig.connection.send_prepared(message)
        frames.append(rig.connection.data_to_send())
    assert frames[0] == frames[1]


def test_one_that_goes_out_plain_leaves_the_window() -> None:
    message = PreparedMessage(JSON, compress=False)
    server().connection.send_prepared(message)
    rig = server()
    rig.connection.send_text(JSON)
    rig.connection.send_prepared(message)
    rig.connection.send_text(JSON)
    (_, first), (plain, _), (_, second) = rig.sent()
    assert plain == 0x81
    assert len(second) < len(first) / 4


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["prepared", "text", "binary", "pieces", "ping", "idle"]),
        st.integers(0, 3),  # which connection
        st.integers(0, 4),  # which message
    ),
    max_size=30,
)


@given(
    steps=STEPS,
    texts=st.lists(st.text(alphabet="abc é\n", max_size=60).map(lambda t: t * 5), min_size=5),
    wishes=st.lists(st.sampled_from([None, True, False]), min_size=5, max_size=5),
    fragment=st.sampled_from([None, 1, 7, 100]),
    bits=st.sampled_from([9, 12, 15]),
    threshold=st.sampled_from([0, 100]),
)
def test_every_peer_reads_what_was_said(
    steps: list[tuple[str, int, int]],
    texts: list[str],
    wishes: list[bool | None],
    fragment: int | None,
    bits: int,
    threshold: int,
) -> None:
    """Prepared, ordinary and fragmented messages in any mixture, to peers that agreed on different
    things: each inflates all of them with one window of the size that was agreed."""
    offers: list[list[tuple[str, str | None]]] = [
        [],
        [("server_no_context_takeover", None)],
        [("server_max_window_bits", str(bits))],
        [("server_max_window_bits", "9")],
    ]
    readers = []
    for offer in offers:
        rig = Rig(
            Role.SERVER,
            Config(max_frame_size=fragment),
            **with_codec(codec(offer=offer, threshold=threshold)),
        )
        agreed = dict(offer).get("server_max_window_bits")
        readers.append(Reader(rig, zlib.decompressobj(-int(agreed or 15))))
    messages = [
        PreparedMessage(text, compress=wish) for text, wish in zip(texts, wishes, strict=False)
    ]
    for what, where, which in steps:
        reader, message = readers[where], messages[which]
        connection = reader.rig.connection
        expected = [(int(TEXT), message.data)]
        if what == "prepared":
            connection.send_prepared(message)
        elif what == "text":
            connection.send_text(message.data, compress=message.compress)
        elif what == "binary":
            connection.send_binary(message.data, compress=message.compress)
            expected = [(int(BINARY), message.data)]
        elif what == "pieces":
            half = len(message.data) // 2
            connection.send_binary(message.data[:half], final=False, compress=message.compress)
            connection.send_binary(message.data[half:])
            expected = [(int(BINARY), message.data)]
        elif what == "ping":
            connection.ping(b"p", reader.rig.now)
            expected = []
        else:
            for item, _ in connection._codecs:
                item.idle()
            expected = []
        assert reader.read() == expected
        for bytes_ in message.encodings.values():
            assert type(bytes_) is bytes


def test_our_own_side_reads_it() -> None:
    rig, client = server(), Rig(Role.CLIENT, **with_codec(codec(Role.CLIENT)))
    for _ in range(3):
        rig.connection.send_prepared(PreparedMessage(JSON))
        rig.connection.send_text(JSON)
    rig.look()
    client.feed(bytes(rig.output))
    assert client.take() == [Message(JSON, TEXT)] * 6


# ------------------------------------------------------------------------------ other codecs


class Flip:
    """A codec on RSV2 that can be shared: turns every bit, and counts what it forgets."""

    def __init__(self, name: str = "flip") -> None:
        self.prepared_as = name
        self.encoded = 0
        self.forgotten = 0

    def encode(
        self, opcode: int, payload: bytes, first: bool, final: bool, compress: bool | None
    ) -> tuple[bytes, int]:
        self.encoded += 1
        return bytes(byte ^ 0xFF for byte in payload), 0x20

    def decode(
        self, payload: bytes, rsv: int, first: bool, final: bool, limit: int
    ) -> Sequence[bytes]:
        raise NotImplementedError

    def idle(self) -> None:
        raise NotImplementedError

    def forget_sent(self) -> None:
        self.forgotten += 1


def test_a_codec_that_says_nothing_of_it_encodes_for_each_connection() -> None:
    message = PreparedMessage("aabb", compress=True)
    for _ in range(2):
        rig = Rig(Role.SERVER, **with_codec(Repeater(2)))
        rig.connection.send_prepared(message)
        assert rig.sent() == [(0xC1, b"ab")]
    assert message.encodings == {}


def test_beside_such_a_codec_no_other_is_shared_or_forgets() -> None:
    message = PreparedMessage(JSON, compress=True)
    flip = Flip()
    rig = Rig(Role.SERVER, **with_codec(Repeater(1), flip))
    rig.connection.send_prepared(message)
    assert rig.sent() == [(0xE1, bytes(byte ^ 0xFF for byte in JSON.encode()))]
    assert message.encodings == {}
    assert (flip.encoded, flip.forgotten) == (1, 0)


def test_two_codecs_share_if_both_are_alike() -> None:
    message = PreparedMessage(JSON)
    flips = [Flip(), Flip(), Flip("other")]
    outputs = []
    for flip in flips:
        rig = Rig(Role.SERVER, **with_codec(codec(), flip))
        rig.connection.send_prepared(message)
        ((first, payload),) = rig.sent()
        assert first == 0xE1
        outputs.append(payload)
        inflated = zlib.decompress(
            bytes(b ^ 0xFF for b in payload) + b"\x00\x00\xff\xff\x03\x00", -15
        )
        assert inflated == JSON.encode()
    assert outputs[0] == outputs[1] == outputs[2]
    assert [flip.encoded for flip in flips] == [1, 0, 1]
    assert [flip.forgotten for flip in flips] == [2, 1, 2]
    assert len(message.encodings) == 2


# ------------------------------------------------------------------------------- when it may


def test_ws_5_4_not_inside_another_message() -> None:
    connection = Rig(Role.SERVER).connection
    connection.send_text("begun", final=False)
    connection.data_to_send()
    words = "expected the next part of a TEXT message, got a prepared one"
    with pytest.raises(LocalProtocolError, match=words):
        connection.send_prepared(PreparedMessage("whole"))
    assert not connection.offer(PreparedMessage("whole"))
    assert connection.data_to_send() == []
    connection.send_text("ended")
    assert connection.offer(PreparedMessage("whole"))


def test_not_before_the_connection_is_open() -> None:
    connection = Connection(Role.SERVER, now=0.0)
    words = "^a message in state opening: expected it while the connection is open$"
    with pytest.raises(LocalProtocolError, match=words):
        connection.send_prepared(PreparedMessage("early"))
    assert not connection.offer(PreparedMessage("early"))


def test_not_after_the_close() -> None:
    rig = Rig(Role.SERVER)
    rig.connection.close(1000, now=rig.now)
    rig.sent()
    with pytest.raises(ConnectionClosed, match="came too late"):
        rig.connection.send_prepared(PreparedMessage("late"))
    assert not rig.connection.offer(PreparedMessage("late"))
    rig.feed(rig.frame(0x88, close_body(1000)))
    rig.eof()
    assert not rig.connection.offer(PreparedMessage("late"))
    assert rig.sent() == []


@pytest.mark.parametrize("held", [0, 60, 100])
def test_e3_an_offer_is_taken_up_to_the_mark(held: int) -> None:
    """What is queued here and what the transport holds count together; one message may go over."""
    rig = Rig(Role.SERVER, Config(write_high_water=100))
    connection = rig.connection
    connection.write_blocked(held, rig.now)
    if held < 100:
        connection.send_binary(bytes(100 - held - 2))
    assert connection.offer(PreparedMessage(bytes(50), BINARY))
    before = connection.bytes_to_send
    assert not connection.offer(PreparedMessage(b"", BINARY))
    assert connection.bytes_to_send == before
    connection.data_to_send()
    connection.write_blocked(101, rig.now)
    assert not connection.offer(PreparedMessage(b"", BINARY))
    connection.write_blocked(100, rig.now)
    assert connection.offer(PreparedMessage(b"", BINARY))


# ---------------------------------------------------------------------------------- the session


def test_a_session_sends_it_with_its_own_opcode() -> None:
    rig = Rig(Role.SERVER)
    session = Session(rig.connection)
    session.send(PreparedMessage(b"\xff", BINARY), TEXT)
    assert rig.sent() == [(0x82, b"\xff")]


def test_it_is_no_part_of_another_message() -> None:
    rig = Rig(Role.SERVER)
    session = Session(rig.connection)
    with pytest.raises(TypeError, match="expected a part of a message, got a PreparedMessage"):
        session.send(PreparedMessage("x"), TEXT, final=False)
    assert rig.sent() == []


def test_one_that_is_posted_waits_for_the_end_of_a_message_of_ours() -> None:
    rig = Rig(Role.SERVER)
    session = Session(rig.connection)
    session.send("be", TEXT, final=False)
    session.post(PreparedMessage("posted"), TEXT)
    session.send("gun", TEXT)
    assert rig.sent() == [(0x01, b"be"), (0x80, b"gun"), (0x81, b"posted")]


@pytest.mark.parametrize("wrong", [None, "text", b"bytes"])
def test_only_a_prepared_message_is_sent_as_one(wrong: Any) -> None:
    server = Connection.after_handshake(Role.SERVER, Config(), Agreement(), now=0.0)
    for send in (server.send_prepared, server.offer):
        with pytest.raises(TypeError, match="expected a PreparedMessage, got"):
            send(wrong)
    assert not server.has_output
