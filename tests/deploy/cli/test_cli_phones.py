"""`bench` on several devices: what is printed, and what becomes of those that cannot be used."""

import json

import pytest
from bench_programs import programs_of_this_machine
from cli_examples import EXPECTED_ERROR, QUICK, mofa

from deploy.commands import bench_devices


@pytest.fixture
def bench(net, judged, out, monkeypatch):
    monkeypatch.setattr(bench_devices, "programs_for", programs_of_this_machine)
    options = (*QUICK, "--no-memory", *judged, "--out", out)
    return lambda *devices: mofa("bench", net, *options, "--json", "--device", ",".join(devices))


def test_devices_beside_one_that_is_locked_are_measured_and_printed_as_one_document(
    bench, start_phone
):
    phone, locked = start_phone(), start_phone()
    locked.become(authorized=False)
    said = bench("host", locked.serial, phone.serial)
    assert said.code == EXPECTED_ERROR
    assert f"{locked.serial} is unauthorized: unlock its screen" in said.err.splitlines()[-1]
    printed = json.loads(said.out)
    assert [one["cases"][0]["device"] for one in printed] == ["host", "Example Phone 14"]
    assert list(phone.storage.iterdir()) == []


def test_a_phone_that_is_not_plugged_in_does_not_stop_the_others(bench, start_phone):
    phone, gone = start_phone(), start_phone()
    gone.unplug()
    said = bench(gone.serial, phone.serial)
    assert said.code == EXPECTED_ERROR
    assert f"there is no phone {gone.serial}: plug it in" in said.err.splitlines()[-1]
    (printed,) = json.loads(said.out)
    assert printed["cases"][0]["device"] == "Example Phone 14"


def test_a_phone_that_all_leaves_out_is_told_and_no_failure(bench, start_phone):
    phone, locked = start_phone(), start_phone()
    locked.become(authorized=False)
    said = bench("all")
    assert said.code == 0
    assert f"left out: {locked.serial} is unauthorized: unlock its screen" in said.err
    assert [one["device"] for one in json.loads(said.out)["cases"]] == ["Example Phone 14"]
    assert list(phone.storage.iterdir()) == []


def test_where_all_are_locked_the_first_is_said_and_nothing_is_measured(bench, start_phone):
    phones = [start_phone(), start_phone()]
    for phone in phones:
        phone.become(authorized=False)
    said = bench(*(phone.serial for phone in phones))
    assert said.code == EXPECTED_ERROR
    assert json.loads(said.out) == []
    assert f"error: {phones[0].serial} is unauthorized" in said.err
    assert f"{phones[1].serial} failed: " in said.err
