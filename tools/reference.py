#!/usr/bin/env python3
"""Write ``docs/reference`` from the docstrings of the source.

    python tools/reference.py            write the pages
    python tools/reference.py --check    say which are not current; exit code 1 if any

The source is parsed, not imported, so that this needs nothing but Python. A name without a
docstring is left out, and so is one that begins with an underscore.
Tests: ``tests/docs/test_reference.py``.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
TARGET = ROOT / "docs" / "reference"

NOTE = "<!-- Written by tools/reference.py from the docstrings. Change them, then run it. -->\n\n"


@dataclass(frozen=True)
class Page:
    """One page: its title, a few words before, and the names it explains."""

    title: str
    intro: str
    names: tuple[tuple[str, str], ...]
    """Each as (file below ``src``, name). ``Class:hooks`` and the like show a part of a class."""


CORE = "wsproto_core/"
VIEWS = "bindings/wsproto_views/"
ASYNCIO = "bindings/wsproto_asyncio/"
TRIO = "bindings/wsproto_trio/"
ANYIO = "bindings/wsproto_anyio/"
THREADING = "bindings/wsproto_threading/"

PAGES = {
    "config.md": Page(
        "Config",
        "All settings of a connection. Times are in seconds, sizes in bytes. Views set them by "
        "[class attributes](views.md#settings) of the same names in upper case.",
        ((CORE + "config.py", "Config"),),
    ),
    "connection.md": Page(
        "Connection",
        "The protocol of one connection, without I/O and without a clock. "
        "[How to embed it](../howto/embed.md) shows it in a loop; "
        "[the design](../design.md) says why it is so.",
        ((CORE + "connection.py", "Connection"),),
    ),
    "session.md": Page(
        "Session",
        "What a view must do next, as data. Only authors of bindings need this page; see "
        "[the design](../design.md).",
        (
            (CORE + "session.py", "Session"),
            (CORE + "session.py", "Hooks"),
            (CORE + "session.py", "Accept"),
            (CORE + "session.py", "Target"),
            (CORE + "session.py", "Call"),
            (CORE + "session.py", "CallKind"),
        ),
    ),
    "events.md": Page(
        "Events",
        "What `Connection.events()` gives, as values.",
        tuple(
            (CORE + "events.py", name)
            for name in (
                "Request",
                "HttpRequest",
                "Refused",
                "ExtensionNegotiated",
                "Opened",
                "Message",
                "Chunk",
                "Ping",
                "Pong",
                "Close",
                "Closed",
                "Agreement",
                "Offer",
            )
        ),
    ),
    "errors.md": Page(
        "Errors",
        "The type says whose fault it is. [How to handle errors](../howto/errors.md) has a table "
        "of what is raised where.",
        (
            *(
                (CORE + "errors.py", name)
                for name in (
                    "WebSocketError",
                    "LocalProtocolError",
                    "ProtocolError",
                    "PayloadTooBig",
                    "ExtensionError",
                    "PeerTimeout",
                    "HookError",
                    "HandshakeError",
                    "ConnectionClosed",
                )
            ),
            (CORE + "uri.py", "InvalidUri"),
        ),
    ),
    "views.md": Page(
        "WebSocketView",
        "The class to subclass, from `wsproto_asyncio`. Hooks and methods are coroutines; plain "
        "functions are taken as hooks too.",
        (
            (VIEWS + "views.py", "BaseView:settings"),
            (VIEWS + "views.py", "BaseView:attributes"),
            (VIEWS + "views.py", "AsyncView:attributes"),
            (VIEWS + "views.py", "AsyncView:hooks"),
            (VIEWS + "views.py", "AsyncView:methods"),
            (VIEWS + "views.py", "State"),
            (VIEWS + "requests.py", "UpgradeRequest"),
        ),
    ),
    "asyncio.md": Page(
        "wsproto_asyncio",
        "Servers and clients on asyncio. The package also shows the names of "
        "[views](views.md), [errors](errors.md) and [values](values.md) that users need.",
        (
            (ASYNCIO + "server.py", "serve"),
            (VIEWS + "serving.py", "AsyncServer"),
            (ASYNCIO + "client.py", "connect"),
            (VIEWS + "broadcast.py", "broadcast"),
            (VIEWS + "routes.py", "path"),
            (VIEWS + "routes.py", "Route"),
        ),
    ),
    "trio.md": Page(
        "wsproto_trio",
        "Servers and clients on trio; [how to use it](../howto/trio.md). The package also shows "
        "the names of [views](views.md), [errors](errors.md) and [values](values.md) that users "
        "need.",
        (
            (TRIO + "server.py", "serve"),
            (VIEWS + "serving.py", "AsyncServer"),
            (TRIO + "client.py", "connect"),
            (VIEWS + "broadcast.py", "broadcast"),
            (TRIO + "given.py", "serve_stream"),
            (TRIO + "given.py", "upgraded"),
            (VIEWS + "routes.py", "path"),
            (VIEWS + "routes.py", "Route"),
        ),
    ),
    "anyio.md": Page(
        "wsproto_anyio",
        "Servers and clients on anyio; [how to use it](../howto/anyio.md). The package also shows "
        "the names of [views](views.md), [errors](errors.md) and [values](values.md) that users "
        "need.",
        (
            (ANYIO + "server.py", "serve"),
            (VIEWS + "serving.py", "AsyncServer"),
            (ANYIO + "client.py", "connect"),
            (VIEWS + "broadcast.py", "broadcast"),
            (ANYIO + "given.py", "serve_stream"),
            (ANYIO + "given.py", "upgraded"),
            (VIEWS + "routes.py", "path"),
            (VIEWS + "routes.py", "Route"),
        ),
    ),
    "threading.md": Page(
        "wsproto_threading",
        "Views, servers and clients on threads, with plain functions. Settings, attributes and "
        "what each hook may rely on are those of [WebSocketView](views.md); "
        "[how to use threads](../howto/threads.md) says what differs.",
        (
            (THREADING + "server.py", "serve"),
            (THREADING + "server.py", "Server"),
            (THREADING + "client.py", "connect"),
            (VIEWS + "broadcast.py", "broadcast"),
            (VIEWS + "sync.py", "SyncView:hooks"),
            (VIEWS + "sync.py", "SyncView:methods"),
        ),
    ),
    "extensions.md": Page(
        "Extensions",
        "permessage-deflate (RFC 7692), and the interface for further extensions.",
        (
            (CORE + "extensions/deflate.py", "PerMessageDeflate"),
            (CORE + "extensions/base.py", "Extension"),
            (CORE + "extensions/base.py", "Agreed"),
            (CORE + "extensions/base.py", "Codec"),
            (CORE + "extensions/base.py", "Preparer"),
        ),
    ),
    "values.md": Page(
        "Values",
        "Enums and small classes that appear everywhere.",
        (
            *(
                (CORE + "enums.py", name)
                for name in ("Role", "Phase", "Transport", "OpCode", "CloseCode")
            ),
            (CORE + "enums.py", "is_usable_close_code"),
            (CORE + "frames.py", "Frame"),
            (CORE + "outgoing.py", "PreparedMessage"),
            (CORE + "headers.py", "Headers"),
            (CORE + "headers.py", "Response"),
            (CORE + "uri.py", "Uri"),
            (CORE + "uri.py", "parse_uri"),
        ),
    ),
}

# How the parts of a view's class are called.
PARTS = {"settings": "Settings", "attributes": "Attributes", "hooks": "Hooks", "methods": "Methods"}


def main(arguments: Sequence[str]) -> int:
    """Write or check all pages; returns the exit code."""
    stale = []
    for name, page in PAGES.items():
        text = render(page)
        file = TARGET / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                file.write_text(text, encoding="utf-8")
    if "--check" in arguments and stale:
        sys.stderr.write(f"not current: {', '.join(stale)}; run python tools/reference.py\n")
        return 1
    return 0


def render(page: Page) -> str:
    """One page as Markdown."""
    parts = [f"# {page.title}\n\n{NOTE}{page.intro}\n"]
    seen = set()
    for file, wanted in page.names:
        name, _, part = wanted.partition(":")
        node = find(SOURCE / file, name)
        if not part:
            lone = len(page.names) == 1
            if isinstance(node, ast.ClassDef):
                parts.extend(show_class(node, lone))
            else:
                parts.extend(show_function(node, "##", name))
            continue
        assert isinstance(node, ast.ClassDef)
        if part not in seen:
            seen.add(part)
            parts.append(f"## {PARTS[part]}\n")
        parts.extend(show_members(node, part))
    return "\n".join(parts)


def find(file: Path, name: str) -> ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef:
    """The class or the last function of that name in a file (the last: overloads come first)."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = [
        node
        for node in tree.body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name == name
    ]
    return found[-1]


