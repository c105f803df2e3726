"""The packets that an adb server and the daemon on a phone exchange.

Source: AOSP packages/modules/adb, protocol.txt and adb.h.
"""

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass

CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = (
    int.from_bytes(name, "little")
    for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
AUTH_TOKEN, AUTH_SIGNATURE, AUTH_PUBLIC_KEY = 1, 2, 3
VERSION_CHECKED = 0x01000000  # each packet carries the sum of its bytes
VERSION = 0x01000001
HEADER = struct.Struct("<6I")


@dataclass(frozen=True)
class Packet:
    """One packet; what the arguments mean depends on the command."""

    command: int
    arg0: int
    arg1: int
    data: bytes = b""

    def to_bytes(self) -> bytes:
        head = HEADER.pack(
            self.command,
            self.arg0,
            self.arg1,
            len(self.data),
            sum(self.data) & 0xFFFFFFFF,
            self.command ^ 0xFFFFFFFF,
        )
        return head + self.data


class Wire:
    """A connection to a server: whole packets in, whole packets out. Raises OSError once closed."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._writing = threading.Lock()

    def read(self) -> Packet:
        command, arg0, arg1, length, _, magic = HEADER.unpack(self._exactly(HEADER.size))
        if magic != command ^ 0xFFFFFFFF:
            raise ConnectionError("what came in is no adb packet")
        return Packet(command, arg0, arg1, self._exactly(length))

    def write(self, packet: Packet) -> None:
        with self._writing:
            self._socket.sendall(packet.to_bytes())

    def close(self) -> None:
        with suppress(OSError):  # the other side was faster
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _exactly(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            part = self._socket.recv(length - len(parts))
            if not part:
                raise ConnectionError("the other side closed the connection")
            parts += part
        return bytes(parts)
