"""The `sync:` service: stat, list, send and receive files, in both versions of the protocol.

Source: AOSP packages/modules/adb, SYNC.TXT and file_sync_protocol.h.
"""

import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from phone.stream import Stream

CHUNK_BYTES = 1 << 16
WORD = struct.Struct("<I")
STAT_V1 = struct.Struct("<4s3I")
STAT_V2 = struct.Struct("<4sIQQIIIIQqqq")
ENTRY_V1 = struct.Struct("<4s4I")
ENTRY_V2 = struct.Struct("<4sIQQIIIIQqqqI")


@dataclass
class Storage:
    """The phone's storage as `sync:` sees it, with what may go wrong there.

    Attributes:
        locate: from a path of the phone to where it lies on this machine.
        free_bytes: what still fits; None: there is no end to it.
        truncate_push_bytes, truncate_pull_bytes: a file arrives cut off there, and nobody is told.
        received: the paths of the files that came, whole or not.
        on_send, on_receive: called in the middle of a file.
    """

    locate: Callable[[str], Path]
    free_bytes: int | None = None
    truncate_push_bytes: int | None = None
    truncate_pull_bytes: int | None = None
    received: list[str] = field(default_factory=list)
    on_send: Callable[[str], None] = field(default=lambda path: None)
    on_receive: Callable[[str], None] = field(default=lambda path: None)


def serve(storage: Storage, stream: Stream) -> None:
    """Answer requests until the other side says that it is done."""
    answers = {
        b"STAT": _stat_v1,
        b"STA2": _stat_v2,
        b"LST2": _stat_v2,
        b"LIST": _list_v1,
        b"LIS2": _list_v2,
        b"SEND": _send_v1,
        b"SND2": _send_v2,
        b"RECV": _receive,
        b"RCV2": _receive_v2,
    }
    while True:
        request, length = stream.read(4), WORD.unpack(stream.read(4))[0]
        if request == b"QUIT":
            return
        name = stream.read(length).decode()
        answer = answers.get(request)
        if answer is None:
            _fail(stream, f"unknown request {request!r}")
            return
        answer(storage, stream, request, name)


def _stat_v1(storage: Storage, stream: Stream, _: bytes, name: str) -> None:
    try:
        found = _look(storage, name, follow=False)
    except OSError:
        stream.write(STAT_V1.pack(b"STAT", 0, 0, 0))
        return
    size = found.st_size & 0xFFFFFFFF
    stream.write(STAT_V1.pack(b"STAT", found.st_mode, size, int(found.st_mtime)))


def _stat_v2(storage: Storage, stream: Stream, request: bytes, name: str) -> None:
    try:
        found = _look(storage, name, follow=request == b"STA2")
    except OSError as error:
        stream.write(STAT_V2.pack(request, error.errno or 5, *[0] * 10))
        return
    stream.write(STAT_V2.pack(request, 0, *_facts(found)))


def _look(storage: Storage, name: str, *, follow: bool) -> os.stat_result:
    """Look at a path. One that ends in `/.` is a folder's: adb asks so what a link leads to."""
    path = storage.locate(name)
    if name.endswith(("/", "/.")) and not path.is_dir():
        raise NotADirectoryError(20, "not a folder")
    return path.stat() if follow else path.lstat()


def _facts(found: os.stat_result) -> tuple[int, ...]:
    return (
        found.st_dev,
        found.st_ino,
        found.st_mode,
        found.st_nlink,
        2000,  # the shell's user and group
        2000,
        found.st_size,
        int(found.st_atime),
        int(found.st_mtime),
        int(found.st_ctime),
    )


def _list_v1(storage: Storage, stream: Stream, _: bytes, name: str) -> None:
    for path in _entries(storage.locate(name)):
        found, called = path.lstat(), path.name.encode()
        size = found.st_size & 0xFFFFFFFF
        head = ENTRY_V1.pack(b"DENT", found.st_mode, size, int(found.st_mtime), len(called))
        stream.write(head + called)
    stream.write(ENTRY_V1.pack(b"DONE", 0, 0, 0, 0))


def _list_v2(storage: Storage, stream: Stream, _: bytes, name: str) -> None:
    for path in _entries(storage.locate(name)):
        called = path.name.encode()
        stream.write(ENTRY_V2.pack(b"DNT2", 0, *_facts(path.lstat()), len(called)) + called)
    stream.write(ENTRY_V2.pack(b"DONE", *[0] * 12))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _send_v1(storage: Storage, stream: Stream, _: bytes, name: str) -> None:
    path, _, mode = name.rpartition(",")
    _store(storage, stream, path, int(mode))


def _send_v2(storage: Storage, stream: Stream, _: bytes, name: str) -> None:
    _, mode, _ = struct.unpack("<4sII", stream.read(12))
    _store(storage, stream, name, mode)


def _store(storage: Storage, stream: Stream, name: str, mode: int) -> None:
    """Write what comes to a file; after a refusal the rest is read and dropped."""
    path = storage.locate(name)
    storage.received.append(name)
    refusal, written, limit = "", 0, storage.truncate_push_bytes
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    except OSError as error:
        refusal = f"couldn't create file: {error.strerror}"
    while True:
        kind, length = stream.read(4), WORD.unpack(stream.read(4))[0]
        if kind != b"DATA":
            break
        part = stream.read(length)
        storage.on_send(name)
        if storage.free_bytes is not None:
            if len(part) > storage.free_bytes and not refusal:
                refusal = "write failed: No space left on device"
                path.unlink(missing_ok=True)
            storage.free_bytes -= min(len(part), storage.free_bytes)
        if not refusal:
            with path.open("ab") as file:
                file.write(part if limit is None else part[: max(0, limit - written)])
            written += len(part)
    if refusal:
        _fail(stream, refusal)
        return
    path.chmod(stat.S_IMODE(mode))
    stream.write(b"OKAY" + WORD.pack(0))


def _receive_v2(storage: Storage, stream: Stream, request: bytes, name: str) -> None:
    stream.read(8)  # how it is to be compressed: not at all
    _receive(storage, stream, request, name)


def _receive(storage: Storage, stream: Stream, _: bytes, name: str) -> None:
    try:
        data = storage.locate(name).read_bytes()
    except OSError as error:
        _fail(stream, f"open failed: {error.strerror}")
        return
    if storage.truncate_pull_bytes is not None:
        data = data[: storage.truncate_pull_bytes]
    for start in range(0, len(data), CHUNK_BYTES):
        part = data[start : start + CHUNK_BYTES]
        stream.write(b"DATA" + WORD.pack(len(part)) + part)
        storage.on_receive(name)
    stream.write(b"DONE" + WORD.pack(0))


def _fail(stream: Stream, why: str) -> None:
    said = why.encode()
    stream.write(b"FAIL" + WORD.pack(len(said)) + said)
