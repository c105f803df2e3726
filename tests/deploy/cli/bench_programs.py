"""What an emulated phone can run, for tests and for the commands that they start."""

from pathlib import Path

from android_bench.device import DeviceInfo
from android_bench.programs import Programs
from android_bench.runner import host_command


def programs_of_this_machine(info: DeviceInfo, *_: object) -> Programs:
    """Stand in for `programs_for`: this machine's runner and library."""
    program, flag, library = host_command()
    files = [Path(program), Path(library)] if info.is_phone else []
    return Programs([program, flag, library], files)
