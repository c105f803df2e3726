"""A program on a phone that outlives the cable: the shell text that starts it, asks and ends it.

The program runs in a process group of its own under a small script, its output goes to files, and
the last thing the script does is to give the file `code` its name. Then the group is killed, so
that nothing stays behind. A second process of the group, asleep, ends the launch on the phone when
its time is long over, for the case that this machine never comes back.

Waiting wakes nothing on the phone while the program runs: the shell that started it waits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from android_bench.adb_shell import quote

OVERTIME_S = 60  # how long after its time limit the phone ends a launch by itself

DONE = "done"
RUNNING = "running"
EXPIRED = "expired"  # its time was long over, and the phone ended it
REBOOTED = "rebooted"  # the phone was started again before it was done
GONE = "gone"  # it began, and is no more
NEVER = "never"  # it has not begun
KINDS = (DONE, RUNNING, EXPIRED, REBOOTED, GONE, NEVER)

BOOT_ID = "/proc/sys/kernel/random/boot_id"

# $1 the launch's folder, $2 the seconds until the phone ends it by itself, then the program.
# `cancel` is looked for after `pid` is written; who cancels writes it before looking for `pid`.
_SCRIPT = """\
d=$1 s=$2; shift 2
echo $$ >"$d/pid"
[ -e "$d/cancel" ] && exit
(sleep $s; : >"$d/expired"; kill -KILL -$$) &
"$@" >"$d/out" 2>"$d/err"
echo $? >"$d/code.new"; mv "$d/code.new" "$d/code"
kill -KILL -$$"""

# A process id is ours only if its command line names the launch: ids are used again.
_END = """\
end() {
[ -d "${1%/*}" ] && mkdir -p "$1" && : >"$1/cancel"
p=$(cat "$1/pid" 2>/dev/null) || return 0
case $(cat /proc/$p/cmdline 2>/dev/null) in *"$1"*) kill -KILL -$p;; esac
}
"""


@dataclass(frozen=True)
class LaunchState:
    """Where a launch stands.

    Attributes:
        kind: one of KINDS.
        exit_code: of a launch that is DONE.
        out, err: what its output is known by, as `tell_checksum` prints it; empty: there is none.
    """

    kind: str
    exit_code: int | None
    out: str
    err: str


def start_command(
    launch: PurePosixPath, argv: Sequence[str], limit_s: float, lease: str, report: str
) -> str:
    """Give the command that starts a program, waits for it, and reports.

    It fails, and starts nothing, where the session's folder or the program is not there. Launches
    before this one are ended and removed.

    Args:
        launch: a folder in the session's one; it must not exist yet.
        lease: the command that renews the session's lease.
        report: see `report_command`.
    """
    detached = quote("setsid", "sh", "-c", _SCRIPT, "sh", launch, int(limit_s + OVERTIME_S), *argv)
    return (
        f"cd {quote(launch.parent)} || exit 1\n{_END}"
        'for d in "$PWD"/.launch-*; do end "$d"; rm -rf "$d"; done\n'
        f"command -v {quote(argv[0])} >/dev/null || exit 127\n"
        f"{lease} && mkdir {quote(launch)} || exit 1\n"
        f"cat {BOOT_ID} >{quote(launch / 'boot')}\n"
        f"{detached} </dev/null >/dev/null 2>&1 &\n"
        f"wait $!\n{report}"
    )


def report_command(launch: PurePosixPath, tell_checksum: Callable[[PurePosixPath], str]) -> str:
    """Give the command that tells where a launch stands, see `parse_report`."""
    out, err = (tell_checksum(launch / name) for name in ("out", "err"))
    return (
        f"d={quote(launch)}; k={GONE}; [ -e $d/pid ] || k={NEVER}\n"
        "p=$(cat $d/pid) && "
        f'case $(cat /proc/$p/cmdline) in *"$d"*) k={RUNNING};; esac\n'
        f'[ "$(cat $d/boot)" = "$(cat {BOOT_ID})" ] || [ $k = {NEVER} ] || k={REBOOTED}\n'
        f"[ -e $d/expired ] && k={EXPIRED}; [ -e $d/code ] && k={DONE}\n"
        f"echo $k; cat $d/code || echo\n"
        f"[ $k = {RUNNING} ] || {{ o=$({out}); echo $o; e=$({err}); echo $e; }}"
    )


def parse_report(told: str) -> LaunchState | None:
    """Read what `report_command` prints; None where it is not whole."""
    lines = [line.strip() for line in told.splitlines()]
    if not lines or lines[0] not in KINDS:
        return None
    kind, code, out, err = (lines + [""] * 4)[:4]
    if kind == DONE and not code.isdigit():  # the rename outlived what was written, after a crash
        kind = REBOOTED
    return LaunchState(kind, int(code) if code.isdigit() else None, out, err)


def pid_command(launch: PurePosixPath) -> str:
    """Give the command that prints the id of the program itself, if it runs.

    Beside it the launch's shell has a child that ends the launch one day; it is a copy of that
    shell, so its command line names the launch.
    """
    return (
        f"d={quote(launch)}; p=$(cat $d/pid) || exit 0\n"
        'for s in $(grep -lx "PPid:[^0-9]*$p" /proc/[0-9]*/status); do\n'
        'case $(cat ${s%/status}/cmdline) in *"$d"*) ;; *) s=${s%/status}; echo ${s##*/};; esac\n'
        "done"
    )


def end_command(launch: PurePosixPath) -> str:
    """Give the command that kills a launch with all its children; one that starts never will."""
    return f"{_END}end {quote(launch)}"


def end_all_command(session: PurePosixPath) -> str:
    """Give the command that kills every launch of a session."""
    return f'{_END}for d in {quote(session)}/.launch-*; do [ -d "$d" ] && end "$d"; done'


def sweep_command(sessions: Sequence[PurePosixPath]) -> str:
    """Give the command that ends every launch in these folders, and removes the folders."""
    ends = (f"{end_all_command(one)}\nrm -rf {quote(one)}" for one in sessions)
    return "\n".join(ends)
