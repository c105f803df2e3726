"""Tables with the shape of the papers' own, filled with one's own rows.

Sources: MOFA paper (arXiv:2308.12494, 2023), Tables 1 and 4; thesis (N. Kuspys, "Single Image
Motion Deblurring for Mobile Devices", UCU, 2023), Tables 6.2 to 6.5. The rows are the networks of
those tables by their registered names; where none of them was measured, all that was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pandas as pd

from deploy.errors import UsageError
from reports.frame import Frames
from reports.grid import Grid
from reports.layout import AT, Layout, Slot
from reports.pivot import cases_of, laid_out
from reports.values import STAGES, VALUES

_DEFAULT, _OPTIMIZED = STAGES["plain"], STAGES["int8-opt"]
_GPU = "GPU (NNAPI)"  # the thesis' word for what ONNX Runtime's NNAPI provider runs on
_LOST = "The cells of the thesis' own table are lost: it was a picture."
_UNEXPLAINED = (
    "What the thesis calls GPU is the NNAPI provider, which takes no convolution with int8 "
    "activations: its printed figures stay unexplained."
)
_NATIVE = "The thesis prints the whole application's peak in the profiler's category Native, in MB."


@dataclass(frozen=True)
class Preset:
    """The shape of one of the papers' tables.

    Attributes:
        title: what it shows, and whose shape it has.
        paper: the table in `deploy.zoo.papers` that has what is printed.
        slots: groups of columns.
        labels: model -> its row.
        ticks: headers of words, and those words by model.
        printed: header -> column of the paper's table.
        remarks: what to say below.
    """

    title: str
    paper: str
    slots: tuple[Slot, ...]
    labels: Mapping[str, str]
    ticks: tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]] = ((), {})
    printed: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Printed:
    """What a paper prints, handed in from outside: this package knows of no network.

    Attributes:
        title: which table of which paper, and how it got its figures.
        figures: column of the table -> model -> as printed.
    """

    title: str
    figures: Mapping[str, Mapping[str, str]]


_TRICKS = ("PConv", "1/2 in middle", "1/2 in cheap", "decoupled up", "PDWConv")


def _ticked(*tricks: str) -> tuple[str, ...]:
    return tuple("✓" if trick in tricks else "" for trick in _TRICKS)


_MOFA_1 = Preset(
    title="Ablation of the tricks, in the shape of the MOFA paper's Table 1",
    paper="mofa-1",
    slots=(Slot((), {}, ("macs", "params", "psnr", "ssim", "latency")),),
    labels={f"mofa-1-row{row}": "baseline" if row == 1 else f"row {row}" for row in range(1, 9)},
    ticks=(
        _TRICKS,
        {
            "mofa-1-row1": _ticked(),
            "mofa-1-row2": _ticked("PConv"),
            "mofa-1-row3": _ticked("PConv", "1/2 in middle"),
            "mofa-1-row4": _ticked("PConv", "1/2 in cheap"),
            "mofa-1-row5": _ticked("PConv", "1/2 in middle", "1/2 in cheap"),
            "mofa-1-row6": _ticked("decoupled up"),
            "mofa-1-row7": _ticked("PDWConv"),
            "mofa-1-row8": _ticked(*_TRICKS),
        },
    ),
    printed={
        "MACs": "macs",
        "params": "parameters",
        "PSNR dB": "psnr_db",
        "SSIM": "ssim",
        "GPU ms": "gpu_ms",
        "mobile ms": "mobile_ms",
    },
    remarks=("The ticks are a reading that gives the paper's counts: its own were lost in print.",),
)
_MOFA_4 = Preset(
    title="The final networks, in the shape of the MOFA paper's Table 4",
    paper="mofa-4",
    slots=(Slot((), {}, ("latency", "params", "macs", "psnr", "ssim")),),
    labels={
        "pmrid": "PMRID",
        "pmrid-mofa": "PMRID_mofa",
        "nafnet-tiny": "NAFNet",
        "nafnet-mofa": "NAFNet_mofa",
    },
    printed={
        "mobile ms": "mobile_ms",
        "params": "parameters",
        "MACs": "macs",
        "SIDD PSNR dB": "sidd_psnr_db",
        "SIDD SSIM": "sidd_ssim",
    },
)
_SIZES = {
    f"nafnet-{size}-local": f"NAFNetLocal-{size}" for size in ("32-36", "32-18", "16-36", "16-18")
}


def _by_stage_and_provider(value: str) -> tuple[Slot, ...]:
    return tuple(
        Slot((stage.capitalize(), shown), {"stage": stage, "provider": provider}, (value,))
        for stage in (_DEFAULT, _OPTIMIZED)
        for shown, provider in (("CPU", "CPU"), (_GPU, "NNAPI"))
    )


def _optimized(*values: str) -> tuple[Slot, ...]:
    return tuple(
        Slot((shown,), {"stage": _OPTIMIZED, "provider": provider}, values)
        for shown, provider in (("CPU", "CPU"), (_GPU, "NNAPI"))
    )


_QUALITY = Slot((), {"stage": _OPTIMIZED}, ("psnr", "ssim"))
_THESIS_2 = Preset(
    title="Inference time before and after, in the shape of the thesis' Table 6.2",
    paper="thesis",
    slots=_by_stage_and_provider("latency"),
    labels=_SIZES,
    printed={"Quantized + optimized, GPU ms": "gpu_ms"},
    remarks=(_LOST, _UNEXPLAINED),
)
_THESIS_3 = Preset(
    title="Peak memory before and after, in the shape of the thesis' Table 6.3",
    paper="thesis",
    slots=_by_stage_and_provider("native"),
    labels=_SIZES,
    printed={
        "Default, CPU MB": "default_cpu_mb",
        "Default, GPU MB": "default_gpu_mb",
        "Quantized + optimized, CPU MB": "cpu_mb",
        "Quantized + optimized, GPU MB": "gpu_mb",
    },
    remarks=(_NATIVE, _UNEXPLAINED),
)
_THESIS_4 = Preset(
    title="Depth-wise separable convolutions, in the shape of the thesis' Table 6.4",
    paper="thesis",
    slots=(Slot((), {"stage": _OPTIMIZED}, ("macs", "psnr")), *_optimized("latency")),
    labels={
        "nafnet-16-18-local": "Original",
        "nafnet-16-18-separable-high": "High resolution",
        "nafnet-16-18-separable-low": "Low resolution",
        "nafnet-16-18-separable-all": "All",
    },
    printed={"GPU ms": "gpu_ms", "PSNR dB": "psnr_db"},
    remarks=(_LOST,),
)
_THESIS_5 = Preset(
    title="Soft attention, in the shape of the thesis' Table 6.5",
    paper="thesis",
    slots=(_QUALITY, *_optimized("latency", "native")),
    labels={
        "nafnet-16-18-local": "Without",
        "nafnet-16-18-sa-naive": "Naive SA",
        "nafnet-16-18-sa-activation": "Activation",
        "nafnet-16-18-sa-normalization": "Activation + Normalization",
        "nafnet-16-18-sa-upsample": "Activation + Normalization + Upsample",
    },
    printed={"PSNR dB": "psnr_db", "SSIM": "ssim", "GPU ms": "gpu_ms", "GPU MB": "gpu_mb"},
    remarks=(_NATIVE, _UNEXPLAINED),
)

PRESETS: dict[str, Preset] = {
    "mofa-1": _MOFA_1,
    "mofa-4": _MOFA_4,
    "thesis-6.2": _THESIS_2,
    "thesis-6.3": _THESIS_3,
    "thesis-6.4": _THESIS_4,
    "thesis-6.5": _THESIS_5,
}


def find_preset(name: str) -> Preset:
    """Give a preset. Raises UsageError with the list of them."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}", f"use one of {', '.join(PRESETS)}")
    return PRESETS[name]


