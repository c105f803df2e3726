"""What has to be on a device to measure there: the runner and ONNX Runtime's library."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from android_bench.arm64_pieces import find_pieces
from android_bench.device import DeviceInfo
from android_bench.elf import API_LEVEL
from android_bench.runner import find_arm64_runner, find_runner, host_command
from android_bench.runtimes import find_runtime
from android_bench.toolchain import PHONE_ABIS
from deploy.errors import DeviceError


@dataclass(frozen=True)
class Programs:
    """How the runner of a device is called.

    Attributes:
        command: the program and its first arguments.
        files: those of its words that are files to be put on the device first.
    """

    command: Sequence[str]
    files: Sequence[Path] = ()


def programs_for(
    info: DeviceInfo, models: Sequence[Path], tell: Callable[[str], None] = lambda line: None
) -> Programs:
    """Give the runner for a device; it is built where it is not there yet.

    Args:
        models: that are to be measured; a phone's library has to read them all.
        tell: called with a line before anything that takes long.

    Raises:
        DeviceError: its Android is too old; or there is no runner for it and none can be built;
            or no library of ONNX Runtime for it reads the models, or loads with its pages. What to
            fetch is named.
    """
    if info.emulated_cpu is not None:
        runner, library = find_arm64_runner(), find_pieces().library
        return Programs([str(runner), "--library", str(library)], [runner, library])
    if not info.is_phone:
        return Programs(host_command())
    _require_supported(info)  # before a library is asked for that nothing could load
    library = find_runtime(info.abi, models, page_bytes=info.page_size_bytes, tell=tell).path
    runner = find_runner(info.abi)
    return Programs([str(runner), "--library", str(library)], [runner, library])


def _require_supported(info: DeviceInfo) -> None:
    if info.sdk is not None and info.sdk < API_LEVEL:
        raise DeviceError(
            f"{info.name} has API level {info.sdk}, the runner needs {API_LEVEL}",
            "measure on a phone with Android 7 or later",
        )
    if info.abi not in PHONE_ABIS:
        raise DeviceError(
            f"{info.name} runs {info.abi or 'an unknown ABI'}, the runner is for "
            f"{' and '.join(PHONE_ABIS)}",
            "measure on a phone whose system has 64 bits",
        )
