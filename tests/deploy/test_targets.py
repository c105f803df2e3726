import platform

import pytest

from deploy.codes import TYPES
from deploy.errors import UsageError
from deploy.targets import TARGETS, find_target, host_target, made_for_other_hardware


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_every_target_has_types_that_are_known_and_a_reason(target):
    assert target.activations in TYPES
    assert target.weights == "QInt8"
    assert len(target.why) > 10


def test_a_target_may_be_named_with_the_type_that_it_has():
    assert find_target("arm-cpu-s8") is TARGETS["arm-cpu"]
    assert find_target("x86-u8") is TARGETS["x86"]


@pytest.mark.parametrize(
    ("name", "able"),
    [("x86-s8", "arm-cpu or xnnpack"), ("nnapi-s8", "arm-cpu or xnnpack"), ("x86-u16", "qnn-u16")],
)
def test_types_that_a_target_cannot_take_name_the_targets_that_can(name, able):
    with pytest.raises(UsageError, match=rf"takes no Q\w+ activations .*: use --target {able}"):
        find_target(name)


@pytest.mark.parametrize("name", ["gpu", "x86-s4", "", "-u8"])
def test_an_unknown_target_lists_all(name):
    with pytest.raises(UsageError, match=r"unknown target .*: use one of arm-cpu, arm-cpu-u8, x86"):
        find_target(name)


@pytest.mark.parametrize(
    ("target", "abi", "foreign"),
    [
        ("arm-cpu", "x86_64", True),
        ("x86", "arm64-v8a", True),
        ("nnapi", "AMD64", True),
        ("x86", "x86_64", False),
        ("arm-cpu-u8", "aarch64", False),
        (None, "x86_64", False),
        ("arm-cpu", "riscv64", False),
    ],
)
def test_what_is_made_for_other_hardware_is_told(target, abi, foreign):
    assert made_for_other_hardware(target, abi) == foreign


def test_a_processor_without_a_target_is_told(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(UsageError, match="no target for processor 'riscv64'"):
        host_target()
