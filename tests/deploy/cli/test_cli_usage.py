"""Command lines that say something impossible, and the exit codes of every end."""

import pytest
from cli_examples import command_without, mofa, process, refusal, write_net

from deploy.cli import BUG, DONE, USAGE_ERROR


def test_an_unknown_model_gets_the_nearest_names(refuse):
    line = refuse("export", "--model", "nafnet-tini")
    assert "'nafnet-tini'" in line
    assert "did you mean nafnet-tiny" in line
    assert "mofa-deploy models" in line


def test_run_refuses_an_unknown_model_too(refuse):
    assert "did you mean nafnet-tiny" in refuse("run", "--model", "NAFNet_tiny")


@pytest.mark.parametrize(
    "shape",
    ["", "1,3,64", "1,3,64,64,1", "1,3,h,w", "1,3,0,64", "1,3,-64,64", "1,3,6.4,64", "1,3,²,²"],
)
def test_a_bad_shape_is_named(refuse, shape):
    line = refuse("export", f"--shape={shape}")
    assert f"shape {shape!r} is not N,C,H,W" in line
    assert "1,3,256,256" in line


@pytest.mark.parametrize("shape", ["1,1,64,64", "2,3,64,64"])
def test_only_single_rgb_inputs_are_taken(refuse, judged, shape):
    line = refuse("export", "--shape", shape, *judged)
    assert shape.replace(",", "x") in line
    assert "1x3xHxW" in line


def test_an_input_that_is_no_square_is_not_calibrated(refuse, calibrated, tmp_path):
    net = write_net(tmp_path / "wide.onnx", (1, 3, 64, 96))
    line = refuse("quantize", net, *calibrated)
    assert "64x96" in line
    assert "square" in line


@pytest.mark.parametrize("targets", ["arm", "x86,arm", "", "x86,"])
def test_an_unknown_target_is_named_with_those_there_are(refuse, net, calibrated, targets):
    line = refuse("quantize", net, "--target", targets, *calibrated)
    assert f"unknown target {targets.split(',')[-1]!r}" in line
    assert "use one of arm-cpu, arm-cpu-u8, x86, nnapi" in line


def test_optimize_names_an_unknown_target_too(refuse, net, judged):
    line = refuse("optimize", net, "--target", "dsp", *judged)
    assert "unknown target 'dsp'" in line
    assert "arm-cpu, arm-cpu-u8, x86" in line


def test_a_graph_for_no_target_needs_one(refuse, net, judged):
    line = refuse("optimize", net, *judged)
    assert str(net) in line
    assert "pass --target" in line


@pytest.mark.parametrize("command", ["bench", "run"])
def test_an_unknown_device_is_named_with_those_there_are(refuse, net, judged, command):
    what = [net] if command == "bench" else ["--model", "nafnet-tiny", "--crops", "1"]
    line = refuse(command, *what, "--device", "pixel-99", *judged)
    assert "no device 'pixel-99'" in line
    assert "--device host" in line


@pytest.mark.parametrize(
    ("options", "problem", "next_step"),
    [
        (["--launches", "0"], "launches is 0", "pass 1 or more"),
        (["--threads", "0"], "threads is 0", "pass 1 or more"),
        (["--seconds", "-1"], "seconds is -1.0", "pass 0 or more"),
        (["--warmup", "-1"], "warmup is -1", "pass 0 or more"),
        (["--cooldown", "-1"], "cooldown_s is -1.0", "pass 0 or more"),
        (["--seed", "-1"], "seed is -1", "pass 0 or more"),
        (["--seconds", "9", "--timeout", "5"], "timeout_s 5.0", "raise --timeout"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(refuse, net, options, problem, next_step):
    line = refuse("bench", net, *options)
    assert problem in line
    assert next_step in line


@pytest.mark.parametrize(
    ("options", "problem"), [(["--crops", "0"], "is 0"), (["--seed", "-1"], "seed of crops is -1")]
)
def test_a_choice_of_crops_that_cannot_be_made_is_refused(
    refuse, net, calibrated, options, problem
):
    line = refuse("quantize", net, *calibrated, *options)
    assert problem in line
    assert "or more" in line


@pytest.mark.parametrize(
    "model", ["nosuch_module:Net", ":Net", "json:", "json:Nope", "json:__name__", "a b:c", ".:x"]
)
def test_a_factory_that_cannot_be_had_is_named(refuse, judged, model):
    assert f"{model!r}" in refuse("export", "--model", model, *judged)


USAGE_ERRORS = [
    (["nosuch"], "No such command 'nosuch'"),
    (["export", "--nosuch"], "No such option: --nosuch"),
    (["export", "--model"], "'--model' requires an argument"),
    (["quantize", "--crops", "many"], "'--crops'"),
    (["quantize", "a.onnx", "b.onnx"], "b.onnx"),
    (["bench", "--seconds", "long"], "'--seconds'"),
]


@pytest.mark.parametrize(("arguments", "problem"), USAGE_ERRORS)
def test_a_wrong_command_line_ends_with_2_and_one_line(arguments, problem):
    said = mofa(*arguments)
    (line,) = said.err.splitlines()
    assert said.code == USAGE_ERROR
    assert said.out == ""
    assert line.startswith("error: ")
    assert problem in line
    assert "--help" in line


def test_an_unexpected_exception_ends_with_3_and_asks_for_a_report(monkeypatch):
    def broken():
        raise ZeroDivisionError("nobody thought of this")

    monkeypatch.setattr("deploy.commands.models.list_models", broken)
    said = mofa("models")
    assert said.code == BUG
    assert "Traceback" in said.err
    assert "ZeroDivisionError: nobody thought of this" in said.err
    assert said.err.splitlines()[-1].startswith("this is a bug in mofa-deploy")


@pytest.mark.parametrize(
    ("arguments", "code"), [([], DONE), (["nosuch"], USAGE_ERROR), (["report"], 1)]
)
def test_the_process_ends_with_the_code_of_its_command(arguments, code, tmp_path):
    assert process(*arguments, cwd=tmp_path).code == code


def test_a_missing_package_is_named_with_the_extra_that_brings_it(tmp_path):
    command = command_without(tmp_path, "torch")
    line = refusal(process("export", "--model", "nafnet-tiny", command=command, cwd=tmp_path))
    assert "this needs torch" in line
    assert "pip install 'mofa-deploy[export]'" in line
