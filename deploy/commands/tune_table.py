"""How a tuning is said: one table of all candidates, and what was chosen."""

import numpy as np
from rich.table import Table

from deploy.commands.show import DASH, console, print_json
from deploy.commands.tune_ledger import FLOAT, as_text
from deploy.commands.tune_state import Tuning
from deploy.tuning import Tuned
from reports.rounding import fixed, with_interval
from reports.stats import Estimate

GAIN = "here integers are a gain in size alone"


def show_tuned(tuned: Tuned, tuning: Tuning, as_json: bool) -> None:
    """Print every candidate, the choice, and how to use it."""
    if as_json:
        print_json(
            {
                "file": str(tuned.path),
                "choice": tuned.choice.record(),
                "tuned_on": vars(tuned.tuned_on),
                "load": tuning.stopwatch.greatest_load,
                "tried": list(tuned.tried),
            }
        )
        return
    console().print(tuning_table(tuning))
    for line in _said(tuned, tuning):
        console().print(line, soft_wrap=True, highlight=False)


def tuning_table(tuning: Tuning) -> Table:
    """Give the table of all candidates."""
    ledger = tuning.ledger
    unit = "M instructions" if ledger.exact else "ms"
    table = Table(
        "candidate", unit, "launches", "of default", "vs fp32 dB", "drop dB", "why", box=None
    )
    for name, one in ledger.tried.items():
        value, ratio = ledger.value(name), ledger.ratio(name)
        table.add_row(
            name,
            _value(value, exact=ledger.exact),
            str(value.n) if value.n else DASH,
            "1" if name == "default" else as_text(ratio, exact=ledger.exact),
            DASH if one.vs_fp32_db is None else f"{one.vs_fp32_db:.1f}",
            DASH if one.drop_db is None else f"{one.drop_db:.3f}",
            one.why,
        )
    return table


def _value(value: Estimate, *, exact: bool) -> str:
    if exact or not np.isfinite(value.value):
        return fixed(value.value, 3)
    return with_interval(value.value, value.low, value.high)


def _said(tuned: Tuned, tuning: Tuning) -> list[str]:
    start, info = tuning.start, tuning.stopwatch.info
    what = (
        "millions of instructions of one inference, on one thread: never a time"
        if tuning.ledger.exact
        else "medians of launches with 95 % intervals, and ratios of launches in the same blocks, "
        "which alone compare what was launched at other times"
    )
    load = tuning.stopwatch.greatest_load
    busy = f"; its load was at most {load:.1f}" if load is not None else ""
    forms = "every form auto"
    chosen = ", ".join(f"{name} {value}" for name, value in tuned.choice.record().items())
    floats = tuning.ledger.ratio(FLOAT)
    ours = tuning.confirmed.value if tuning.confirmed else 1.0
    no_gain = [f"The float graph needs less than what is chosen: {GAIN}"] * (floats.high < ours)
    return [
        f"On {info.name} ({info.abi}, {info.cpu}), input {tuned.tuned_on.input_shape}{busy}: "
        f"{what}. The default is {start.target}, {start.preset}, {forms}. vs fp32 is of a graph "
        "calibrated on few crops.",
        *no_gain,
        f"Chosen: {chosen}",
        f"Take it with --tuned {tuned.path}",
    ]
