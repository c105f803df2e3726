"""How the tests of the emulated runner start it, with the counter or without."""

import subprocess

import pytest

from android_bench import protocol
from android_bench.arm64_cpus import find_cpu
from android_bench.arm64_pieces import find_pieces, loading
from android_bench.runner import find_arm64_runner, find_counter
from deploy.errors import DeviceError

PAGE_BYTES = 4096


def pieces_or_skip():
    """Give the pieces of an emulation, which tests never fetch."""
    try:
        return find_pieces()
    except DeviceError as missing:
        pytest.skip(str(missing))


def emulate(folder, program, *words, plugin=True):
    """Run an aarch64 program on an emulated Cortex-A76; the counter's page is the file `page`."""
    pieces, cpu = pieces_or_skip(), find_cpu("a76")
    (folder / "page").write_bytes(bytes(PAGE_BYTES))
    root = folder / "root"
    root.mkdir(exist_ok=True)
    pieces.make_root(cpu, root)
    command = [pieces.emulator.path, "-L", root, "-cpu", cpu.qemu]
    command += ["-R", "0x4000000000", "-seed", "1", "-U", "LD_LIBRARY_PATH"]
    if plugin:
        command += ["-plugin", f"{find_counter(pieces.emulator.plugin_api)},page=page"]
    return subprocess.run(
        [*map(str, command), str(program), *map(str, words)],
        cwd=folder,
        env=dict(loading(pieces.emulator.libraries)),  # which the guest inherits
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def start_counted(folder, *options, plugin=True, program=None):
    """Run the runner in a folder that `write_inputs` filled."""
    words = ["net.onnx", "--library", pieces_or_skip().library, "--counter", "page"]
    words += ["--input", "input.f32", "--output", "output.f32"]
    return emulate(folder, program or find_arm64_runner(), *words, *options, plugin=plugin)


def count(folder, *options):
    """Give the launch of mode count, with one inference after the first unless options say more."""
    done = start_counted(folder, "--mode", "count", "--warmup", "0", "--min-runs", "1", *options)
    assert done.returncode == 0, done.stderr
    return protocol.parse_launch(done.stdout)
