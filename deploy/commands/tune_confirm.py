"""The end of a tuning: the best is measured anew, and what is chosen is written."""

import re
from importlib import metadata

from android_bench.device import DeviceInfo
from deploy.commands.tune_builds import Built
from deploy.commands.tune_ledger import as_text
from deploy.commands.tune_race import COUNTS_TELL_FROM
from deploy.commands.tune_space import difference
from deploy.commands.tune_state import Tuning
from deploy.onnx_file import image_input, load_graph
from deploy.tuning import Tuned, TunedOn, write_tuned
from reports.stats import Estimate, paired_ratio

CONFIRMING = 1000  # added to the seed: those launches are in another order than those before


def confirm(tuning: Tuning, where: str) -> None:
    """Measure the best anew against the default, both as the line makes them.

    The best of many looks better than it is: only launches that did not choose it can tell. Where
    they do not show that it is faster, the default stays.
    """
    built = tuning.in_full(tuning.start, where)
    tuning.ledger.tried["default"].drop_db = built.drop_db
    if tuning.best == tuning.start:
        tuning.ledger.tried["default"].why = "no candidate is shown to be better: it stays"
        return
    name = difference(tuning.best, tuning.start)
    row = tuning.ledger.tried[name]
    other = tuning.in_full(tuning.best, where)
    row.drop_db = other.drop_db
    bound_db = tuning.request.max_psnr_drop_db
    if bound_db is not None and other.drop_db is not None and other.drop_db > bound_db:
        row.why = f"loses {other.drop_db:.3f} dB in full, more than {bound_db:g} dB"
    else:
        ratio = _confirmed_ratio(tuning, built, other, where)
        if ratio.high < 1 - (COUNTS_TELL_FROM if tuning.ledger.exact else 0):
            row.why = f"chosen; measured anew: {as_text(ratio, exact=tuning.ledger.exact)}"
            tuning.ledger.tried["default"].why = f"{name} is better"
            tuning.confirmed = ratio
            return
        text = as_text(ratio, exact=tuning.ledger.exact)
        row.why = f"{tuning.ledger.no_gain_over('default')} when measured anew: {text}"
    tuning.best = tuning.start
    tuning.ledger.tried["default"].why = "it stays: no candidate is confirmed to be better"


def _confirmed_ratio(tuning: Tuning, built: Built, other: Built, where: str) -> Estimate:
    if built.optimized.sha256 == other.optimized.sha256:
        return Estimate(1.0, 1.0, 1.0, 0)
    plan = tuning.request.plan
    files = {"default": built.optimized, "best": other.optimized}
    measured = tuning.stopwatch.measure(files, plan.launches, plan.seed + CONFIRMING, where)
    both = measured.dropna()
    if tuning.stopwatch.counts and len(both):
        value = float(both["best"].iloc[-1] / both["default"].iloc[-1])
        return Estimate(value, value, value, len(both))
    return paired_ratio(both["best"], both["default"])


def write_choice(tuning: Tuning) -> Tuned:
    """Write what was chosen beside the line, with the table of what was tried."""
    request, info, plain = tuning.request, tuning.stopwatch.info, tuning.workshop.plain
    shape = image_input(load_graph(plain.path), plain.path).shape
    built = tuning.full[tuning.best]
    ratio = tuning.confirmed or Estimate(1.0, 1.0, 1.0, 0)
    tuned_on = TunedOn(
        model=plain.model,
        model_sha256=plain.sha256,
        input_shape="x".join(map(str, shape)),
        device=info.name,
        device_id=info.device_id,
        abi=info.abi,
        metric=tuning.stopwatch.plan.metric,
        onnxruntime=metadata.version("onnxruntime"),
        mofa_deploy=metadata.version("mofa-deploy"),
        optimized_sha256=built.optimized.sha256,
        ratio=round(ratio.value, 6),
        ratio_low=round(ratio.low, 6),
        ratio_high=round(ratio.high, 6),
        emulated_cpu=info.emulated_cpu,
        max_psnr_drop_db=request.max_psnr_drop_db,
        psnr_drop_db=None if built.drop_db is None else round(built.drop_db, 4),
    )
    path = request.build / file_name(plain.model, info)
    tuned = Tuned(tuning.best, tuned_on, tuning.ledger.records(), path)
    write_tuned(tuned)
    return tuned


def file_name(model: str, info: DeviceInfo) -> str:
    """Give the name of the file that holds what a device chose for a model."""
    device = re.sub(r"[^a-z0-9]+", "-", info.name.lower()).strip("-")
    return f"{model}.tuned-{device}.toml"
