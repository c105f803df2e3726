"""A private adb server: a port, a home and keys of its own; nobody else's is touched."""

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 30
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

        done = subprocess.run(
            [adb_path(), *argv],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=check,
            encoding="utf-8",
            errors="replace",
        )
        return done.stdout

    def stop(self) -> None:
        """End this server, and no other."""
        self.adb("kill-server", check=False)


def start_adb_server(folder: Path) -> AdbServer:
    """Start a server whose keys and log lie in a folder, and that takes no phone on USB."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    server = AdbServer(
        port,
        {
            "ANDROID_ADB_SERVER_PORT": str(port),
            "ANDROID_ADB_LOG_PATH": str(folder / "adb.log"),
            "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",  # looks for no emulator
            "ADB_MDNS": "0",
            "ADB_USB": "0",  # takes no phone from a developer's own server
            "HOME": str(folder),
            "TMPDIR": str(folder),
        },
    )
    server.adb("start-server")
    return server
