"""Version 2 of the protocol: modes, the sampler, who computes what."""

import pytest
from bench_examples import as_text, launch_records

from android_bench.protocol import parse_launch, parse_so_far
from android_bench.records import Node, Profile, Sampler, Saved, Share, Smaps
from deploy.errors import BenchOutputError

VMAS = {"[anon:scudo:primary]": [4096, 4096, 4096, 0], "": [8192, 8192, 0, 0]}
SMAPS = {"record": "smaps", "t_ns": 5, "phase": "loaded", "vmas": VMAS}
SAMPLER = {
    "record": "sampler",
    "readings": 1,
    "interval_mean_ns": 10,
    "interval_max_ns": 12,
    "read_mean_ns": 3,
    "read_max_ns": 4,
    "truncated": 0,
}
ASSIGNMENT = {
    "record": "assignment",
    "source": "api",
    "nodes_total": 2,
    "providers": {
        "NnapiExecutionProvider": {"nodes": 1, "partitions": 1},
        "CPUExecutionProvider": {"nodes": 1, "partitions": None},
    },
    "nodes": [
        {"name": "a", "op_type": "Conv", "provider": "NnapiExecutionProvider", "partition": 0},
        {"name": "b", "op_type": "Resize", "provider": "CPUExecutionProvider", "partition": None},
    ],
}
PROFILE = {"record": "profile", "file": "profile.json", "bytes": 9}
SAVED = {"record": "saved", "file": "net.ort", "bytes": 9, "sha256": "cd"}


def records(mode="latency", *, steady=2, drop=(), **begin):
    """Give the records of a good launch of a mode, those of `drop` left out."""
    made = launch_records(steady=steady, protocol=2, mode=mode, **begin)
    return [one for one in made if one["record"] not in drop]


def inserted(made, one, *, before):
    place = next(place for place, other in enumerate(made) if other["record"] == before)
    return [*made[:place], one, *made[place:]]


def refusal(made):
    with pytest.raises(BenchOutputError) as refused:
        parse_launch(as_text(made))
    return refused.value.problem


def test_the_sampler_s_readings_are_kept_with_how_close_they_were():
    made = inserted(records("memory", interval_ms=10), SMAPS, before="session")
    launch = parse_launch(as_text(inserted(made, SAMPLER, before="peak")))
    assert launch.smaps == (Smaps("loaded", 5, VMAS),)
    assert launch.sampler == Sampler(1, 10, 12, 3, 4, 0)
    assert (launch.begin.mode, launch.begin.interval_ms) == ("memory", 10)


def test_who_computes_what_is_kept_by_provider_and_by_node():
    launch = parse_launch(as_text(inserted(records(), ASSIGNMENT, before="sample")))
    assert launch.assignment.providers["NnapiExecutionProvider"] == Share(1, 1)
    assert launch.assignment.nodes[1] == Node("b", "Resize", "CPUExecutionProvider", None)


def test_a_launch_that_cannot_tell_who_computes_says_so():
    nothing = {"record": "assignment", "source": "none", "nodes_total": None, "providers": {}}
    launch = parse_launch(as_text(inserted(records(), nothing, before="sample")))
    assert (launch.assignment.nodes_total, launch.assignment.nodes) == (None, None)


def test_a_profile_comes_at_the_end_of_its_mode():
    made = inserted(records("profile"), PROFILE, before="done")
    assert parse_launch(as_text(made)).profile == Profile("profile.json", 9)


def test_a_saved_graph_comes_without_an_inference():
    bare = records("save", steady=0, drop=("sample", "output"), warmup=0)
    bare[-1]["n"] = 0
    made = inserted(bare, SAVED, before="done")
    launch = parse_launch(as_text(made))
    assert (launch.saved, launch.samples, launch.output) == (Saved("net.ort", 9, "cd"), (), None)


def test_a_check_has_the_first_inference_alone():
    made = records("check", steady=0, warmup=0)
    made = [one for one in made if one.get("iteration", 0) == 0]
    made[-1]["n"] = 1
    assert len(parse_launch(as_text(made)).samples) == 1


@pytest.mark.parametrize(
    ("mode", "lacks"), [("latency", "output"), ("profile", "profile"), ("save", "saved")]
)
def test_done_without_what_the_mode_leaves_is_refused(mode, lacks):
    drop = ("sample", "output") if mode == "save" else ("output",) if mode == "latency" else ()
    made = records(mode, drop=drop, min_runs=0)
    made[-1]["n"] = len([one for one in made if one["record"] == "sample"])
    assert f"`done` without `{lacks}`" in refusal(made)


@pytest.mark.parametrize(
    ("one", "before", "says"),
    [
        (ASSIGNMENT, "output", "`assignment` after `sample`"),
        (ASSIGNMENT, "session", "`assignment` before `session`"),
        (SMAPS, "done", "`smaps` after `peak`"),
        (PROFILE, "peak", "`peak` after `profile`"),
        ({**SMAPS, "vmas": {"a": [1, 2, 3]}}, "session", "`vmas` is"),
        ({**ASSIGNMENT, "source": "guess"}, "sample", "source 'guess' is none of api, log, none"),
        ({**ASSIGNMENT, "nodes": [{"name": "a"}]}, "sample", "has no `op_type`"),
        ({**ASSIGNMENT, "providers": {"x": 3}}, "sample", "`providers` is"),
    ],
)
def test_a_record_out_of_place_or_shape_is_refused(one, before, says):
    assert says in refusal(inserted(records(), one, before=before))


def test_what_was_told_before_a_kill_is_read_up_to_the_cut():
    text = as_text(inserted(records("memory"), SMAPS, before="session"))
    launch = parse_so_far(text[: text.index('"session"') + 3])
    assert [one.phase for one in launch.memory] == ["baseline", "loaded"]
    assert len(launch.smaps) == 1


@pytest.mark.parametrize("text", ["", "\n", "garbage", '{"record": "memory"}'])
def test_of_a_launch_that_told_nothing_there_is_nothing(text):
    assert parse_so_far(text) is None
