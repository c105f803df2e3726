"""What the tests of the native runner share: a compiler, stand-in libraries, ways to start it."""

import os
import subprocess

import numpy as np
from bench_examples import SHAPE, two_convs
from onnx import save

from android_bench import protocol
from android_bench.runner import host_command, host_library
from android_bench.toolchain import find_toolchain, host_abi

# Exports what ONNX Runtime does, by the real one; and the entry of NNAPI, which adds nothing.
RUNTIME_WITH_NNAPI = """
#include <dlfcn.h>
#include <stddef.h>
void *OrtSessionOptionsAppendExecutionProvider_Nnapi(void *options, unsigned flags)
{ (void)options; return flags == 0 || flags == 5 ? NULL : (void *)1; }
const void *OrtGetApiBase(void)
{
    void *real = dlopen(REAL, RTLD_NOW);
    return ((const void *(*)(void))dlsym(real, "OrtGetApiBase"))();
}
"""
# What Android's C library has besides, of a device of some SDK.
PROPERTIES = """
#include <string.h>
int __system_property_get(const char *name, char *value)
{
    strcpy(value, strcmp(name, "ro.build.version.sdk") == 0 ? SDK : "");
    return (int)strlen(value);
}
"""


def compile_c(source, built, *flags):
    """Compile for this machine with what the runner is compiled with here."""
    toolchain = find_toolchain(host_abi())
    command = [*toolchain.command, *(["cc"] if toolchain.name == "zig" else [])]
    path = built.with_suffix(".c")
    path.write_text(source)
    return subprocess.run(
        [*command, "-w", "-o", str(built), str(path), *flags],
        capture_output=True,
        text=True,
        check=False,
    )


def make_library(folder, name, source, **macros):
    defines = [f'-D{key}="{value}"' for key, value in macros.items()]
    done = compile_c(source, folder / name, "-shared", "-fPIC", *defines, "-ldl")
    assert done.returncode == 0, done.stderr
    return folder / name


def write_inputs(folder, model=None):
    save(model or two_convs(), folder / "net.onnx")
    np.random.default_rng(0).random(SHAPE).astype("<f4").tofile(folder / "input.f32")
    return folder


def start(folder, *options, library=None, program=None, model="net.onnx", preload=None):
    """Run the runner in a folder that `write_inputs` filled."""
    command = [program or host_command()[0], "--library", str(library or host_library()), model]
    command += ["--input", "input.f32", "--output", "output.f32", "--seconds", "0"]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    if preload is not None:
        environment["LD_PRELOAD"] = str(preload)
    return subprocess.run(
        [*map(str, command), *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def launch(folder, *options, **how):
    completed = start(folder, *options, **how)
    assert completed.returncode == 0, completed.stderr
    return protocol.parse_launch(completed.stdout)


def failure(folder, *options, **how):
    """Run what must fail; give the exit code and the failure."""
    completed = start(folder, *options, **how)
    return completed.returncode, protocol.parse_launch(completed.stdout).failure
