#!/usr/bin/env python3
"""Change the core in small ways and see whether its tests notice.

    python tools/mutation.py                         every module of the table below
    python tools/mutation.py --module framing        one of them (or several: repeat it)
    python tools/mutation.py --module framing --function decode --show
                                                     a part, each survivor as a diff; no page
    python tools/mutation.py --module framing --again
                                                     only what was not killed in the last run: for
                                                     new tests, while the module is as it was
    python tools/mutation.py --list                  the modules and their tests

Needs `mutmut` 3 (its operators make the mutants) beside the tests' own packages. Mutants are never
written to disk: the tests of a module are collected once, then each mutant is a fork in which the
function's code object (or the module's constant) is exchanged, and which runs, shortest first, the
tests that reach the changed statement, up to the first failure. Needs `fork`, so no Windows.

What is mutated: every function, method and property, and the constants and tables of a module; not
docstrings, annotations, class bodies outside of methods, and the words of messages.
`docs/mutation.md` is written from the figures and from the reasons in `tools/mutation_known.toml`.
"""

import argparse
import ast
import datetime as dt
import functools
import gc
import importlib
import itertools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
import tomllib
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import libcst as cst
import pytest
from libcst.metadata import (
    MetadataWrapper,
    PositionProvider,
    WhitespaceInclusivePositionProvider,
)
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

os.environ["WSPROTO_PURE"] = "1"  # a mutant is a change of a source

ROOT = Path(__file__).resolve().parents[1]
LAST = ROOT / "reports" / "mutation"
PAGE = ROOT / "docs" / "mutation.md"
KNOWN = ROOT / "tools" / "mutation_known.toml"
PACKAGE = "wsproto_core"

SLOWEST = 1.0
"""Seconds of processor time, traced: a test that takes longer (exhaustive) is left out."""

UNSTEADY = re.compile(r"linear|no_more_memory|memory_bound|not_copied|speed")
"""Tests by name whose outcome depends on how busy the machine is: left out as well."""


@dataclass(frozen=True)
class Target:
    """A module and the tests that must notice a change in it."""

    module: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        return ROOT / "src" / (self.module.replace(".", "/") + ".py")


MODULES = {
    "framing": Target("wsproto_core.framing", ("test_framing.py",)),
    "messages": Target("wsproto_core.messages", ("test_messages.py",)),
    "octets": Target(
        "wsproto_core.octets", ("test_octets.py", "test_framing.py", "test_messages.py")
    ),
    "timers": Target("wsproto_core.timers", ("test_timers.py",)),
    "lifecycle": Target("wsproto_core.lifecycle", ("test_lifecycle.py",)),
    "extensions": Target("wsproto_core.extensions.base", ("test_extensions.py",)),
    "connection": Target(
        "wsproto_core.connection",
        ("test_connection.py", "test_prepared.py", "test_lifecycle.py", "test_timers.py"),
    ),
    "outgoing": Target("wsproto_core.outgoing", ("test_prepared.py", "test_connection.py")),
    "handshake": Target(
        "wsproto_core.handshake", ("test_handshake.py", "test_conformance_handshake.py")
    ),
    "deflate": Target(
        "wsproto_core.extensions.deflate", ("test_deflate.py", "test_conformance_deflate.py")
    ),
}
"""The tests are files of ``tests/core``."""


# ------------------------------------------------------------------------------------ mutants


@dataclass
class Mutant:
    """One change."""

    function: str
    """Its qualified name; ``<module>`` for a constant or a table."""

    line: int
    was: str
    now: str
    number: int
    """Which of those that look the same."""

    source: str = field(repr=False)
    """The whole module with the change."""

    @property
    def key(self) -> str:
        return "\n".join((self.function, self.was, self.now, str(self.number)))

    def __str__(self) -> str:
        return f"{self.function}, line {self.line}:\n    - {self.was}\n    + {self.now}"


PHASES = ("OPENING", "DECIDING", "OPEN", "CLOSE_SENT", "DRAINING", "CLOSED")


def without_each(node: cst.Dict | cst.Tuple | cst.Set | cst.List) -> Iterator[cst.CSTNode]:
    """A table or a row, less one of its elements at a time."""
    for at in range(len(node.elements)):
        rest = [*node.elements[:at], *node.elements[at + 1 :]]
        if rest or not isinstance(node, cst.Set):
            yield node.with_changes(elements=rest)


