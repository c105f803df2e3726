"""A server's connection to the phone: the greeting, then one thread a stream."""

import secrets
import threading
from collections.abc import Callable

from phone.stream import Stream, StreamClosed
from phone.wire import (
    AUTH,
    AUTH_PUBLIC_KEY,
    AUTH_TOKEN,
    CLSE,
    CNXN,
    OKAY,
    OPEN,
    VERSION,
    VERSION_CHECKED,
    WRTE,
    Packet,
    Wire,
)

Service = Callable[[Stream], None]


class Connection:
    """Serves one adb server until the connection is closed, from either side.

    Args:
        banner: what the phone calls itself, `device::...` and its features.
        find_service: from the name that the server asks for to what serves it; None: refused.
    """

    def __init__(
        self,
        wire: Wire,
        banner: str,
        find_service: Callable[[str], Service | None],
        *,
        max_data: int,
        authorized: bool,
    ) -> None:
        self._wire, self._banner, self._find_service = wire, banner, find_service
        self._max_data, self._authorized = max_data, authorized
        self._streams: dict[int, Stream] = {}
        self._last_id = 0

    def serve(self) -> None:
        """Answer packets until the connection ends."""
        try:
            while True:
                self._answer(self._wire.read())
        except OSError:
            self.close()

    def close(self) -> None:
        """Cut the connection: what runs for its streams is told."""
        self._wire.close()
        for stream in list(self._streams.values()):
            stream.closed_by_other_side()

    def _answer(self, packet: Packet) -> None:
        if packet.command == CNXN:
            self._greet(packet)
        elif packet.command == AUTH and packet.arg0 != AUTH_PUBLIC_KEY:
            self._ask_for_key()  # the phone knows none of the server's keys
        elif packet.command == OPEN:
            self._open(packet)
        elif stream := self._streams.get(packet.arg1):
            if packet.command == WRTE:
                stream.take(packet.data)
            elif packet.command == OKAY:
                stream.acknowledge()
            elif packet.command == CLSE:
                self._streams.pop(packet.arg1)
                stream.closed_by_other_side()

    def _greet(self, packet: Packet) -> None:
        if not self._authorized:
            self._ask_for_key()
            return
        self._max_data = min(self._max_data, packet.arg1)
        version = VERSION if "features=" in self._banner else VERSION_CHECKED
        self._wire.write(Packet(CNXN, version, self._max_data, self._banner.encode()))

    def _ask_for_key(self) -> None:
        self._wire.write(Packet(AUTH, AUTH_TOKEN, 0, secrets.token_bytes(20)))

    def _open(self, packet: Packet) -> None:
        service = self._find_service(packet.data.rstrip(b"\0").decode())
        if service is None:
            self._wire.write(Packet(CLSE, 0, packet.arg0))
            return
        self._last_id += 1
        stream = Stream(self._wire, self._last_id, packet.arg0, self._max_data)
        self._streams[self._last_id] = stream
        threading.Thread(target=_serve, args=[service, stream], daemon=True).start()


def _serve(service: Service, stream: Stream) -> None:
    try:
        stream.accept()
        service(stream)
    except StreamClosed:
        return
    finally:
        stream.close()
