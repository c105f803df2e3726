"""What an emulated phone can run, for tests and for the commands that they start."""

from pathlib import Path

from android_bench.programs import Programs
from android_bench.runner import host_command


def programs_of_this_machine(*_: object) -> Programs:
    """Stand in for `programs_for`: this machine's runner and library."""
    program, _flag, library = host_command()
    return Programs([program, "--library", library], [Path(program), Path(library)])