def show_class(node: ast.ClassDef, lone: bool) -> Iterator[str]:
    """A class with its documentation and all that is in it."""
    if not lone:
        bases = [ast.unparse(base) for base in node.bases]
        shown = [base for base in bases if base not in ("Mapping[str, str]", "Protocol")]
        kind = f"\n\n`class {node.name}({', '.join(shown)})`" if shown else ""
        yield f"## {node.name}{kind}\n"
    yield prose(ast.get_docstring(node) or "")
    if any("Enum" in ast.unparse(base) for base in node.bases):
        yield from show_enum(node)
        return
    yield from show_members(node, "all")


def show_enum(node: ast.ClassDef) -> Iterator[str]:
    """The members of an enum as a table."""
    yield "| name | value | meaning |\n|---|---|---|"
    for item, text in with_docs(node):
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            value = ast.unparse(item.value)
            meaning = " ".join(markdown(text).split())
            yield f"| `{item.targets[0].id}` | `{value}` | {meaning} |"
    yield ""


def show_members(node: ast.ClassDef, part: str) -> Iterator[str]:
    """The fields, properties and methods of a class; ``part`` chooses some of a view's."""
    for item, text in with_docs(node):
        if isinstance(item, (ast.AnnAssign, ast.Assign)):
            target = item.target if isinstance(item, ast.AnnAssign) else item.targets[0]
            name = target.id if isinstance(target, ast.Name) else "_"
            kind = "settings" if name.isupper() else "attributes"
            if text and not name.startswith("_") and part in ("all", kind):
                yield f"### {name}\n\n{field(item, name)}\n\n{prose(text)}"
        elif isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            name = item.name
            about = ast.get_docstring(item) or ""
            if name.startswith("_") and name not in ("__init__", "__aiter__"):
                continue
            kind = "attributes" if is_property(item) else "methods"
            if name.startswith("on_"):
                kind = "hooks"
            if name == "__init__":
                if about and part == "all":
                    yield f"```text\n{signature(item, node.name)}\n```\n\n{prose(about)}"
            elif about and part in ("all", kind):
                owner = node.name if "classmethod" in decorators(item) else ""
                yield from show_function(item, "###", name, owner)


