"""The load generators: compiled when first needed, run once for each measurement."""

import hashlib
import json
import random
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

__all__ = ["LoadError", "Unavailable", "certificate", "deflated", "program", "run"]

SOURCES = Path(__file__).parent / "load"
BUILT = Path(__file__).parent / ".build"  # not in git
TIMEOUT = 120.0  # seconds for one run: the longest opens 10,000 connections

FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror")


class Unavailable(Exception):
    """Something that a case needs is not on this machine. The text says what."""


class LoadError(Exception):
    """The load generator gave up; the text is what it said."""


@cache
def compiler() -> str:
    """Return the C compiler."""
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return found
    raise Unavailable("a C compiler (cc, gcc or clang) for the load generator")


@cache
def program(name: str, *, tls: bool = False) -> Path:
    """Compile a load generator unless that was done; return its path."""
    source = SOURCES / f"{name}.c"
    flags = [*FLAGS]
    if name == "wsload":
        flags += ["-lssl", "-lcrypto"] if tls else ["-DWITHOUT_TLS"]
    text = b"".join(file.read_bytes() for file in sorted(SOURCES.glob("*.[ch]")))
    stamp = hashlib.sha256(text + repr((name, flags)).encode()).hexdigest()[:16]
    target = BUILT / f"{name}-{stamp}"
    if target.exists():
        return target
    BUILT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILT) as folder:
        fresh = Path(folder) / name
        # Libraries come last.
        libraries = [flag for flag in flags if flag.startswith("-l")]
        command = [compiler(), *(flag for flag in flags if flag not in libraries)]
        command += ["-o", str(fresh), str(source), *libraries]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            if tls and "openssl/" in done.stderr:
                raise Unavailable("OpenSSL's headers (libssl-dev) for the load generator")
            raise LoadError(f"{source.name} does not compile:\n{done.stderr}")
        fresh.rename(target)
    return target


def run(name: str, arguments: Sequence[str]) -> dict[str, float]:
    """Run a load generator to its end; return the figures that it prints."""
    command = [str(program(name, tls="--tls" in arguments)), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise LoadError(f"{name} did not end within {TIMEOUT:g} s") from None
    if done.returncode != 0:
        raise LoadError(done.stderr.strip().splitlines()[0] if done.stderr else "no reason given")
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def texts(size: int, count: int) -> list[bytes]:
    """Make ``count`` different messages of ``size`` bytes: JSON below 1 KiB, else words.

    Both deflate about as real ones do, to a third or so; the same ones every time.
    """
    source = random.Random(size)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    weights = range(len(letters), 0, -1)
    words = [
        "".join(source.choices(letters, weights, k=source.randint(2, 10))) for _ in range(2000)
    ]
    made = []
    for _ in range(count):
        parts: list[str] = []
        length = 0
        while length < size:
            if size < 1024:
                name, number = source.choice(words), source.randrange(10**6)
                part = f'{{"id": {number}, "name": "{name}", "online": {number % 2}}}, '
            else:
                part = words[min(int(source.paretovariate(0.8)), len(words)) - 1] + " "
            parts.append(part)
            length += len(part)
        made.append("".join(parts).encode()[:size])
    return made


def deflated(size: int) -> Path:
    """Return a file with many ``texts``, each as a permessage-deflate payload that stands alone."""
    BUILT.mkdir(exist_ok=True)
    path = BUILT / f"texts-{size}.deflated"
    payloads = []
    for text in texts(size, max(32, min(512, (1 << 20) // size))):
        deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
        payload = (deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]
        payloads.append(len(payload).to_bytes(4) + payload)
    path.write_bytes(b"".join(payloads))
    return path


@cache
def certificate() -> Path:
    """Return a file with a key and a self-signed certificate for 127.0.0.1."""
    try:
        import trustme
    except ImportError:
        raise Unavailable("the package trustme, which makes the certificate") from None
    BUILT.mkdir(exist_ok=True)
    path = BUILT / "certificate.pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(path)
    return path
