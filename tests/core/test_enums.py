"""The enums: the numbers of RFC 6455 and IANA, and which close codes may be on the wire."""

import pytest

from wsproto_core import (
    CONTROL_OPCODES,
    DATA_OPCODES,
    CloseCode,
    OpCode,
    Phase,
    Role,
    Transport,
    is_usable_close_code,
)


def test_opcodes() -> None:
    assert {code.name: code.value for code in OpCode} == {
        "CONTINUATION": 0,
        "TEXT": 1,
        "BINARY": 2,
        "CLOSE": 8,
        "PING": 9,
        "PONG": 10,
    }
    assert set(OpCode) == DATA_OPCODES | CONTROL_OPCODES
    assert not DATA_OPCODES & CONTROL_OPCODES
    assert {code for code in OpCode if code & 8} == CONTROL_OPCODES


def test_close_codes() -> None:
    assert [code.value for code in CloseCode] == [
        *range(1000, 1004),
        *range(1005, 1016),
    ]
    assert CloseCode(1009) is CloseCode.MESSAGE_TOO_BIG
    with pytest.raises(ValueError, match="1004"):
        CloseCode(1004)


def test_local_codes_are_never_on_the_wire() -> None:
    local = {CloseCode.NO_STATUS_RECEIVED, CloseCode.ABNORMAL_CLOSURE, CloseCode.TLS_HANDSHAKE}
    assert {code for code in CloseCode if not is_usable_close_code(code)} == local


@pytest.mark.parametrize("low", [-1, 0, 999, 1004, 1015, 1016, 2999, 5000, 65535, 1 << 40])
def test_codes_outside_the_ranges(low: int) -> None:
    assert not is_usable_close_code(low)


def test_phases_roles_and_levels() -> None:
    assert [phase.name for phase in Phase] == [
        "OPENING",
        "DECIDING",
        "OPEN",
        "CLOSE_SENT",
        "DRAINING",
        "CLOSED",
    ]
    assert [role.value for role in Role] == ["client", "server"]
    assert Transport.OPEN < Transport.SHUT_WRITE < Transport.CLOSE < Transport.ABORT
