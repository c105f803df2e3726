"""A session's folder on a phone: made at its start, removed at its end, swept if that never came.

All of it lies below ROOT: a folder for each session, with its lease, and the cache of files.
"""

import os
import re
import secrets
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from android_bench.adb_files import HASH_TOOLS, PhoneFiles
from android_bench.adb_launch import end_all_command, sweep_command
from android_bench.adb_lease import LEASE_S, hold, host_id, is_dead, let_go, parse_leases
from android_bench.adb_link import Link
from android_bench.adb_shell import quote, reason
from deploy.errors import DeviceError

ROOT = PurePosixPath("/data/local/tmp/mofa-deploy")
CACHE = ROOT / "cache"
CACHE_BYTES = 1 << 30  # of files that no session uses any more
NEXT = "-- next --"

_HELLO = f"""\
cat /proc/sys/kernel/random/boot_id || echo
cat /proc/uptime || echo 0
for t in {" ".join(HASH_TOOLS)} none; do command -v $t >/dev/null && break; done; echo $t
echo "{NEXT}"
for d in {ROOT}/*/; do
d=${{d%/}}; [ -d "$d" ] && [ "$d" != {CACHE} ] && echo "${{d##*/}} $(cat "$d/.lease")"
done
echo "{NEXT}"
ls -t {CACHE} | while read f; do echo "$f $(wc -c <{CACHE}/$f)"; done"""

# The last one switches off the light: without another session's folder there is nothing to keep.
_LEAVE = f"""\
n=0; for d in {ROOT}/*/; do case "$d" in {CACHE}/|"{ROOT}/*/") ;; *) n=1;; esac; done
[ $n = 1 ] || rm -rf {ROOT}"""


@dataclass(frozen=True)
class Session:
    """What a session has open on a phone.

    Attributes:
        held: the lock that tells other processes of this machine that this one lives.
    """

    files: PhoneFiles
    held: IO[str]

    @property
    def folder(self) -> PurePosixPath:
        """Where its files lie, and its programs run."""
        return self.files.folder


def open_session(link: Link, *, keeping: bool) -> Session:
    """Make a session's folder on a phone; sweep what dead sessions have left there.

    Args:
        keeping: leave what was kept on purpose.

    Raises:
        DeviceError: the phone cannot be used, or refuses a folder.
        TransientDeviceError: the connection broke.
    """
    parts = [*link.shell(_HELLO).stdout.split(NEXT), "", ""]
    boot_id, uptime, hash_tool = (parts[0].split("\n") + [""] * 3)[:3]
    leases = parse_leases(parts[1])
    seconds = re.match(r"\d+", uptime)
    uptime_s = int(seconds[0]) if seconds else 0
    dead = [one for one in leases if is_dead(one, boot_id.strip(), uptime_s, keeping=keeping)]
    if dead:
        link.shell(sweep_command([ROOT / one.session for one in dead]))
    if len(dead) == len(leases):  # nobody else is here
        link.shell(_tidy_command(parts[2]))
    name = f"{host_id()}-{os.getpid()}-{secrets.token_hex(4)}"
    held = hold(name)
    try:
        _make_folder(link, name)
    except BaseException:
        let_go(name, held)
        raise
    tool = hash_tool.strip() if hash_tool.strip() in HASH_TOOLS else None
    return Session(PhoneFiles(link.serial, link.shell, ROOT / name, CACHE, tool), held)


def close_session(link: Link, session: Session, *, keep: bool) -> None:
    """Remove a session's folder, and with the last one everything; or mark it as kept.

    Raises:
        DeviceError: the phone is gone; the next start removes it.
    """
    try:
        if keep:
            ends = end_all_command(session.folder)
            link.shell(f"{ends}\n{lease_command(session.folder, kept=True)}")
        else:
            link.shell(sweep_command([session.folder]) + "\n" + _LEAVE)
    finally:
        let_go(session.folder.name, session.held)


def lease_command(folder: PurePosixPath, *, busy_s: int = 0, kept: bool = False) -> str:
    """Give the command that writes a session's lease anew, see `adb_lease.Lease`.

    Args:
        busy_s: how long from now nothing else will be heard of the session.
    """
    new, lease = quote(folder / ".lease.new"), quote(folder / ".lease")
    return (
        f"{{ read u x </proc/uptime; b=$(cat /proc/sys/kernel/random/boot_id); "
        f'echo "{host_id()} ${{b:-unknown}} $((${{u%.*}} + {LEASE_S + busy_s})) '
        f'{"kept" if kept else "live"}" >{new} && mv -f {new} {lease}; }}'
    )


def _make_folder(link: Link, name: str) -> None:
    """Make the folder under a name that no sweep looks at, for it has no lease yet."""
    new, final = ROOT / f".{name}", ROOT / name
    made = link.shell(
        f"mkdir -p {CACHE} && mkdir {quote(new)} && {lease_command(new)} && "
        f"mv {quote(new)} {quote(final)}"
    )
    if made.exit_code != 0:
        raise DeviceError(
            f"{link.serial} refuses a folder in {ROOT.parent} ({reason(made.stderr)})",
            "free some space on it, or look at who owns that folder",
        )


def _tidy_command(cached: str) -> str:
    """Give the command that removes what was left half-done, and what is too much in the cache.

    Args:
        cached: lines of a cached file and its size, the one used last first.
    """
    total_bytes, old = 0, []
    for line in cached.splitlines():
        name, _, size_bytes = line.strip().partition(" ")
        total_bytes += int(size_bytes) if size_bytes.strip().isdigit() else 0
        if total_bytes > CACHE_BYTES:
            old.append(CACHE / name)
    return f"rm -rf {ROOT}/.[!.]* {CACHE}/.[!.]* {quote(*old)}"
