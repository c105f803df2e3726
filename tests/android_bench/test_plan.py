import pytest

from android_bench.plan import BenchPlan
from deploy.errors import UsageError


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("launches", 0),
        ("min_runs", 0),
        ("threads", 0),
        ("warmup", -1),
        ("seconds", -0.5),
        ("cooldown_s", -1.0),
        ("seed", -1),
        ("memory_launches", -1),
        ("profile_launches", -1),
        ("interval_ms", 0),
        ("min_launches", 0),
        ("attempts", 0),
        ("max_wait_s", -1),
        ("return_s", -1),
        ("until_interval_pct", 0),
        ("until_interval_pct", float("nan")),
        ("seconds", float("nan")),
        ("cooldown_s", float("inf")),
        ("timeout_s", float("nan")),
        ("cores", "fast"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused_by_name_and_value(name, value):
    with pytest.raises(UsageError) as refused:
        BenchPlan(**{name: value})
    assert name in refused.value.problem
    assert str(value) in refused.value.problem


def test_a_launch_must_have_time_for_its_own_sampling():
    with pytest.raises(UsageError, match="timeout_s 5 is not longer than seconds 5"):
        BenchPlan(seconds=5, timeout_s=5)
