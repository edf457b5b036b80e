"""Programs that tests start: each a process of its own, forked from one that has loaded everything already.

To load `fhir-coprod serve` takes most of a second of processor time, and the tests start it, and others like
it, two hundred times. So every pytest process keeps one process ready (`python -m tests.programs`) which has
imported what they import, and forks them. All else is as if an interpreter had been started: the module runs
as `__main__`, with arguments, environment, folder, streams, signals and an exit code of its own. Tests of
what a program loads, or of how Python itself is set up (PYTHON… in the environment), start Python.

Where coverage is measured, it is measured in them, too, and in the processes of Python that they start; what
is killed tells nothing.
"""

from __future__ import annotations

import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from typing import IO, Any, Literal, NoReturn

ROOT = Path(__file__).parent.parent
LOADED = (
    "rich.console",
    "rich.table",
    "typer.main",
    "uvloop",
    "fhir_coprod.client",
    "fhir_coprod.jobs",
    "fhir_coprod.store.loading",
    "fhir_coprod.sync.dead_letters",
    "fhir_coprod.validation.bulk",
    "fhir_coprod.watch.worklist.desk",
    "fhir_coprod.watch.worklist.release",
    "fhir_coprod.watch.worklist.unwatched",
    "fhir_coprod.api.server",
)
"""What programs find loaded. Not the commands: some read the width of the terminal as they are imported."""

_NUMBER = struct.Struct("=i")
_Stream = int | IO[Any] | None


