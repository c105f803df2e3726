"""The runner's C source on this machine's own library: the same interface, other processor."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from arm64.pieces import NATIVE
from arm64_examples import SHAPE, absolute_of_doubles, two_convolutions
from onnx import save

compiler = shutil.which("cc")
libraries = sorted(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
pytestmark = pytest.mark.skipif(
    compiler is None or not libraries or sys.platform != "linux",
    reason="needs Linux, a C compiler and a wheel with libonnxruntime.so",
)


@pytest.fixture(scope="module")
def runner(tmp_path_factory):
    built = tmp_path_factory.mktemp("runner") / "runner"
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-rdynamic"]
    command = [compiler, *options, "-o", built, NATIVE / "runner.c", "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return built


@pytest.fixture
def folder(tmp_path):
    save(two_convolutions(), tmp_path / "net.onnx")
    np.random.default_rng(0).random(SHAPE, dtype=np.float32).tofile(tmp_path / "input.f32")
    return tmp_path


def start(runner, folder, *options, model="net.onnx", library=None):
    where = ["--library", library or libraries[-1], "--input", "input.f32"]
    return subprocess.run(
        [runner, model, *where, "--output", "output.f32", *options],
        cwd=folder,
        env={"ORT_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_writes_what_the_python_binding_gives(runner, folder):
    done = start(runner, folder)
    session = onnxruntime.InferenceSession(folder / "net.onnx")
    values = np.fromfile(folder / "input.f32", np.float32).reshape(SHAPE)
    expected = session.run(None, {"input": values})[0]
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        np.fromfile(folder / "output.f32", np.float32), expected.ravel(), atol=1e-5
    )


def test_it_names_the_library_s_version(runner, folder):
    assert start(runner, folder).stdout == f"onnxruntime {onnxruntime.__version__}\n"


def test_it_takes_an_open_shape_from_its_argument(runner, folder):
    save(two_convolutions(shape=(1, 16, "height", "width")), folder / "open.onnx")
    shape = ",".join(map(str, SHAPE))
    done = start(runner, folder, "--shape", shape, model="open.onnx")
    assert done.returncode == 0, done.stderr
    assert (folder / "output.f32").stat().st_size == np.prod(SHAPE) * 4


def test_it_takes_session_config_and_level(runner, folder):
    entries = ["--config", "session.qdqisint8allowed=1", "--opt-level", "basic"]
    done = start(runner, folder, *entries)
    assert done.returncode == 0, done.stderr


def test_it_writes_a_profile(runner, folder):
    assert start(runner, folder, "--profile", "profile").returncode == 0
    (written,) = folder.glob("profile*.json")
    assert "_kernel_time" in written.read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--runs", "0"], "are needed"),
        (["--config", "no-equals-sign"], "is not understood"),
        (["--opt-level", "most"], "no optimization level"),
        (["--runs"], "has no value"),
    ],
)
def test_a_wrong_command_line_ends_with_code_2(options, said, runner, folder):
    done = start(runner, folder, *options)
    assert (done.returncode, said in done.stderr) == (2, True)


def test_a_file_that_is_no_model_ends_with_code_3(runner, folder):
    (folder / "broken.onnx").write_bytes(b"no model")
    done = start(runner, folder, model="broken.onnx")
    assert (done.returncode, "broken.onnx" in done.stderr) == (3, True)


def test_an_open_shape_without_argument_ends_with_code_3(runner, folder):
    save(two_convolutions(shape=(1, 16, "height", "width")), folder / "open.onnx")
    done = start(runner, folder, model="open.onnx")
    assert (done.returncode, "say --shape" in done.stderr) == (3, True)


@pytest.mark.parametrize("many", [-4, 4], ids=["less", "more"])
def test_values_of_another_size_end_with_code_3(many, runner, folder):
    values = (folder / "input.f32").read_bytes()
    (folder / "input.f32").write_bytes(values[:many] if many < 0 else values + bytes(many))
    done = start(runner, folder)
    assert (done.returncode, "exactly the input's values" in done.stderr) == (3, True)


def test_an_input_of_another_type_ends_with_code_3(runner, folder):
    save(absolute_of_doubles(), folder / "double.onnx")
    done = start(runner, folder, model="double.onnx")
    assert (done.returncode, "must be float32" in done.stderr) == (3, True)


def test_a_library_that_is_none_ends_with_code_3(runner, folder):
    done = start(runner, folder, library="/lib/nowhere.so")
    assert (done.returncode, "nowhere.so" in done.stderr) == (3, True)
