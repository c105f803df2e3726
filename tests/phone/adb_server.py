"""A private adb server: a port, a home and keys of its own; nobody else's is touched."""

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 30
# what leads adb programs to a developer's phones, whatever the port
LEAD_ELSEWHERE = ("ANDROID_SERIAL", "ANDROID_ADB_SERVER_ADDRESS", "ADB_SERVER_SOCKET")
EMULATOR_PORTS = range(5555, 5586)  # a server looks for emulators there by itself


def free_port() -> int:
    """Give a port of loopback that nothing listens on, where no server looks by itself."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port: int = listening.getsockname()[1]
        if port not in EMULATOR_PORTS:
            return port


@dataclass(frozen=True)
class AdbServer:
    """An adb server that runs on a port of its own.

    Attributes:
        environment: what points any adb program to this server and keeps it off all others.
    """

    port: int
    environment: Mapping[str, str]

    def adb(self, *argv: str, check: bool = True) -> str:
        """Run the adb program against this server; give what it said."""
        from adbutils import adb_path

        ours = {key: value for key, value in os.environ.items() if key not in LEAD_ELSEWHERE}
        done = subprocess.run(
            [adb_path(), *argv],
            env={**ours, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=check,
            encoding="utf-8",
            errors="replace",
        )
        return done.stdout

    def is_running(self) -> bool:
        """Say whether anything listens on its port."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def start(self) -> None:
        """Start it, unless it runs."""
        self.adb("start-server")

    def stop(self) -> None:
        """End this server, and no other."""
        if self.is_running():
            self.adb("kill-server", check=False)


def private_server(folder: Path) -> AdbServer:
    """Give a server, not started yet, whose keys and log lie in a folder.

    It takes no phone on USB, and looks for none in the network and among emulators.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = {
        "ANDROID_ADB_SERVER_PORT": str(port),
        "ANDROID_ADB_LOG_PATH": str(folder / "adb.log"),
        "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",
        "ADB_MDNS": "0",
        "ADB_USB": "0",
        "HOME": str(folder),
        "TMPDIR": str(folder),
    }
    return AdbServer(port, environment)


def start_adb_server(folder: Path) -> AdbServer:
    """Give a private server that runs."""
    server = private_server(folder)
    server.start()
    return server
