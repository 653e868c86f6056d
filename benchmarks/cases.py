"""What is measured: each case with its load, its contestants and what it must reach."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .sansio import WAYS

__all__ = ["CASES", "HIGHER_IS_BETTER", "Case", "Contestant", "Target", "select"]


@dataclass(frozen=True)
class Contestant:
    """A peer with the options of its server."""

    peer: str
    options: tuple[str, ...] = ()
    label: str = ""
    load: tuple[str, ...] = ()
    """More arguments for the load generator, for this contestant only."""

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.label or self.peer


@dataclass(frozen=True)
class Target:
    """What ours must reach, and what it aims at.

    With ``peer`` the figures say how many times as good as that peer; without, they are the most
    that ``metric`` may be. With ``difference`` they are the most by which ours may lie above the
    peer.
    """

    metric: str
    must: float | None
    aim: float | None
    peer: str = ""
    difference: bool = False


@dataclass(frozen=True)
class Case:
    """One load, and everybody that it is put on in turn. The first contestant is ours."""

    name: str
    title: str
    program: str
    """``wsload``, ``wsconns`` or ``sansio``."""
    load: tuple[str, ...]
    contestants: tuple[Contestant, ...]
    targets: tuple[Target, ...] = ()
    metrics: tuple[str, ...] = ("messages_per_s", "cpu_us_per_message")
    fresh: bool = False
    """Whether each measurement gets a new server (memory that was used once is not given back)."""
    tls: bool = False
    deflated: int = 0
    """Bytes of the text that is sent deflated; 0: permessage-deflate is off."""
    steps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """For a curve: the arguments of each point. Its figure is ``step_metric``."""
    step_metric: str = ""
    axis: str = ""
    """For a curve: what grows."""
    most_rounds: int = 100
    """For a case whose rounds take long."""


HIGHER_IS_BETTER = frozenset({"messages_per_s", "handshakes_per_s"})

# Connections, bytes, messages in flight on each.
PROFILES = {
    "lat": ("1 connection, 32 B, 1 in flight", 1, 32, 1),
    "small": ("1 connection, 32 B, 64 in flight", 1, 32, 64),
    "mid": ("1 connection, 4 KiB, 16 in flight", 1, 4096, 16),
    "big": ("1 connection, 1 MiB, 2 in flight", 1, 1 << 20, 2),
    "conc": ("200 connections, 128 B, 1 in flight", 200, 128, 1),
}
BOTH = ("messages_per_s", "cpu_us_per_message")
RAW = ("--mode=raw",)
OURS = "wsproto-core"
PURE = "wsproto-core, pure"


def _load(profile: str) -> tuple[str, ...]:
    _, connections, size, window = PROFILES[profile]
    return (f"--connections={connections}", f"--size={size}", f"--window={window}")


def _times(peer: str, must: float | None, aim: float | None) -> tuple[Target, ...]:
    return tuple(Target(metric, must, aim, peer) for metric in BOTH)


# ------------------------------------------------------------------ no sockets

SANSIO = tuple(f"{way}, {kind}" for kind in ("text", "binary") for way in WAYS)


def _in_out(must: tuple[float, float], aim: tuple[float, float]) -> tuple[Target, ...]:
    """Targets against websockets: receiving, sending."""
    return tuple(
        Target(metric, must[way], aim[way], "websockets")
        for metric in SANSIO
        for way in [0 if metric.startswith("in") else 1]
    )


def _sansio() -> list[Case]:
    peers = (Contestant("websockets"), Contestant("wsproto"))
    both = (Contestant(OURS), Contestant(PURE), *peers)
    cases = [
        Case(
            "sansio-pure-32b",
            "Sans-IO, 32 B, the pure build",
            "sansio",
            ("--size=32",),
            (Contestant(PURE), *peers),
            _in_out((1.5, 1.5), (2.5, 2)),
            SANSIO,
        )
    ]
    for size, word in ((32, "32 B"), (1024, "1 KiB"), (65536, "64 KiB"), (1 << 20, "1 MiB")):
        targets: tuple[Target, ...] = ()
        if size == 32:
            targets = _in_out((10, 4), (20, 6))
        elif size >= 65536:
            targets = tuple(Target(metric, 1.1, None, "websockets") for metric in SANSIO)
        name = f"sansio-{word.replace(' ', '').lower()}"
        title = f"Sans-IO, {word}"
        load: tuple[str, ...] = (f"--size={size}",)
        cases.append(Case(name, title, "sansio", load, both, targets, SANSIO))
        name, title = f"{name}-deflated", f"{title}, permessage-deflate"
        load = (*load, "--deflated")
        cases.append(Case(name, title, "sansio", load, both, (), SANSIO))
    return cases


# ------------------------------------------------------------------ echo


def _on_asyncio(loop: str) -> list[Case]:
    options = (f"--loop={loop}",)
    contestants = (
        Contestant(OURS, options),
        Contestant(PURE, options),
        Contestant("picows", options),
        Contestant("websockets", options),
        Contestant("aiohttp", options),
        Contestant("uWebSockets"),
        Contestant("node ws"),
        Contestant("raw TCP", options, load=RAW),
    )
    cases = []
    for profile, (words, *_) in PROFILES.items():
        targets = _times("picows", 3, 5) if profile == "small" else _times("picows", 1, 1.2)
        if profile == "small":
            targets += _times("uWebSockets", 2, 3)
        cases.append(
            Case(
                f"{loop}-{profile}",
                f"Echo on {loop}: {words}",
                "wsload",
                _load(profile),
                contestants,
                targets,
            )
        )
    return cases


def _on_trio() -> list[Case]:
    theirs = "websockets"
    must = {"small": 4.0, "conc": 2.5, "lat": 1.3}
    raw = Contestant("raw TCP", ("--runtime=trio",), load=RAW)
    websockets = Contestant("websockets", ("--runtime=trio",))
    cases = []
    for profile, (words, *_) in PROFILES.items():
        targets = _times(theirs, must[profile], None) if profile in must else ()
        if profile == "conc":
            targets += _times("raw TCP", None, 1 / 1.3)
        cases.append(
            Case(
                f"trio-{profile}",
                f"Echo on trio: {words}",
                "wsload",
                _load(profile),
                (
                    Contestant(OURS, ("--runtime=trio",)),
                    websockets,
                    Contestant("trio-websocket"),
                    raw,
                ),
                targets,
            )
        )
        cases.append(
            Case(
                f"anyio-{profile}",
                f"Echo on anyio (its trio backend): {words}",
                "wsload",
                _load(profile),
                (Contestant(OURS, ("--runtime=anyio", "--backend=trio")), websockets, raw),
                targets,
            )
        )
    return cases


def _on_threads() -> list[Case]:
    must = {"small": 4.0, "conc": 3.0, "lat": 2.0}
    options = ("--runtime=threading",)
    cases = []
    for profile, (words, *_) in PROFILES.items():
        targets = _times("websockets", must[profile], None) if profile in must else ()
        if profile == "lat":
            targets += _times("raw TCP", None, 1 / 1.5)
        cases.append(
            Case(
                f"threading-{profile}",
                f"Echo on threads: {words}",
                "wsload",
                _load(profile),
                (
                    Contestant(OURS, options),
                    Contestant("websockets", options),
                    Contestant("raw TCP", options, load=RAW),
                ),
                targets,
            )
        )
    return cases


def _tls() -> list[Case]:
    return [
        Case(
            f"tls-{profile}",
            f"Echo over TLS on asyncio: {PROFILES[profile][0]}",
            "wsload",
            _load(profile),
            (
                Contestant(OURS),
                Contestant("picows"),
                Contestant("websockets"),
                Contestant("aiohttp"),
                Contestant("node ws"),
                Contestant("raw TCP", load=RAW),
            ),
            _times("picows", 1.0, None) + _times("websockets", 1.5, None),
            tls=True,
        )
        for profile in PROFILES
    ]


def _deflate() -> list[Case]:
    # aiohttp deflates at level 1 with a window of 15 and the memory level of zlib, and takes no
    # other; so everybody is set to these.
    setting = "1,15,8"
    cases = []
    for size, words in ((256, "256 B of JSON"), (16384, "16 KiB of text")):
        cases.append(
            Case(
                f"deflate-{size}",
                f"permessage-deflate echo on asyncio: {words}, 16 in flight",
                "wsload",
                ("--connections=1", f"--size={size}", "--window=16"),
                (
                    Contestant(OURS, (f"--deflate={setting},zlib",)),
                    Contestant("websockets", (f"--deflate={setting}",)),
                    Contestant("aiohttp", (f"--deflate={setting}",)),
                    Contestant("node ws", (f"--deflate={setting}",)),
                ),
                _times("websockets", 1.1, None) + _times("aiohttp", 1.1, None),
                deflated=size,
            )
        )
        cases.append(
            Case(
                f"deflate-{size}-fast",
                f"permessage-deflate echo on asyncio, faster backends: {words}, 16 in flight",
                "wsload",
                ("--connections=1", f"--size={size}", "--window=16"),
                (
                    Contestant(OURS, (f"--deflate={setting},auto",)),
                    Contestant("websockets", (f"--deflate={setting}",)),
                    Contestant("aiohttp", (f"--deflate={setting}",)),
                    Contestant("aiohttp", (f"--deflate={setting},isal",), "aiohttp, isal"),
                ),
                _times("websockets", None, 2) + _times("aiohttp", None, 2),
                deflated=size,
            )
        )
    return cases


# ------------------------------------------------------------------ many connections


def _broadcast() -> list[Case]:
    options = ("--mode=broadcast",)
    contestants = (
        Contestant(OURS, options),
        Contestant("websockets", options),
        Contestant("bare Connection", options, "one write each"),
        Contestant("picows", options),
        Contestant("aiohttp", options),
        Contestant("uWebSockets", options),
        Contestant("node ws", options),
    )
    cases = [
        Case(
            name,
            f"Broadcast of 256 B to 1,000 connections on asyncio, {words}",
            "wsload",
            ("--mode=broadcast", "--connections=1000", "--size=256", f"--window={window}"),
            contestants,
            (Target("cpu_us_per_message", 4, 8, "websockets"),),
        )
        for name, window, words in (
            ("broadcast", 1, "the next when all have it"),
            ("broadcast-burst", 16, "16 in a row"),
        )
    ]
    # The settings of _deflate. The server inflates each message once, beside what is measured.
    setting = "--deflate=1,15,8"
    for size, words in ((256, "256 B of JSON"), (4096, "4 KiB of text")):
        cases.append(
            Case(
                f"broadcast-deflate-{size}",
                f"Broadcast with permessage-deflate to 1,000 connections on asyncio: {words}",
                "wsload",
                ("--mode=broadcast", "--connections=1000", f"--size={size}", "--window=1"),
                (
                    Contestant(OURS, (*options, f"{setting},zlib")),
                    Contestant("websockets", (*options, setting)),
                    Contestant("aiohttp", (*options, setting)),
                    Contestant("node ws", (*options, setting)),
                ),
                (Target("cpu_us_per_message", 4, 8, "websockets"),),
                deflated=size,
            )
        )
    return cases


def _idle() -> list[Case]:
    contestants = (
        Contestant(OURS),
        Contestant(PURE),
        Contestant("picows"),
        Contestant("websockets"),
        Contestant("aiohttp"),
        Contestant("node ws"),
    )
    metrics = ("bytes_per_connection", "cpu_us_per_handshake", "handshakes_per_s")
    return [
        Case(
            "idle",
            "5,000 idle connections on asyncio, and their handshakes",
            "wsconns",
            ("--connections=5000",),
            contestants,
            (
                Target("bytes_per_connection", 8192, 5120),
                Target("cpu_us_per_handshake", 1.0, None, "picows"),
                Target("cpu_us_per_handshake", None, 150),
            ),
            metrics,
            fresh=True,
        )
    ]


def _view() -> list[Case]:
    return [
        Case(
            f"view-{profile}",
            f"A view beside a bare Connection on asyncio: {PROFILES[profile][0]}",
            "wsload",
            _load(profile),
            (Contestant(OURS), Contestant("bare Connection")),
            (Target("cpu_us_per_message", 0.6, 0.3, "bare Connection", difference=True),),
        )
        for profile in ("small", "lat")
    ]


# ------------------------------------------------------------------ growth

CURVES = (Contestant(OURS), Contestant("picows"), Contestant("websockets"), Contestant("aiohttp"))


def _growth() -> list[Case]:
    counts = (1, 10, 100, 1000, 3000, 10_000)
    sizes = (0, 16, 128, 1024, 8192, 65536, 1 << 19, 1 << 22, 1 << 24)
    fragments = (1, 4, 16, 64, 256, 1024, 4096)
    headers = (1, 10, 20, 40, 80)
    in_turn = ("--connections=1", "--size=32", "--window=1", "--warmup=0.2")
    curves = (
        (
            "connections",
            "Echo of 128 B on asyncio, by the number of connections",
            "connections",
            {
                str(count): (
                    f"--connections={count}",
                    "--size=128",
                    *(("--seconds=3", "--warmup=1") if count > 1000 else ()),
                )
                for count in counts
            },
        ),
        (
            "size",
            "Echo on asyncio, by the size of a message",
            "bytes",
            {str(size): (f"--size={size}",) for size in sizes},
        ),
        (
            "fragments",
            "Echo of 64 KiB on asyncio, by the number of its fragments",
            "fragments",
            {str(count): ("--size=65536", f"--fragments={count}") for count in fragments},
        ),
    )
    cases = [
        Case(
            f"growth-{name}",
            title,
            "wsload",
            in_turn,
            CURVES,
            metrics=tuple(steps),
            steps=steps,
            step_metric="cpu_us_per_message",
            axis=axis,
            most_rounds=3,
        )
        for name, title, axis, steps in curves
    ]
    steps = {str(count): (f"--headers={count}",) for count in headers}
    cases.append(
        Case(
            "growth-headers",
            "Handshakes on asyncio, by the number of additional header fields",
            "wsconns",
            ("--connections=400", "--settle=0"),
            CURVES,
            metrics=tuple(steps),
            steps=steps,
            step_metric="cpu_us_per_handshake",
            axis="fields",
            most_rounds=3,
        )
    )
    return cases


CASES = {
    case.name: case
    for case in (
        *_sansio(),
        *_on_asyncio("asyncio"),
        *_on_asyncio("uvloop"),
        *_on_trio(),
        *_on_threads(),
        *_tls(),
        *_deflate(),
        *_broadcast(),
        *_idle(),
        *_view(),
        *_growth(),
    )
}


def select(patterns: list[str]) -> list[Case]:
    """Return the cases whose names begin with one of the words; all, if there are no words."""
    for pattern in patterns:
        if not any(name.startswith(pattern) for name in CASES):
            raise ValueError(
                f"expected the beginning of a case's name, got {pattern!r}; "
                f"there are: {', '.join(CASES)}"
            )
    return [
        case for case in CASES.values() if not patterns or case.name.startswith(tuple(patterns))
    ]
