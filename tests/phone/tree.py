"""The phone's file tree in a folder of this machine, and the programs that stand in for Android's.

A command runs by mksh and the tools of toybox, as on a phone, where this machine has them; else by
its own shell and tools. Paths of the phone in it are rewritten to where they lie
here: all of /data/local/tmp, /sdcard, /sys, /system and /vendor, and those of /proc that the
profile names. Its PATH holds the tools that the profile names and no other.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from phone.profile import Profile

MAPPED = ("/data/local/tmp", "/sdcard", "/sys", "/system", "/vendor")
# A path begins where no name ends: in `a/sys` and `./sys` is none.
WHOLE = re.compile(r"(?<![\w./-])(" + "|".join(MAPPED) + r")(?![\w.-])")
OF_PROC = re.compile(r"(?<![\w./-])/proc/[\w./-]+")
BOOT_ID = "/proc/sys/kernel/random/boot_id"

# Stand-ins, run by this machine's shell; $PHONE is the folder of the tree.
STAND_INS = {
    "getprop": """
        if [ $# -gt 0 ]; then sed -n "s/^\\[$1\\]: \\[\\(.*\\)\\]\\$/\\1/p" "$PHONE/properties"
        else cat "$PHONE/properties"; fi""",
    "dumpsys": """
        if [ $# = 2 ] && [ -s "$PHONE/services/$1 PID" ]; then
            if [ -d "/proc/$2" ]; then sed "s/PID/$2/" "$PHONE/services/$1 PID"
            else echo "No process found for: $2"; fi
        elif [ -s "$PHONE/services/$1" ]; then cat "$PHONE/services/$1"
        else echo "Can't find service: $1" >&2; fi""",
    "settings": """
        file="$PHONE/settings/$2/$3"
        case $1 in
        get) if [ -f "$file" ]; then cat "$file"; else echo null; fi ;;
        put) mkdir -p "$PHONE/settings/$2"; echo "$4" >"$file" ;;
        delete) rm -f "$file" ;;
        *) exit 1 ;;
        esac""",
    "svc": """
        [ "$1 $2" = "power stayon" ] || exit 1
        case $3 in true) on=7 ;; usb) on=2 ;; ac) on=1 ;; wireless) on=4 ;; false) on=0 ;; esac
        settings put global stay_on_while_plugged_in $on""",
    "input": "exit 0",
    "setprop": "exit 1",
    "date": """
        jump=$(cat "$PHONE/clock_jump_s")
        exec /bin/date -d "@$(($(/bin/date +%s) + jump))" "$@" """,
}

# In place of `cat` where a file is to be refused: whoever runs the tests may be root.
REFUSING_CAT = """
code=0
for one in "$@"; do
    if grep -qxF -- "$one" "$PHONE/denied"; then
        echo "cat: $one: Permission denied" >&2
        code=1
    else
        cat "$one" || code=1
    fi
done
exit $code"""


class Tree:
    """The files of one phone.

    Attributes:
        folder: where they lie on this machine.
        tools: the folder of its PATH.
    """

    def __init__(self, folder: Path, profile: Profile) -> None:
        self.folder = folder
        self.tools = folder / "system" / "bin"
        self._lay_out(profile)

    def locate(self, path: str) -> Path:
        """Give where a path of the phone lies here."""
        inside = PurePosixPath("/", path).relative_to("/")
        return self.folder / inside

    def rewrite(self, command: str) -> str:
        """Give the command with the phone's paths in it as this machine's."""
        command = WHOLE.sub(lambda match: str(self.folder) + match[1], command)
        return OF_PROC.sub(self._rewrite_proc, command)

    def write(self, path: str, text: str) -> None:
        """Write a file of the phone."""
        there = self.locate(path)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)

    def set_properties(self, properties: Mapping[str, str]) -> None:
        lines = [f"[{key}]: [{value}]\n" for key, value in sorted(properties.items())]
        (self.folder / "properties").write_text("".join(lines))

    def properties(self) -> dict[str, str]:
        text = (self.folder / "properties").read_text()
        return dict(re.findall(r"^\[(.*?)\]: \[(.*)\]$", text, re.MULTILINE))

    def set_service(self, name: str, text: str) -> None:
        """Write what `dumpsys NAME` says; an empty text: there is no such service."""
        self.write(f"services/{name}", text)

    def deny(self, path: str) -> None:
        """Let `cat` be refused a file."""
        with (self.folder / "denied").open("a") as denied:
            denied.write(f"{self.locate(path)}\n")
        (self.tools / "cat").unlink()
        self._stand_in("cat", f"PATH={os.defpath}:$PATH\n{REFUSING_CAT}")

    def fail(self, tool: str, why: str) -> None:
        """Let a tool of the phone fail from now on, with these words."""
        (self.tools / tool).unlink()
        self._stand_in(tool, f'echo "{tool}: {why}" >&2\nexit 1')

    def _rewrite_proc(self, match: re.Match[str]) -> str:
        there = self.locate(match[0])
        return str(there) if there.exists() else match[0]

    def _lay_out(self, profile: Profile) -> None:
        self.locate("/data/local/tmp").mkdir(parents=True)
        self.set_properties(profile.properties)
        for name, text in profile.services.items():
            self.set_service(name, text)
        for space, pairs in profile.settings.items():
            for key, value in pairs.items():
                self.write(f"settings/{space}/{key}", f"{value}\n")
        for path, text in profile.files.items():
            self.write(path, text)
        self.write("clock_jump_s", "0\n")
        self._lay_out_tools(profile)

    def _lay_out_tools(self, profile: Profile) -> None:
        self.tools.mkdir(parents=True)
        toybox = _toybox()
        for name in profile.tools:
            there = toybox.get(name) or shutil.which(name)
            if there and name not in STAND_INS:
                (self.tools / name).symlink_to(there)
        (self.tools / "sh").symlink_to(shutil.which("mksh") or "/bin/sh")
        for name, script in STAND_INS.items():
            self._stand_in(name, script)

    def _stand_in(self, name: str, script: str) -> None:
        (self.tools / name).write_text(f"#!/bin/sh\nPHONE='{self.folder}'\n{script}\n")
        (self.tools / name).chmod(0o755)


def _toybox() -> dict[str, str]:
    """Give the tools that this machine's toybox has, each with where it is."""
    there = shutil.which("toybox")
    if there is None:
        return {}
    listed = subprocess.run([there], capture_output=True, check=True, encoding="ascii")
    return dict.fromkeys(listed.stdout.split(), there)