def other_phase(node: cst.Attribute) -> Iterator[cst.CSTNode]:
    """The phase after this one."""
    if isinstance(node.value, cst.Name) and node.value.value == "Phase":
        after = PHASES[(PHASES.index(node.attr.value) + 1) % len(PHASES)]
        yield node.with_changes(attr=cst.Name(after))


TABLE_OPERATORS: list[tuple[type[cst.CSTNode], Callable[[Any], Iterator[cst.CSTNode]]]] = [
    (cst.Dict, without_each),
    (cst.Tuple, without_each),
    (cst.Set, without_each),
    (cst.Attribute, other_phase),
]


class Visitor(MutationVisitor):  # type: ignore[misc,unused-ignore]
    """mutmut's, but also inside of properties and cached functions, and with places."""

    def __init__(self) -> None:
        super().__init__(mutation_operators, IgnoredCode(set(), set(), set()))
        self.places: list[int] = []

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef):
            return False
        return bool(super()._skip_node_and_children(node))

    def _create_mutations(self, node: cst.CSTNode) -> None:
        before = len(self.mutations)
        super()._create_mutations(node)
        position = self.get_metadata(PositionProvider, node)
        self.places += [position.start.line] * (len(self.mutations) - before)


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Every mutant of a file."""
    source = path.read_text()
    tree = ast.parse(source)
    owners, statements = index(tree)
    wrapper = MetadataWrapper(cst.parse_module(source))
    visitor = Visitor()
    module = wrapper.visit(visitor)
    found = [(m.original_node, m.mutated_node) for m in visitor.mutations]
    places = list(visitor.places)
    positions = wrapper.resolve(PositionProvider)
    spans = wrapper.resolve(WhitespaceInclusivePositionProvider)
    lines = [0, *itertools.accumulate(map(len, source.splitlines(keepends=True)))]
    assert isinstance(module, cst.Module)
    for statement in module.body:
        if not isinstance(statement, cst.SimpleStatementLine):
            continue
        for node in descendants(statement):
            for kind, operator in TABLE_OPERATORS:
                if isinstance(node, kind):
                    made = list(operator(node))
                    found += [(node, new) for new in made]
                    places += [positions[node].start.line] * len(made)
    seen: set[str] = set()
    alike: dict[tuple[str, str, str], int] = {}
    for (old, new), line in zip(found, places, strict=True):
        function = owners.get(line)
        if function is None or is_noise(old, new, statements.get(line), function):
            continue
        span = spans[old]
        begin, end = (lines[place.line - 1] + place.column for place in (span.start, span.end))
        mutated = source[:begin] + module.code_for_node(new) + source[end:]
        if mutated in seen or mutated == source:
            continue
        seen.add(mutated)
        was, now = difference(source, mutated)
        number = alike[function, was, now] = alike.get((function, was, now), -1) + 1
        yield Mutant(function, line, was, now, number, mutated)


def descendants(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    yield node
    for child in node.children:
        if not isinstance(child, cst.Annotation):
            yield from descendants(child)


def index(tree: ast.Module) -> tuple[dict[int, str], dict[int, ast.stmt]]:
    """For each line: the outermost function it is in, and the innermost statement.

    Lines of class bodies, imports and types are in none.
    """
    owners: dict[int, str] = {}
    statements: dict[int, ast.stmt] = {}

    def walk(body: Iterable[ast.stmt], prefix: str, owner: str | None) -> None:
        for node in body:
            inner = owner
            if isinstance(node, ast.ClassDef):
                walk(node.body, f"{prefix}{node.name}.", None if owner is None else owner)
                continue
            if isinstance(node, ast.FunctionDef) and owner is None:
                inner = f"{prefix}{node.name}"
            elif owner is None and not prefix and is_constant(node):
                inner = "<module>"
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                statements[line] = node
                if inner is not None:
                    owners[line] = inner
            for name in ("body", "orelse", "finalbody"):
                walk(getattr(node, name, ()), prefix, inner)
            for handler in getattr(node, "handlers", ()):
                walk(handler.body, prefix, inner)

    walk(tree.body, "", None)
    return owners, statements


def is_constant(node: ast.stmt) -> bool:
    """Whether a statement of a module sets a constant or a table (not a type, not __all__)."""
    if isinstance(node, ast.AnnAssign):
        return "TypeAlias" not in ast.unparse(node.annotation) and node.value is not None
    return isinstance(node, ast.Assign) and "__all__" not in ast.unparse(node.targets[0])


def is_noise(old: cst.CSTNode, new: cst.CSTNode, statement: ast.stmt | None, function: str) -> bool:
    """Words of messages: any string with a space that does not name a rule. And other cases."""
    if isinstance(old, cst.SimpleString) and isinstance(new, cst.SimpleString):
        text = old.value
        if " " in text and not text.strip("\"'").startswith("RFC "):
            return True
        if "XX" not in new.value:
            return True  # one change of a string is enough
    if function != "<module>":
        return isinstance(statement, ast.Assert)
    # None in place of a constant says little: every use of it fails.
    return isinstance(old, cst.Assign | cst.AnnAssign)


def difference(before: str, after: str) -> tuple[str, str]:
    """The lines that differ, as one line each."""
    was, now = before.splitlines(), after.splitlines()
    head = 0
    while head < min(len(was), len(now)) and was[head] == now[head]:
        head += 1
    tail = 0
    while tail < min(len(was), len(now)) - head and was[-1 - tail] == now[-1 - tail]:
        tail += 1
    old = was[head : len(was) - tail]
    new = now[head : len(now) - tail]
    return " ".join(line.strip() for line in old), " ".join(line.strip() for line in new)


# ------------------------------------------------------------------------------ in the process


def functions_of(module: types.ModuleType) -> dict[str, list[types.FunctionType]]:
    """The live function objects of a module by qualified name."""
    found: dict[str, list[types.FunctionType]] = {}

    def add(value: object) -> None:
        if isinstance(value, property):
            for part in (value.fget, value.fset, value.fdel):
                add(part)
            return
        if isinstance(value, staticmethod | classmethod):
            value = value.__func__
        if isinstance(value, functools.cached_property):
            value = value.func
        while hasattr(value, "__wrapped__"):
            value = value.__wrapped__
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
            known = found.setdefault(value.__qualname__, [])
            if value not in known:
                known.append(value)

    for value in list(vars(module).values()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            for member in list(vars(value).values()):
                add(member)
        else:
            add(value)
    return found


def codes_of(code: types.CodeType) -> dict[str, list[types.CodeType]]:
    found: dict[str, list[types.CodeType]] = {}
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            found.setdefault(const.co_qualname, []).append(const)
            for name, more in codes_of(const).items():
                found.setdefault(name, []).extend(more)
    return found


def apply(mutant: Mutant, module: types.ModuleType) -> None:
    """Exchange the changed part in this process."""
    tree = ast.parse(mutant.source)
    if mutant.function == "<module>":
        apply_constant(mutant, tree, module)
        return
    path = str(module.__file__)
    codes = codes_of(compile(tree, path, "exec", dont_inherit=True))[mutant.function]
    live = functions_of(module)[mutant.function]
    assert len(codes) == len(live) == 1, mutant.function
    live[0].__code__ = codes[0]
    node = definition(tree, mutant.function)
    space = dict(vars(module))
    live[0].__defaults__ = tuple(evaluate(value, space) for value in node.args.defaults) or None
    live[0].__kwdefaults__ = {
        name.arg: evaluate(value, space)
        for name, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
        if value is not None
    } or None
    clear_caches(module)


def definition(tree: ast.Module, qualname: str) -> ast.FunctionDef:
    node: ast.Module | ast.ClassDef | ast.FunctionDef = tree
    for name in qualname.split("."):
        node = next(
            item
            for item in node.body
            if isinstance(item, ast.FunctionDef | ast.ClassDef) and item.name == name
        )
    assert isinstance(node, ast.FunctionDef)
    return node


def evaluate(node: ast.expr, space: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "<default>", "eval"), space)  # noqa: S307


def apply_constant(mutant: Mutant, tree: ast.Module, module: types.ModuleType) -> None:
    """Run the changed statement, and the constants further down that are made of it."""
    space = dict(vars(module))
    changed: set[str] = set()
    for node in tree.body:
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
        here = node.lineno <= mutant.line <= (node.end_lineno or 0)
        if is_constant(node) and (here or names & changed):
            code = compile(ast.Module([node], []), str(module.__file__), "exec", dont_inherit=True)
            exec(code, space)  # noqa: S102
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]  # type: ignore[attr-defined]
            changed |= {ast.unparse(target) for target in targets}
    assert changed, mutant
    for name in changed:
        old, new = vars(module)[name], space[name]
        for function in (item for group in functions_of(module).values() for item in group):
            defaults = function.__defaults__ or ()
            function.__defaults__ = tuple(new if it is old else it for it in defaults) or None
        if isinstance(old, dict) and isinstance(new, dict):
            old.clear()
            old.update(new)
            continue
        for other in list(sys.modules.values()):
            if getattr(other, "__name__", "").startswith(PACKAGE) and vars(other).get(name) is old:
                setattr(other, name, new)
    clear_caches(module)


def clear_caches(module: types.ModuleType) -> None:
    """Forget what a cached function gave before the change."""
    for value in vars(module).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()


# --------------------------------------------------------------------------------------- runs


@dataclass
class Outcome:
    """What became of the mutants of a module."""

    killed: list[str] = field(default_factory=list)
    """The keys of these, and of those that went on without end."""

    timeout: list[str] = field(default_factory=list)
    survived: list[Mutant] = field(default_factory=list)
    every: int = 1
    unreached: list[Mutant] = field(default_factory=list)
    broken: list[Mutant] = field(default_factory=list)
    """Those that cannot even be put in place, such as ``int(None)`` for a constant: any import
    would fail. They are not counted."""

    left_out: list[str] = field(default_factory=list)
    tests: int = 0

    @property
    def total(self) -> int:
        return self.ended + len(self.survived) + len(self.unreached)

    @property
    def ended(self) -> int:
        return len(self.killed) + len(self.timeout)

    @property
    def share(self) -> float:
        return 100 * self.ended / max(1, self.total)


BROKEN = 70


class Runner:
    """A pytest plugin that runs the tests once for each mutant, each time in a fork."""

    def __init__(self, target: Target, options: argparse.Namespace) -> None:
        self.target = target
        self.options = options
        self.outcome = Outcome(every=options.every)
        self.failed = False
        self.seconds = 0.0

    def pytest_collection(self) -> None:
        """Before the tests are imported: the same examples each time."""
        from hypothesis import settings

        settings.register_profile("mutation", derandomize=True, database=None, deadline=None)
        settings.load_profile("mutation")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed = self.failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        module = importlib.import_module(self.target.module)
        items = [item for item in session.items if not UNSTEADY.search(item.name)]
        self.outcome.left_out = [item.name for item in session.items if item not in items]
        gc.collect()
        gc.freeze()
        times, hits = self.measure(items, module)
        self.outcome.left_out += [items[at].name for at, took in times.items() if took > SLOWEST]
        times = {at: took for at, took in times.items() if took <= SLOWEST}
        self.outcome.tests = len(times)
        _, statements = index(ast.parse(self.target.path.read_text()))
        mutants = list(mutants_of(self.target.path))
        if self.options.function:
            mutants = [m for m in mutants if self.options.function in m.function]
        mutants = mutants[:: self.options.every]
        if self.options.again:
            mutants = self.still_there(mutants)
        print(
            f"{len(times)} tests in {sum(times.values()):.1f} s, {len(mutants)} mutants", flush=True
        )
        done = 0
        running: dict[int, tuple[Mutant, float]] = {}
        for mutant in mutants:
            reach = self.reach(mutant, statements, hits, times)
            if not reach:
                self.outcome.unreached.append(mutant)
                if self.options.show:
                    print(f"{mutant} (not reached)", flush=True)
                continue
            while len(running) >= self.options.jobs:
                done += self.reap(running)
            order = sorted(reach, key=times.__getitem__)
            pid = self.start(mutant, module, [(items[at], 1 + 5 * times[at]) for at in order])
            running[pid] = mutant, time.monotonic() + 300
            if done and done % 50 == 0:
                print(f"  {done} of {len(mutants)}", flush=True)
        while running:
            done += self.reap(running)
        return True

    def still_there(self, mutants: list[Mutant]) -> list[Mutant]:
        """Those that the last run did not kill; the others are counted as they were."""
        last = json.loads((LAST / f"{self.options.module[0]}.json").read_text())
        if last["source"] != self.target.path.read_text():
            sys.exit("the module has changed since the last run: leave out --again")
        keys = {mutant.key for mutant in mutants}
        self.outcome.killed = [key for key in last["killed"] if key in keys]
        self.outcome.timeout = [key for key in last["timeout"] if key in keys]
        gone = {*self.outcome.killed, *self.outcome.timeout}
        return [mutant for mutant in mutants if mutant.key not in gone]

    def in_fork(self, work: Callable[[], object]) -> Any:
        """What ``work`` returns, having run in a fork."""
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            code = BROKEN
            try:
                os.close(read)
                hush()
                with os.fdopen(write, "w") as pipe:
                    json.dump(work(), pipe)
                code = 0
            finally:
                os._exit(code)
        os.close(write)
        with os.fdopen(read) as pipe:
            text = pipe.read()
        _, status = os.waitpid(pid, 0)
        if status:
            sys.exit(f"the run without a mutant came to nothing: {status}")
        return json.loads(text)

    def run(self, item: pytest.Item) -> bool:
        """Whether it passed."""
        self.failed = False
        began = time.process_time()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        self.seconds = time.process_time() - began
        return not self.failed

    def measure(
        self, items: list[pytest.Item], module: types.ModuleType
    ) -> tuple[dict[int, float], dict[int, frozenset[int]]]:
        """The seconds that each test takes, and the lines that it reaches; all must pass."""
        path = module.__file__

        def work() -> list[tuple[bool, float, list[int]]]:
            lines: set[int] = set()

            def local(frame: types.FrameType, _event: str, _arg: object) -> Any:
                lines.add(frame.f_lineno)
                return local

            def outer(frame: types.FrameType, _event: str, _arg: object) -> Any:
                if frame.f_code.co_filename != path:
                    return None
                lines.add(frame.f_lineno)
                return local

            found = []
            for item in items:
                lines.clear()
                sys.settrace(outer)
                try:
                    passed = self.run(item)
                finally:
                    sys.settrace(None)
                found.append((passed, self.seconds, sorted(lines)))
            return found

        results = self.in_fork(work)
        bad = [items[at].name for at, (passed, _, _) in enumerate(results) if not passed]
        if bad:
            sys.exit(f"these fail without a mutant: {', '.join(bad)}")
        times = {at: took for at, (_, took, _) in enumerate(results)}
        return times, {at: frozenset(lines) for at, (_, _, lines) in enumerate(results)}

    def reach(
        self,
        mutant: Mutant,
        statements: dict[int, ast.stmt],
        hits: dict[int, frozenset[int]],
        times: dict[int, float],
    ) -> list[int]:
        """The tests that run the changed statement."""
        if mutant.function == "<module>":
            return list(times)
        node = statements[mutant.line]
        if isinstance(node, ast.FunctionDef):  # a default value
            span = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        else:
            body = getattr(node, "body", None)
            last = body[0].lineno if isinstance(body, list) else (node.end_lineno or 0) + 1
            span = range(node.lineno, max(last, node.lineno + 1))
        return [at for at in times if not hits[at].isdisjoint(span)]

    def start(
        self, mutant: Mutant, module: types.ModuleType, items: list[tuple[pytest.Item, float]]
    ) -> int:
        """A fork with the mutant; each item has its limit of processor time."""
        pid = os.fork()
        if pid:
            return pid
        code = BROKEN
        try:
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if not self.options.debug:
                hush()
            apply(mutant, module)
            code = 0
            for item, limit in items:
                signal.setitimer(signal.ITIMER_VIRTUAL, limit)  # SIGVTALRM ends it
                if not self.run(item):
                    code = 1
                    break
        except BaseException:  # noqa: BLE001 - it must not run on as a second parent
            if self.options.debug:
                sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)

    def reap(self, running: dict[int, tuple[Mutant, float]]) -> int:
        """Wait for one; note what became of it."""
        while True:
            for pid, (mutant, until) in list(running.items()):
                done, status = os.waitpid(pid, os.WNOHANG)
                if not done:
                    if time.monotonic() > until:
                        os.kill(pid, signal.SIGKILL)
                        running[pid] = mutant, float("inf")
                    continue
                del running[pid]
                if os.WIFSIGNALED(status):
                    late = os.WTERMSIG(status) in (signal.SIGVTALRM, signal.SIGKILL)
                    (self.outcome.timeout if late else self.outcome.killed).append(mutant.key)
                elif os.WEXITSTATUS(status) == 0:
                    self.outcome.survived.append(mutant)
                    if self.options.show:
                        print(mutant, flush=True)
                elif os.WEXITSTATUS(status) == BROKEN:
                    self.outcome.broken.append(mutant)
                else:
                    self.outcome.killed.append(mutant.key)
                return 1
            time.sleep(0.002)


def hush() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def run_module(name: str, options: argparse.Namespace) -> Outcome:
    """In a process of its own, for one pytest."""
    target = MODULES[name]
    runner = Runner(target, options)
    files = [f"tests/core/{test}" for test in target.tests if (ROOT / "tests/core" / test).exists()]
    arguments = ["-q", "-s", "-p", "no:cacheprovider", *files]
    code = pytest.main([*arguments, *(["-k", options.k] if options.k else [])], plugins=[runner])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        sys.exit(f"pytest ended with {code}")
    return runner.outcome


# --------------------------------------------------------------------------------------- page


def known() -> dict[tuple[str, str], str]:
    """The reasons of the survivors that somebody looked at, by module and line of the page."""
    if not KNOWN.exists():
        return {}
    entries = tomllib.loads(KNOWN.read_text()).get("survivor", [])
    return {
        (entry["module"], line): entry["reason"] for entry in entries for line in entry["lines"]
    }


HEAD = """# Mutation testing

