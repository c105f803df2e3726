"""An emulated phone: an adb daemon on loopback that a real adb server connects to.

It answers as recorded or composed text says (see `profile`), runs commands and programs on this
machine for real, and breaks in the ways that phones break.
"""

import os
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from phone import files, shell
from phone.adb_server import AdbServer, free_port
from phone.connection import Connection, Service
from phone.profile import read_profile
from phone.stream import Stream
from phone.tree import BOOT_ID, Tree
from phone.wire import Wire

READY_S = 20
MARK = "EMULATED_PHONE"  # in the environment of every process of a phone: how to find them all


@dataclass
class _Hook:
    text: str
    action: Callable[[], object]
    left: int


class EmulatedPhone:
    """One phone.

    Attributes:
        serial: its name for adb, `127.0.0.1:PORT`.
        storage: the folder of this machine that is the phone's /data/local/tmp.
        tree: its files, and what it answers.
        commands: the commands that were asked of its shell, in order.
        files: how its storage fails (see `files.Storage`).
    """

    def __init__(self, folder: Path, server: AdbServer, *, profile: str = "android14") -> None:
        self._server, self._profile = server, read_profile(profile)
        folder.mkdir(parents=True)
        self.tree = Tree(folder, self._profile)
        self.storage = self.tree.locate("/data/local/tmp")
        self.files = files.Storage(self.tree.locate)
        self.commands: list[str] = []
        self._id = uuid.uuid4().hex
        self._port = free_port()
        self.serial = f"127.0.0.1:{self._port}"
        self._hooks: list[_Hook] = []
        self._kind, self._authorized = "device", True
        self._listening: socket.socket | None = None
        self._connections: list[Connection] = []
        self.tree.set_properties({**self._profile.properties, "ro.serialno": self._id[:8]})
        self._boot()

    def __enter__(self) -> "EmulatedPhone":
        self.plug()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def plug(self, *, wait: bool = True) -> None:
        """Plug the cable in. Waits until the server has the phone, as a `device` where it can."""
        self.listen()
        said = self._server.adb("connect", self.serial, check=False)
        if wait and self._kind == "device" and self._authorized:
            self._await_state("device", said)

    def unplug(self) -> None:
        """Pull the cable: programs that left the shell's group go on, the server forgets."""
        self.hang_up()
        self._server.adb("disconnect", self.serial, check=False)

    def hang_up(self) -> None:
        """Go silent without leaving: the server lists the phone as `offline` for a while."""
        if self._listening is not None:
            self._stop_listening(self._listening)
            self._listening = None
        self.cut()

    def restart_daemon(self) -> None:
        """Restart the adb daemon; as Android's init does, all that came from it is killed."""
        self.cut()
        self.kill_all()

    def reboot(self) -> None:
        """Reboot: every program is gone, the boot has another id, storage stays."""
        self.unplug()
        self.kill_all()
        self._boot()
        self.plug()

    def become(self, kind: str = "device", *, authorized: bool = True) -> None:
        """Come back as a `device`, in `recovery` or `sideload`, or as one that does not know us."""
        self.unplug()
        self._kind, self._authorized = kind, authorized
        self.plug()
        if not authorized:
            self._await_state("unauthorized", "")
        elif kind != "device":
            self._await_state(kind, "")

    def when(self, text: str, action: Callable[[], object], *, times: int = 1) -> None:
        """Do something once a command with this text in it has been started, so many times."""
        self._hooks.append(_Hook(text, action, times))

    def jump_clock(self, seconds: int) -> None:
        """Set the phone's clock forward, or back."""
        self.tree.write("clock_jump_s", f"{seconds}\n")

    def processes(self) -> list[int]:
        """Give the ids of the phone's processes that are alive (on Linux; elsewhere none)."""
        return [int(path.name) for path in Path("/proc").glob("[0-9]*") if self._is_ours(path)]

    def kill_all(self) -> None:
        """Kill every process of the phone."""
        while there := self.processes():
            for pid in there:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def stop(self) -> None:
        """Switch the phone off for good."""
        self.unplug()
        self.kill_all()

    @property
    def received(self) -> list[str]:
        """The files that were sent to it, by their paths there."""
        return self.files.received

    def _boot(self) -> None:
        self.tree.write(BOOT_ID, f"{uuid.uuid4()}\n")

    def _is_ours(self, path: Path) -> bool:
        try:
            if f"{MARK}={self._id}".encode() not in (path / "environ").read_bytes():
                return False
            return (path / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except (OSError, IndexError):
            return False

    def listen(self) -> None:
        """Answer again to a server that calls; `plug` tells it to."""
        if self._listening is None:
            self._listening = socket.create_server(("127.0.0.1", self._port))
            threading.Thread(target=self._accept, args=[self._listening], daemon=True).start()

    def _stop_listening(self, listening: socket.socket) -> None:
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        listening.close()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connected, _ = listening.accept()
            except OSError:  # unplugged
                return
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(
                Wire(connected),
                self._banner(),
                self._find_service,
                max_data=self._profile.max_data_bytes,
                authorized=self._authorized,
            )
            self._connections.append(connection)
            threading.Thread(target=connection.serve, daemon=True).start()

    def _banner(self) -> str:
        facts = [
            f"{key}={self._profile.properties[key]}"
            for key in ("ro.product.name", "ro.product.model", "ro.product.device")
        ]
        if self._profile.features:
            facts.append(f"features={self._profile.features}")
        return f"{self._kind}::{';'.join(facts)};"

    def cut(self) -> None:
        """Break the connection; a server may make another one at once."""
        while self._connections:
            self._connections.pop().close()

    def _find_service(self, name: str) -> Service | None:
        kind, _, text = name.partition(":")
        modern = bool(self._profile.features)
        if kind == "sync":
            return lambda stream: files.serve(self.files, stream)
        if kind == "reboot":
            return lambda stream: self._later(self.reboot)
        if kind == "shell" and text:
            return lambda stream: self._run(text, 1, stream)
        if kind.startswith("shell,") and modern and text:
            return lambda stream: self._run(text, 2 if "v2" in kind.split(",") else 1, stream)
        if kind == "exec" and modern:
            return lambda stream: self._run(text, 0, stream)
        return None

    def _run(self, text: str, protocol: int, stream: Stream) -> None:
        self.commands.append(text)
        for hook in self._hooks:
            if hook.left and hook.text in text:
                hook.left -= 1
                self._later(hook.action)
        environment = {
            "PATH": str(self.tree.tools),
            "SHELL": str(self.tree.tools / "sh"),
            "HOME": "/",
            "TMPDIR": str(self.storage),
            MARK: self._id,
        }
        command = shell.Command(
            self.tree.rewrite(text),
            protocol,
            environment,
            self.tree.folder,
            terminal=self._profile.terminal and protocol == 1,
        )
        shell.run(command, stream)

    def _later(self, action: Callable[[], object]) -> None:
        threading.Thread(target=action, daemon=True).start()

    def _await_state(self, wanted: str, said: str) -> None:
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            listed = self._server.adb("devices")
            if f"{self.serial}\t{wanted}" in listed:
                return
            time.sleep(0.02)
        raise TimeoutError(f"adb does not list {self.serial} as {wanted}: {said} {listed}")