def with_docs(node: ast.ClassDef) -> Iterator[tuple[ast.stmt, str]]:
    """Each statement of a class with the string literal behind it, which documents a field."""
    for place, item in enumerate(node.body):
        after = node.body[place + 1] if place + 1 < len(node.body) else None
        text = ""
        if (
            isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
            and isinstance(after.value.value, str)
        ):
            text = inspect.cleandoc(after.value.value)
        yield item, text


def field(item: ast.AnnAssign | ast.Assign, name: str) -> str:
    """The type and the default of a field, in words."""
    parts = []
    if isinstance(item, ast.AnnAssign):
        parts.append(f"Type: `{annotation(item.annotation)}`.")
    if item.value is not None:
        value = ast.unparse(item.value).replace("'", '"')
        shift = re.fullmatch(r"(\d+) << (10|20|16)", value)
        if shift is not None:
            size = int(shift.group(1)) << int(shift.group(2))
            shown = f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
            value = f"{value}` ({shown})"
        elif name == "MAGIC_STRING":
            value = '"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"`'
        else:
            value += "`"
        parts.append(f"Default: `{value}.")
    return " ".join(parts)


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function is read as an attribute."""
    return bool(decorators(node) & {"property", "cached_property"})


def decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """The names of its decorators."""
    return {ast.unparse(item) for item in node.decorator_list}


def annotation(node: ast.expr) -> str:
    """A type; without the quotes of those that come later in their file."""
    text = ast.unparse(node)
    return text.replace("'", '"') if text.startswith("Literal") else text.replace("'", "")


def show_function(
    node: ast.FunctionDef | ast.AsyncFunctionDef, level: str, name: str, owner: str = ""
) -> Iterator[str]:
    """A function, method or property."""
    text = prose(ast.get_docstring(node) or "")
    if is_property(node):
        returns = f"Type: `{annotation(node.returns)}`.\n\n" if node.returns else ""
        yield f"{level} {name}\n\n{returns}{text}"
        return
    call = signature(node, f"{owner}.{name}" if owner else name)
    heading = "iteration" if name == "__aiter__" else name
    yield f"{level} {heading}\n\n```text\n{call}\n```\n\n{text}"


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> str:
    """How it is called, in one line or one argument a line."""
    arguments = node.args
    shown: list[str] = []
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    for argument, default in zip(positional, defaults, strict=True):
        if argument.arg not in ("self", "cls"):
            shown.append(parameter(argument, default))
    if arguments.vararg is not None:
        shown.append("*" + parameter(arguments.vararg, None))
    elif arguments.kwonlyargs:
        shown.append("*")
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        shown.append(parameter(argument, default))
    if arguments.kwarg is not None:
        shown.append("**" + parameter(arguments.kwarg, None))
    word = ""
    if isinstance(node, ast.AsyncFunctionDef):
        word = "async def " if node.name.startswith("on_") else "await "
    returns = annotation(node.returns) if node.returns is not None else "None"
    if name == "__aiter__":
        return "async for message in view"
    tail = "" if returns == "None" else f" -> {returns}"
    line = f"{word}{name}({', '.join(shown)}){tail}"
    if len(line) > 90:
        line = f"{word}{name}(\n" + "".join(f"    {item},\n" for item in shown) + f"){tail}"
    return line


def parameter(argument: ast.arg, default: ast.expr | None) -> str:
    """One parameter with its type and default."""
    kind = f": {annotation(argument.annotation)}" if argument.annotation is not None else ""
    if default is None:
        return f"{argument.arg}{kind}"
    equals = " = " if kind else "="
    return f"{argument.arg}{kind}{equals}{ast.unparse(default).replace(chr(39), chr(34))}"


def prose(text: str) -> str:
    """A docstring as Markdown, a paragraph a line."""
    paragraphs = re.split(r"\n\s*\n", markdown(text).strip("\n"))
    shown = []
    for paragraph in paragraphs:
        if paragraph.startswith((".. code-block", "    ")):
            body = textwrap.dedent(re.sub(r"^\.\. code-block:: \w+\n*", "", paragraph))
            if body.strip():
                shown.append(f"```python\n{body}\n```")
        else:
            shown.append(
                textwrap.fill(paragraph, 100, break_on_hyphens=False, break_long_words=False)
            )
    return "\n\n".join(shown) + "\n"


def markdown(text: str) -> str:
    """The little of reStructuredText that docstrings here use, as Markdown."""
    return re.sub(r"``([^`]+)``", r"`\1`", text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
