import pytest

from deploy.errors import UsageError
from reports.budgets import DEFAULTS, Budget, default_budgets, read_budgets


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "budgets.toml"
        path.write_text(text)
        return path

    return write


def test_what_a_file_does_not_name_keeps_its_default(written):
    budgets = read_budgets(written('[latency]\nbudget = "3 %"\n'))
    assert budgets.find("net/plain", "latency") == Budget(3.0, 5.0, 3.0)
    assert budgets.find("net/plain", "size") == DEFAULTS["size"]


def test_an_empty_file_is_the_defaults(written):
    assert read_budgets(written("")) == default_budgets()


@pytest.mark.parametrize(
    ("metric", "amount", "value"), [("psnr", "0.1 dB", 0.1), ("coverage", "2 points", 2.0)]
)
def test_each_metric_has_its_unit(written, metric, amount, value):
    budgets = read_budgets(written(f'[{metric}]\nbudget = "{amount}"\n'))
    assert budgets.find("net/plain", metric) == Budget(value)


def test_a_metric_can_be_turned_off(written):
    budgets = read_budgets(written('[memory]\nbudget = "off"\n'))
    assert budgets.find("net/plain", "memory") is None


def test_a_case_goes_before_its_metric_and_starts_from_it(written):
    text = '[latency]\nrule_out = "9 %"\n[case."net/int8-*".latency]\nbudget = "4 %"\n'
    budgets = read_budgets(written(text))
    assert budgets.find("net/int8-opt-x86", "latency") == Budget(4.0, 9.0, 3.0)
    assert budgets.find("net/plain", "latency") == Budget(2.0, 9.0, 3.0)


def test_a_metric_can_be_off_for_one_case(written):
    budgets = read_budgets(written('[case."net/plain".latency]\nbudget = "off"\n'))
    assert budgets.find("net/plain", "latency") is None
    assert budgets.find("net/fp32", "latency") is not None


def test_of_two_patterns_the_later_counts(written):
    text = '[case."net/*".size]\nbudget = "1 %"\n[case."*/fp32".size]\nbudget = "7 %"\n'
    assert read_budgets(written(text)).find("net/fp32", "size") == Budget(7.0)


def test_a_pass_rules_out_more_than_a_wide_budget_tolerates(written):
    budgets = read_budgets(written('[latency]\nbudget = "8 %"\n'))
    assert budgets.find("net/plain", "latency") == Budget(8.0, 11.0, 3.0)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[speed]\nbudget = "2 %"', "unknown metric 'speed': use one of latency, memory"),
        ('[case."a/b".speed]\nbudget = "2 %"', "unknown metric 'speed'"),
        ('[latency]\nbudget = "2 ms"', r"latency.budget: unknown unit 'ms': this metric is in '%'"),
        ('[psnr]\nbudget = "2 %"', "unknown unit '%': this metric is in 'dB'"),
        ('[latency]\nbudget = "2"', "unknown unit ''"),
        ("[latency]\nbudget = 2", 'budget is 2: write it like "1.5 %"'),
        ('[latency]\nbudget = "-2 %"', "budget is '-2 %': write it like"),
        ('[latency]\nbudget = "nan %"', "budget is 'nan %': write it like"),
        ('[latency]\nmaximum = "2 %"', "unknown field 'maximum': use budget, rule_out"),
        ('[psnr]\nrule_out = "2 dB"', "unknown field 'rule_out': use budget"),
        ('[latency]\nrule_out = "1 %"', "rule_out 1 % is not above budget 2 %"),
        ('latency = "2 %"', "latency is '2 %', not a table"),
        ('[case]\nnet = "2 %"', "case.'net' is '2 %', not a table"),
        ("[latency", "is not TOML"),
        ("\x00", "is not TOML"),
    ],
)
def test_a_budget_that_means_nothing_is_refused(written, text, problem):
    with pytest.raises(UsageError, match=problem):
        read_budgets(written(text))


def test_a_missing_budget_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no budget file at .*nowhere\.toml"):
        read_budgets(tmp_path / "nowhere.toml")
