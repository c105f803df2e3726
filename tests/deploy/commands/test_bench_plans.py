import pytest

from android_bench.plan import BenchPlan, counting
from deploy.commands.bench_plans import Asked, plans_for
from deploy.errors import UsageError


def test_times_have_the_defaults_that_they_had():
    plan, _ = plans_for("host", Asked())
    assert plan == BenchPlan(memory_launches=1)


def test_counts_are_of_one_launch_on_one_thread_without_memory():
    _, plan = plans_for("arm64", Asked())
    assert (plan.metric, plan.launches, plan.threads) == ("instructions", 1, 1)
    assert (plan.warmup, plan.min_runs, plan.memory_launches) == (0, 1, 0)


def test_what_is_asked_for_counts():
    _, plan = plans_for("arm64", Asked(launches=3, warmup=2, timeout=9.0, profile=True, seed=5))
    assert (plan.launches, plan.warmup, plan.timeout_s) == (3, 2, 9.0)
    assert (plan.profile_launches, plan.seed) == (1, 5)


def test_beside_a_clock_each_device_has_a_plan_of_its_own_kind():
    timed, counted = plans_for("host, arm64", Asked(seconds=2.0, memory=False, launches=4))
    assert (timed.metric, timed.seconds, timed.memory_launches) == ("latency", 2.0, 0)
    assert (counted.metric, counted.seconds, counted.launches) == ("instructions", 0.0, 4)


@pytest.mark.parametrize("devices", ["arm64", "host,arm64"])
def test_more_than_one_thread_cannot_be_counted(devices):
    with pytest.raises(UsageError, match="instructions of 2 threads cannot be counted"):
        plans_for(devices, Asked(threads=2))


def test_two_threads_are_no_matter_where_nothing_is_counted():
    assert plans_for("host", Asked(threads=2))[0].threads == 2


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        (Asked(seconds=1.0), "--seconds"),
        (Asked(until_interval=1.0), "--until-interval"),
        (Asked(cooldown=1.0), "--cooldown"),
        (Asked(cores="big"), "--cores"),
        (Asked(memory=True), "--memory"),
    ],
)
def test_an_option_of_times_is_refused_where_only_counts_are_taken(asked, option):
    with pytest.raises(UsageError, match=f"{option} is of times.*leave {option} out"):
        plans_for("arm64", asked)


def test_no_memory_may_be_said_where_there_is_none():
    assert plans_for("arm64", Asked(memory=False))[1].memory_launches == 0


def test_a_plan_of_times_becomes_one_of_counts_with_its_seed_and_profile():
    plan = counting(BenchPlan(seed=3, profile_launches=1, memory_launches=2, threads=4))
    assert (plan.metric, plan.seed, plan.profile_launches) == ("instructions", 3, 1)
    assert (plan.memory_launches, plan.threads, plan.launches) == (0, 1, 1)
