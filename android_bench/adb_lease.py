"""Who uses a folder on a phone: the lease in it, and the lock behind the lease on this machine.

A folder whose owner died is removed by the next start. On the machine of the owner that is certain,
for a lock ends with its process; for another machine the lease says until when it counts, on the
clock of the phone that no one can set: the seconds since it was started.
"""

import fcntl
import hashlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import IO

LEASE_S = 900  # a session that did nothing on the phone for so long is dead to other machines


@dataclass(frozen=True)
class Lease:
    """What stands in a session's folder.

    Attributes:
        session: the folder's name.
        host: of the machine and the user who made it, as a hash.
        boot_id: of the boot of the phone that it was written in.
        until_s: on the phone's clock since that boot.
        kept: its owner has left it on purpose.
    """

    session: str
    host: str
    boot_id: str
    until_s: int
    kept: bool


def host_id() -> str:
    """Give the name of this machine and user, as a hash."""
    return hashlib.sha256(f"{platform.node()}:{os.getuid()}".encode()).hexdigest()[:12]


def state_folder() -> Path:
    """Give the folder of what has to be known after this process has died."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "mofa-deploy"


def parse_leases(text: str) -> list[Lease]:
    """Read lines of `session host boot_id until_s kept`; a folder without a lease has less."""
    leases = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 5 and words[3].isdigit():
            leases.append(Lease(words[0], words[1], words[2], int(words[3]), words[4] == "kept"))
        elif words:
            leases.append(Lease(words[0], "", "", 0, False))
    return leases


def is_dead(lease: Lease, boot_id: str, uptime_s: int, *, keeping: bool) -> bool:
    """Say whether a session's folder may be removed.

    Args:
        uptime_s: of the phone, now.
        keeping: what was kept is to be kept on.
    """
    if lease.kept:
        return not keeping
    if lease.host == host_id():
        return not is_held(lease.session)
    if lease.boot_id != boot_id:  # its owner may just be waiting for the phone
        return uptime_s > LEASE_S
    return uptime_s > lease.until_s


def hold(session: str) -> IO[str]:
    """Lock a session's name for as long as this process lives, or the file is open."""
    path = _lock_path(session)
    path.parent.mkdir(parents=True, exist_ok=True)
    held = path.open("w")
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def let_go(session: str, held: IO[str]) -> None:
    """End the lock."""
    _lock_path(session).unlink(missing_ok=True)
    held.close()


def is_held(session: str) -> bool:
    """Say whether the process of a session on this machine is alive. Sweeps the lock if not."""
    path = _lock_path(session)
    try:
        with path.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
            return False
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _lock_path(session: str) -> Path:
    return state_folder() / "sessions" / session
