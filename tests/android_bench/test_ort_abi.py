"""The places of ONNX Runtime's functions, against its header where there is one and a library.

No wheel carries the header. ORT_C_API_HEADER names one; an unpacked onnxruntime-android has it at
headers/onnxruntime_c_api.h.
"""

import os
import re
from pathlib import Path

import pytest
from native_examples import launch, write_inputs

from android_bench.elf import NATIVE

ABI = (NATIVE / "ort_abi.h").read_text()
PLACES = {name: int(place) for name, place in re.findall(r"X\((\w+), (\d+),", ABI)}

# From the static assertions on the size of each version of the interface.
# Source: microsoft/onnxruntime, onnxruntime/core/session/onnxruntime_c_api.cc
LAST_OF_VERSIONS = {6: 161, 12: 218, 13: 224}


def members(header):
    """Give the members of struct OrtApi, in their order."""
    body = header[header.index("struct OrtApi {") :]
    body = body[: body.index("\n};")]
    body = re.sub(r"/\*.*?\*/|//[^\n]*", "", body, flags=re.DOTALL)
    found = re.findall(
        r"ORT_API2_STATUS\(\s*(\w+)"
        r"|ORT_CLASS_RELEASE\(\s*(\w+)\s*\)"
        r"|ORT_API_T\([^,]+,\s*(\w+)"
        r"|\(\s*ORT_API_CALL\s*\*\s*(\w+)\s*\)",
        body,
    )
    return [status or (release and f"Release{release}") or typed or plain
            for status, release, typed, plain in found]  # fmt: skip


def test_the_members_of_a_header_are_found_in_order():
    header = """
struct OrtApi {
  // ORT_API2_STATUS(NotThis, int);
  OrtStatus*(ORT_API_CALL* CreateStatus)(OrtErrorCode code)NO_EXCEPTION;
  /* ORT_API2_STATUS(NorThis, int); */
  ORT_API2_STATUS(CreateEnv, OrtLoggingLevel level, _Outptr_ OrtEnv** out);
  ORT_CLASS_RELEASE(Env);
  ORT_API_T(uint32_t, GetVendor, int x);
};
"""
    assert members(header) == ["CreateStatus", "CreateEnv", "ReleaseEnv", "GetVendor"]


def test_every_place_is_that_of_the_header():
    path = os.environ.get("ORT_C_API_HEADER")
    if path is None:
        pytest.skip("no header here (ORT_C_API_HEADER)")
    order = members(Path(path).read_text())
    assert {name: order.index(name) for name in PLACES if name in order} == {
        name: place for name, place in PLACES.items() if name in order
    }
    assert len(order) > PLACES["SessionOptionsAppendExecutionProvider"]


def test_what_every_launch_needs_is_in_the_oldest_interface_that_is_tried():
    oldest = int(re.search(r"ORT_OLDEST_API (\d+)", ABI)[1])
    always = ABI[: ABI.index("ORT_ASSIGNMENT_MEMBERS(X)")]
    places = [int(place) for place in re.findall(r"X\(\w+, (\d+),", always)]
    assert max(places) <= LAST_OF_VERSIONS[oldest]


def test_no_place_is_taken_twice():
    assert len(set(PLACES.values())) == len(PLACES)


def test_the_installed_library_answers_at_every_place(tmp_path):
    """Each mode calls other members; one at a wrong place would crash or give another shape."""
    write_inputs(tmp_path)
    for mode in (
        ["--mode", "latency"],
        ["--mode", "profile", "--profile", "p.json"],
        ["--mode", "save", "--save", "s.onnx"],
    ):
        seen = launch(tmp_path, *mode)
        assert seen.session.input_shape == (1, 3, 16, 16)
        assert [one.op_type for one in seen.assignment.nodes] == ["Conv", "Conv"]