def preset_table(
    frames: Frames,
    preset: Preset,
    *,
    printed: Printed | None = None,
    where: Mapping[str, str] | None = None,
    baseline_kind: str = "plain",
    force: bool = False,
) -> Grid:
    """Fill a preset with rows.

    Args:
        frames: the rows.
        preset: of `PRESETS`.
        printed: what the paper prints, to stand beside; None to leave it out.
        where: dimension -> the value that a case has to have.
        baseline_kind: as `pivot` takes it.
        force: let unlike rows stand in one table, and say so.

    Raises:
        RowsError: the rows are unlike in what the table does not tell apart.
        UsageError: `where` names what is not there.
    """
    cases, others = _of_the_paper(cases_of(frames, where or {}, baseline_kind), preset)
    slots, fallen = _with_what_is_known(preset.slots, cases)
    layout = Layout(
        rows=("model",),
        slots=slots,
        labels=preset.labels,
        ticks=preset.ticks,
        printed=_columns(preset, printed) if printed else {},
        remarks=(*fallen, *_empty(slots, cases), *others, *preset.remarks),
    )
    grid = laid_out(frames, cases, layout, baseline_kind=baseline_kind, force=force)
    said = (f"Printed in the paper, not measured here: {printed.title}.",) if printed else ()
    caption = f"{preset.title}: {grid.caption}"
    return replace(grid, caption=caption, remarks=(*grid.remarks, *said))


def _of_the_paper(cases: pd.DataFrame, preset: Preset) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Keep the networks of the paper's table, where any was measured; name the others."""
    inside = cases["model"].isin(list(preset.labels))
    others = cases.loc[~inside, "model"].unique()
    if not inside.any() or not len(others):
        return cases, ()
    return cases[inside], (f"Measured too, and not of this table: {', '.join(others)}.",)


def _with_what_is_known(
    slots: tuple[Slot, ...], cases: pd.DataFrame
) -> tuple[tuple[Slot, ...], tuple[str, ...]]:
    """Show resident memory where no case has a native heap, as on a machine that is no phone."""
    wanted = any("native" in slot.values for slot in slots)
    if not wanted or cases[VALUES["native"].columns[0]].notna().any():
        return slots, ()
    known = {"native": "memory"}
    changed = tuple(
        replace(slot, values=tuple(known.get(name, name) for name in slot.values)) for slot in slots
    )
    return changed, ("No launch knows its native heap, as on a phone: resident memory stands in.",)


def _empty(slots: tuple[Slot, ...], cases: pd.DataFrame) -> tuple[str, ...]:
    """Name the columns that nothing was measured for."""
    bare = []
    for slot in slots:
        matches = pd.Series(True, index=cases.index)
        for name, wanted in slot.where.items():
            matches &= cases[f"{AT}{name}"].str.casefold() == wanted.casefold()
        if not matches.any():
            bare.append(", ".join(slot.levels) or ", ".join(slot.where.values()))
    return (f"Nothing was measured for: {'; '.join(dict.fromkeys(bare))}.",) if bare else ()


def _columns(preset: Preset, printed: Printed) -> dict[str, Mapping[str, str]]:
    return {header: printed.figures.get(key, {}) for header, key in preset.printed.items()}
