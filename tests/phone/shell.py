"""The services that run commands: `shell:` of both protocols, and `exec:`.

Source: AOSP packages/modules/adb, shell_protocol.h.
"""

import os
import signal
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from phone.stream import Stream, StreamClosed

STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
HEADER = struct.Struct("<BI")
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Command:
    """A command as the server asked for it, ready to run on this machine.

    Attributes:
        text: for the shell.
        folder: the phone's tree; its name is taken out of what the command prints.
        protocol: 0 raw bytes (`exec:`), 1 the old shell with errors merged, 2 the new one.
        terminal: the old shell on an old phone is a terminal, which ends lines by CR LF.
    """

    text: str
    protocol: int
    environment: Mapping[str, str]
    folder: Path
    terminal: bool = False


def run(command: Command, stream: Stream) -> None:
    """Run a command for a stream; what it started dies with the stream unless it left the group."""
    process = subprocess.Popen(
        [command.environment["SHELL"], "-c", command.text],
        cwd=command.folder,
        env=dict(command.environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if command.protocol == 2 else subprocess.STDOUT,
        start_new_session=True,
    )
    threading.Thread(target=_feed, args=[command, process, stream], daemon=True).start()
    try:
        _answer(command, process, stream)
    except StreamClosed:
        pass
    finally:
        hang_up(process)


def hang_up(process: "subprocess.Popen[bytes]") -> None:
    """End the shell and what is in its group, as the daemon does when the server is gone."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGHUP)
    process.wait()


def _answer(command: Command, process: "subprocess.Popen[bytes]", stream: Stream) -> None:
    assert process.stdout is not None
    if command.protocol != 2:
        _pump(process.stdout, lambda part: stream.write(_as_printed(command, part)))
        return
    assert process.stderr is not None
    pipes = {STDOUT: process.stdout, STDERR: process.stderr}
    pumps = [
        threading.Thread(target=_pump_packets, args=[command, pipe, kind, stream], daemon=True)
        for kind, pipe in pipes.items()
    ]
    for pump in pumps:
        pump.start()
    while any(pump.is_alive() for pump in pumps):
        if stream.closed.wait(0.005):
            raise StreamClosed
    code = process.wait()
    code = 128 - code if code < 0 else code
    stream.write(HEADER.pack(EXIT, 1) + bytes([code]))


def _pump_packets(command: Command, pipe: IO[bytes], kind: int, stream: Stream) -> None:
    def send(part: bytes) -> None:
        printed = _as_printed(command, part)
        stream.write(HEADER.pack(kind, len(printed)) + printed)

    try:
        _pump(pipe, send)
    except StreamClosed:
        return


def _as_printed(command: Command, part: bytes) -> bytes:
    printed = part.replace(bytes(command.folder), b"")
    return printed.replace(b"\n", b"\r\n") if command.terminal else printed


def _pump(pipe: IO[bytes], send: Callable[[bytes], None]) -> None:
    while part := os.read(pipe.fileno(), CHUNK_BYTES):
        send(part)


def _feed(command: Command, process: "subprocess.Popen[bytes]", stream: Stream) -> None:
    """Hand what comes in to the command; a stream that closes ends the command."""
    assert process.stdin is not None
    try:
        while True:
            if command.protocol != 2:
                kind, part = STDIN, stream.read_some()
            else:
                kind, length = HEADER.unpack(stream.read(HEADER.size))
                part = stream.read(length)
            if kind == STDIN:
                process.stdin.write(part)
                process.stdin.flush()
            elif kind == CLOSE_STDIN:
                process.stdin.close()
    except StreamClosed:
        if process.poll() is None:
            hang_up(process)
    except (OSError, ValueError):  # it does not read, or no more
        return