class Program:
    """A program under way; used as a `subprocess.Popen` is."""

    def __init__(self, args: tuple[str, ...], status: int, stdout: IO[Any] | None) -> None:
        self.args = args
        self.stdout = stdout
        self.returncode: int | None = None
        self._status = status
        self.pid = self._number()

    def _number(self) -> int:
        told = os.read(self._status, _NUMBER.size)
        if len(told) < _NUMBER.size:
            raise RuntimeError("the process that starts programs has ended; what it said is above")
        number: int = _NUMBER.unpack(told)[0]
        return number

    def poll(self) -> int | None:
        """The exit code once it has ended, -N if signal N ended it; None before that."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, when it has ended. Raises TimeoutExpired after so many seconds."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._number()
            os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended, and we are about to be told
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """End it if it still runs, and close what it printed to."""
        self.kill()
        self.wait()
        if self.stdout is not None:
            self.stdout.close()


def start(
    module: str,
    *arguments: str,
    stdin: _Stream = DEVNULL,
    stdout: _Stream = None,
    stderr: _Stream = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    own_session: bool = False,
) -> Program:
    """Run `python -m module arguments`; as a module, "-c" runs the program that is its first argument.

    A stream that is None is the same as ours; stdout may be PIPE, for text.
    """
    environment = dict(os.environ if env is None else env)
    with _lock:
        nursery = _nursery()
        if _of_python(environment) != nursery.born_with:
            raise ValueError("PYTHON… in the environment is for an interpreter: start one with subprocess")
        return nursery.start(module, arguments, (stdin, stdout, stderr), environment, cwd, own_session)


def run(
    module: str,
    *arguments: str,
    input: bytes = b"",
    stdout: _Stream = None,
    stderr: _Stream = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 100,
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; what it printed is text, empty for a stream that leads elsewhere."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        given.write(input)
        given.seek(0)
        program = start(
            module,
            *arguments,
            stdin=given,
            stdout=stdout or out,
            stderr=stderr or err,
            cwd=cwd,
            env=env,
        )
        try:
            code = program.wait(timeout)
        finally:
            program.close()
        printed = []
        for file in (out, err):
            file.seek(0)
            printed.append(file.read().decode().replace("\r\n", "\n"))
    return subprocess.CompletedProcess(program.args, code, *printed)


def measure(root: Path) -> None:
    """Measure the coverage of programs that are started from now on, as `root`/pyproject.toml says.

    Their data are put beside it, and combined by who asks for the report.
    """
    _measured[:] = [str(root)]


def close() -> None:
    """End the process that starts programs, and whatever it started that still runs."""
    with _lock:
        if _nursery.cache_info().currsize:
            _nursery().close()
            _nursery.cache_clear()


def _of_python(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith("PYTHON")}


class _Nursery:
    """Our end of the process that forks programs."""

    def __init__(self) -> None:
        self.born_with = _of_python(os.environ)
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.programs", str(theirs.fileno()), *_measured],
                pass_fds=[theirs.fileno()],
                stdin=DEVNULL,
                cwd=ROOT,
                start_new_session=True,
            )

    def start(
        self,
        module: str,
        arguments: tuple[str, ...],
        streams: tuple[_Stream, ...],
        environment: dict[str, str],
        cwd: Path | None,
        own_session: bool,
    ) -> Program:
        order = {
            "module": module,
            "arguments": arguments,
            "environment": environment,
            "cwd": str(cwd or Path.cwd()),
            "own_session": own_session,
        }
        status, theirs = os.pipe()
        order_read, order_write = os.pipe()
        stdout: IO[str] | None = None
        with _descriptors(streams) as (numbers, piped):
            socket.send_fds(self._control, [b"!"], [order_read, theirs, *numbers])
            if piped is not None:
                stdout = os.fdopen(piped, encoding="utf-8")
        os.close(order_read)
        os.close(theirs)
        with os.fdopen(order_write, "w") as out:
            json.dump(order, out)
        return Program((module, *arguments), status, stdout)

    def close(self) -> None:
        self._control.close()
        self._process.wait()


@contextmanager
def _descriptors(streams: tuple[_Stream, ...]) -> Iterator[tuple[list[int], int | None]]:
    """The numbers of the three streams, and of our end if stdout is a pipe."""
    numbers: list[int] = []
    ours: list[int] = []
    piped = None
    for place, stream in enumerate(streams):
        if stream == PIPE and place == 1:
            piped, end = os.pipe()
            ours.append(end)
            numbers.append(end)
        elif stream == STDOUT and place == 2:
            numbers.append(numbers[1])
        elif stream == DEVNULL:
            ours.append(os.open(os.devnull, os.O_RDWR))
            numbers.append(ours[-1])
        elif stream is None:
            numbers.append(place)
        else:
            numbers.append(stream if isinstance(stream, int) else stream.fileno())
    try:
        yield numbers, piped
    finally:
        for number in ours:
            os.close(number)


_lock = threading.Lock()
_measured: list[str] = []
"""The folder of the project, if coverage is measured."""


@cache
def _nursery() -> _Nursery:
    return _Nursery()


# ------------------------------------------------------------------------- in the process that forks them


def _fork_on_order(control: socket.socket) -> str | None:
    """Fork a program for each order until the other end is closed. In the program: the module to run."""
    woken, wakes = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    running: dict[int, int] = {}
    while True:
        ready = select.select([control, woken], [], [])[0]
        if woken in ready:
            with suppress(BlockingIOError):
                while os.read(woken, 1000):
                    pass
            _tell_ends(running)
        if control in ready:
            told, numbers, _, _ = socket.recv_fds(control, 1, 5)
            if not told:
                break
            order, status, *streams = numbers
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                control.detach()
                return _become(order, streams)
            os.write(status, _NUMBER.pack(child))
            running[child] = status
            for number in (order, *streams):
                os.close(number)
    for child in running:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return None


def _tell_ends(running: dict[int, int]) -> None:
    with suppress(ChildProcessError):
        while True:
            child, ended = os.waitpid(-1, os.WNOHANG)
            if not child:
                return
            status = running.pop(child)
            with suppress(BrokenPipeError):  # nobody waits for this one
                os.write(status, _NUMBER.pack(os.waitstatus_to_exitcode(ended)))
            os.close(status)


def _become(order: int, streams: list[int]) -> str:
    """Take on what was ordered: streams, session, folder, environment and arguments."""
    with os.fdopen(order) as file:
        given = json.load(file)
    for place, number in enumerate(streams):
        os.dup2(number, place)
    os.closerange(3, max(1024, *streams) + 1)
    if given["own_session"]:
        os.setsid()
    os.chdir(given["cwd"])
    os.environ.clear()
    os.environ.update(given["environment"])
    time.tzset()
    sys.path[0] = given["cwd"]
    sys.argv = [given["module"], *given["arguments"]]
    sys.stdin = sys.__stdin__ = _text(0, "rb")
    sys.stdout = sys.__stdout__ = _text(1, "wb")
    sys.stderr = sys.__stderr__ = _text(2, "wb", errors="backslashreplace")
    module: str = given["module"]
    return module


def _text(number: int, mode: Literal["rb", "wb"], errors: str = "strict") -> io.TextIOWrapper:
    """A standard stream as Python opens it."""
    at_once = number == 2 or os.isatty(number)
    return io.TextIOWrapper(
        os.fdopen(number, mode, closefd=False),
        encoding=sys.__stdout__.encoding if sys.__stdout__ else None,
        errors=errors,
        line_buffering=at_once,
    )


def _prepare(*more: str) -> None:
    for name in (*LOADED, *more):
        import_module(name)
    gc.collect()
    gc.freeze()


def _begin_coverage(root: str) -> None:
    """In a program: what it does from now on is measured, also in processes that it starts."""
    import coverage

    # The variables by which coverage begins where Python does; the program may be in another folder.
    os.environ["COVERAGE_PROCESS_START"] = os.path.join(root, "pyproject.toml")
    os.environ.setdefault("COVERAGE_FILE", os.path.join(root, ".coverage"))
    measuring = coverage.process_startup()
    assert measuring is not None
    end = os._exit

    def exit_measured(code: int) -> NoReturn:
        measuring.save()
        end(code)

    os._exit = exit_measured


if __name__ == "__main__":
    _control, *_root = sys.argv[1:]
    _prepare(*(["coverage"] if _root else []))
    _module = _fork_on_order(socket.socket(fileno=int(_control)))
    if _module is not None and _root:
        _begin_coverage(_root[0])
    if _module == "-c":
        exec(compile(sys.argv.pop(1), "<string>", "exec"), {"__name__": "__main__"})
    elif _module is not None:
        runpy.run_module(_module, run_name="__main__", alter_sys=True)
