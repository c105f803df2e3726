"""Commands in a phone's shell. The last line is our own: its absence is a command cut off.

An old adb daemon gives no exit code and puts both outputs into one stream, so the code and
standard error travel in the text, behind a word that nothing else prints. Works in mksh (Android's
shell) and dash.
"""

import secrets
import shlex
import time

from android_bench.adb_call import call_adb, phone_state, state_error
from android_bench.device import Completed


def quote(*words: object) -> str:
    """Give words as one text for the device's shell, which takes it apart exactly once."""
    return shlex.join(str(word) for word in words)


def reason(said: str, otherwise: str = "no reason given") -> str:
    """Give the last line of what a command said, for an error, which has one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else otherwise


def run_shell(serial: str, command: str, timeout_s: float, *, was_there: bool = True) -> Completed:
    """Run a command in the phone's shell and wait for it.

    Args:
        command: text for the shell; what is not ours in it went through `quote`.
        was_there: the phone has answered before; if it does not now, it may well come back.

    Raises:
        DeviceError: the phone cannot be used, or refuses.
        TransientDeviceError: the connection broke, or the time was up.
    """
    word = f"mofa-{secrets.token_hex(8)}"
    start_ns = time.perf_counter_ns()
    argv = ["shell", "-n", _told(command, word)]
    answer = call_adb(argv, serial=serial, timeout_s=timeout_s)
    completed = _parse(answer.stdout, word, time.perf_counter_ns() - start_ns)
    if completed is None:
        raise state_error(serial, phone_state(serial), was_there=was_there)
    return completed


def _told(command: str, word: str) -> str:
    """Give a command that tells its code and its errors behind `word`.

    Standard output goes by as it comes, through a copy of its descriptor.
    """
    return (
        f"exec 3>&1\ne=$({{ {command}\n}} 2>&1 >&3 3>&- </dev/null)\nr=$?\n"
        f'echo\necho "{word} $r"\necho "$e"\necho "{word} end"'
    )


def _parse(text: bytes, word: str, duration_ns: int) -> Completed | None:
    """Take the answer apart; None: it is not whole."""
    mark = word.encode()
    if b"\r\n" + mark in text:  # the shell was a terminal
        text = text.replace(b"\r\n", b"\n")
    parts = text.split(b"\n" + mark + b" ")
    if len(parts) != 3 or parts[2].strip() != b"end":
        return None
    code, _, errors = parts[1].partition(b"\n")
    if not code.strip().isdigit():
        return None
    return Completed(int(code), _decoded(parts[0]), _decoded(errors), duration_ns)


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")
