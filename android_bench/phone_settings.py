"""Settings of a phone that measuring changes: noted on this machine before, put back after.

The note outlives the process: the next start puts back what a killed one could not. Sessions that
share a phone share its note; the last one puts back.
"""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from android_bench.adb_lease import is_held, state_folder
from android_bench.adb_shell import quote
from android_bench.device import Completed
from deploy.files import unfinished

# Android's names: namespace, key -> the value while measuring.
WANTED = {("global", "stay_on_while_plugged_in"): "7"}  # mains, USB and wireless: a phone that
# sleeps slows down. Source: android.provider.Settings.Global, BatteryManager.BATTERY_PLUGGED_*
UNSET = "null"

Shell = Callable[[str], Completed]


def change_settings(shell: Shell, device_id: str, session: str) -> None:
    """Change what measuring wants changed. What a dead session left changed counts as unchanged.

    Raises:
        DeviceError: the phone does not answer.
        OutputError: the note cannot be written; then nothing is changed.
    """
    with _note(device_id) as path:
        found = _read(path)
        owners = [one for one in found.get("sessions", []) if is_held(one)]
        before = found.get("before", {}) if owners else _put_back(shell, found)
        for (space, key), value in WANTED.items():
            name = f"{space}/{key}"
            if name not in before:
                told = shell(quote("settings", "get", space, key))
                if told.exit_code != 0 or not told.stdout.strip():
                    continue  # there is nothing to put back: leave it alone
                before[name] = told.stdout.strip()
            _write(path, {"sessions": [*owners, session], "before": before})
            if before[name] != value:
                shell(quote("settings", "put", space, key, value))


def restore_settings(shell: Shell, device_id: str, session: str) -> None:
    """Put back what `change_settings` changed, unless another live session wants it on.

    Raises:
        DeviceError: the phone does not answer; the note stays for the next start.
    """
    with _note(device_id) as path:
        found = _read(path)
        others = [one for one in found.get("sessions", []) if one != session and is_held(one)]
        if others:
            _write(path, {**found, "sessions": others})
        elif found:
            _put_back(shell, found)
            path.unlink(missing_ok=True)


def _put_back(shell: Shell, found: dict) -> dict[str, str]:
    """Put back what a note holds; give what is left to note, which is nothing."""
    for name, value in found.get("before", {}).items():
        space, key = name.split("/")
        if value == UNSET:
            shell(quote("settings", "delete", space, key))
        else:
            shell(quote("settings", "put", space, key, value))
    return {}


@contextmanager
def _note(device_id: str) -> Iterator[Path]:
    """Lend the path of a phone's note; one process at a time."""
    path = state_folder() / "phones" / f"{device_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path


def _read(path: Path) -> dict:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _write(path: Path, note: dict) -> None:
    with unfinished(path) as temporary:
        temporary.write_text(json.dumps(note) + "\n")