<!-- Written by tools/mutation.py; the reasons are in tools/mutation_known.toml. -->

A test suite that runs every line may still check nothing. So `tools/mutation.py` changes the core
in small ways, one at a time, and runs the tests of the module: a change that no test notices has
*survived*. The operators of mutmut make the changes (numbers, comparisons, `and`/`or`, arithmetic,
`not`, arguments left out or `None`, assignments of `None`, `break`/`return`, names such as `True`),
in functions, methods, properties and the constants of a module; tables also lose each row and each
part of a row, and get the next phase.

Not changed: docstrings, annotations, the bodies of classes outside of methods (the members of enums
and the fields of dataclasses), and the words of messages (a string with a space that does not name
a rule): a test that repeats a sentence word by word holds nothing but the sentence. Left out of
these runs are tests that take more than {slowest} s and those that measure time or memory, so a few
survivors below are noticed by the whole suite.

Mutants are of the sources, so the pure build is tested, whatever is installed. "1 of N": only each
Nth mutant was run, a sample. "Not reached" counts as survived. A timeout (a loop without end)
counts as killed.

| Module | Tests | Mutants | Killed | Timeout | Survived | Not reached | % | Date | Commit |
|---|--:|--:|--:|--:|--:|--:|--:|---|---|
"""


def commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.check_output(command, cwd=ROOT, text=True).strip()  # noqa: S603


def write_page(results: dict[str, Outcome]) -> None:
    """Exchange the rows and sections of these modules; the others stay as they are."""
    rows: dict[str, str] = {}
    sections: dict[str, str] = {}
    if PAGE.exists():
        text = PAGE.read_text()
        for line in text.splitlines():
            if match := re.match(r"\| `(\w+)` ", line):
                rows[match[1]] = line
        for match in re.finditer(r"(?ms)^## `(\w+)`\n\n(.*?)(?=^## |\Z)", text):
            sections[match[1]] = match[2].strip()
    today = dt.datetime.now(dt.UTC).date()
    for name, outcome in results.items():
        rows[name] = (
            f"| `{name}` | {outcome.tests} | {outcome.total}"
            f"{f' (1 of {outcome.every})' if outcome.every > 1 else ''} | {len(outcome.killed)} |"
            f" {len(outcome.timeout)}"
            f" | {len(outcome.survived)} | {len(outcome.unreached)} | {outcome.share:.1f}"
            f" | {today} | {commit()} |"
        )
        sections[name] = "\n".join(
            f"- {shown(mutant)}" for mutant in outcome.survived + outcome.unreached
        )
    parts = [HEAD.format(slowest=SLOWEST)]
    parts += [rows[name] + "\n" for name in MODULES if name in rows]
    for name in MODULES:
        if sections.get(name):
            lines = [line[2:] for line in sections[name].splitlines() if line.startswith("- ")]
            parts.append(f"\n## `{name}`\n\n{section(name, lines)}\n")
    PAGE.write_text("".join(parts))


def section(name: str, lines: Iterable[str]) -> str:
    """The survivors of a module, by reason."""
    reasons = known()
    by_reason: dict[str, list[str]] = {}
    for line in lines:
        by_reason.setdefault(reasons.get((name, line), UNKNOWN), []).append(line)
    parts = []
    for reason, group in sorted(by_reason.items(), key=lambda item: item[0] == UNKNOWN):
        parts.append("\n".join([f"{reason}\n", *(f"- {line}" for line in group)]))
    return "\n\n".join(parts)


UNKNOWN = "Not looked at yet."


def shown(mutant: Mutant) -> str:
    """A line of the page, and the key of its reason."""
    return f"`{mutant.function}`: {quoted(mutant.was)} → {quoted(mutant.now)}"


def quoted(text: str) -> str:
    if len(text) > 160:
        text = text[:157] + "..."
    return f"``{text}``" if "`" in text else f"`{text}`"


def main() -> None:
    parser = argparse.ArgumentParser(description="Mutation testing of the core.")
    parser.add_argument("--module", action="append", choices=MODULES, help="all if not given")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--function", help="only functions whose name contains this; no page")
    parser.add_argument("-k", help="pytest's: a part of the tests; no page")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="each Nth mutant only")
    parser.add_argument("--again", action="store_true", help="only what the last run did not kill")
    parser.add_argument("--show", action="store_true", help="print each survivor")
    parser.add_argument("--debug", action="store_true", help="print what the forks print")
    parser.add_argument("--no-page", action="store_true", help="leave docs/mutation.md as it is")
    parser.add_argument("--page", action="store_true", help="put new reasons on the page; no run")
    parser.add_argument("--list", action="store_true", help="the modules and their tests")
    options = parser.parse_args()
    if options.list:
        for name, target in MODULES.items():
            print(f"{name:12} {target.module}: {', '.join(target.tests)}")
        return
    os.chdir(ROOT)
    if options.page:
        write_page({})
        return
    names = options.module or list(MODULES)
    if len(names) > 1:
        again = [arg for arg in sys.argv[1:] if arg not in ("--module", *names)]
        for name in names:
            command = [sys.executable, __file__, *again, "--module", name]
            subprocess.run(command, check=False)  # noqa: S603
        return
    (name,) = names
    began = time.monotonic()
    outcome = run_module(name, options)
    reasons = known()
    new = [
        mutant
        for mutant in outcome.survived + outcome.unreached
        if (name, shown(mutant)) not in reasons
    ]
    if not options.show:
        for mutant in new:
            print(mutant, "(not reached)" if mutant in outcome.unreached else "")
    print(
        f"{name}: {outcome.total} mutants, {len(outcome.killed)} killed, "
        f"{len(outcome.timeout)} timeouts, "
        f"{len(outcome.survived)} survived, {len(outcome.unreached)} not reached "
        f"(and {len(outcome.broken)} that no import survives, not counted): "
        f"{outcome.share:.1f} % ({len(new)} without a reason, "
        f"{time.monotonic() - began:.0f} s)"
    )
    if outcome.left_out:
        print(f"tests left out: {', '.join(outcome.left_out)}")
    if options.function or options.k:
        return
    if not options.no_page:
        write_page({name: outcome})
    if options.every > 1:
        return
    LAST.mkdir(parents=True, exist_ok=True)
    last = {
        "source": MODULES[name].path.read_text(),
        "killed": outcome.killed,
        "timeout": outcome.timeout,
    }
    (LAST / f"{name}.json").write_text(json.dumps(last))


if __name__ == "__main__":
    main()
