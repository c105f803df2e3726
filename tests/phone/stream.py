"""One stream of a connection: bytes in order, and never more under way than were acknowledged."""

import queue
import threading
from contextlib import suppress

from phone.wire import CLSE, OKAY, WRTE, Packet, Wire


class StreamClosed(ConnectionError):
    """The other side has closed the stream, or the connection is gone."""


class Stream:
    """A stream as a service sees it.

    Attributes:
        closed: set when nothing will come or go any more.
    """

    def __init__(self, wire: Wire, own_id: int, their_id: int, max_data: int) -> None:
        self.closed = threading.Event()
        self._wire, self._own_id, self._their_id = wire, own_id, their_id
        self._max_data = max_data
        self._came: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._acknowledged = threading.Semaphore(0)
        self._writing = threading.Lock()
        self._rest = b""

    def read(self, length: int) -> bytes:
        """Give exactly that many bytes. Raises StreamClosed."""
        while len(self._rest) < length:
            self._rest += self._next()
        given, self._rest = self._rest[:length], self._rest[length:]
        return given

    def read_some(self) -> bytes:
        """Give what came, at least one byte. Raises StreamClosed."""
        given, self._rest = self._rest or self._next(), b""
        return given

    def write(self, data: bytes) -> None:
        """Send; wait until the other side has taken it. Raises StreamClosed."""
        with self._writing:
            for start in range(0, len(data), self._max_data):
                self._send(Packet(WRTE, *self._ids, data[start : start + self._max_data]))
                self._acknowledged.acquire()
                if self.closed.is_set():
                    raise StreamClosed

    def close(self) -> None:
        """Tell the other side that this is the end."""
        if not self.closed.is_set():
            with suppress(StreamClosed):
                self._send(Packet(CLSE, *self._ids))
        self.closed_by_other_side()

    def accept(self) -> None:
        self._send(Packet(OKAY, *self._ids))

    def take(self, data: bytes) -> None:
        """Receive what the connection read for this stream."""
        self._came.put(data)

    def acknowledge(self) -> None:
        self._acknowledged.release()

    def closed_by_other_side(self) -> None:
        self.closed.set()
        self._came.put(None)
        self._acknowledged.release()

    @property
    def _ids(self) -> tuple[int, int]:
        return self._own_id, self._their_id

    def _next(self) -> bytes:
        data = self._came.get()
        if data is None:
            self._came.put(None)  # for whoever asks again
            raise StreamClosed
        self._send(Packet(OKAY, *self._ids))
        return data

    def _send(self, packet: Packet) -> None:
        try:
            self._wire.write(packet)
        except OSError as error:
            raise StreamClosed from error
