"""Every count of the two papers that can be reproduced, to the digits printed.

The four-decimal figures are those of an independent implementation counted with thop 0.1.1 and
with a separate hook counter; the two-decimal ones are the MOFA paper's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import pytest
from torch import nn

from deploy.zoo.attention_gate import ATTENTION_STEPS, nafnet_16_18_sa, with_attention
from deploy.zoo.complexity import Complexity, measure_complexity
from deploy.zoo.nafnet import nafnet_tiny
from deploy.zoo.nafnet_mofa import nafnet_mofa
from deploy.zoo.nafnet_separable import with_separable_convs
from deploy.zoo.nafnet_sizes import nafnet_sidd_width32, thesis_nafnet
from deploy.zoo.pmrid import (
    MOFA_TABLE_1,
    MOFA_TABLE_2,
    MOFA_TABLE_3,
    MOFA_TABLE_6,
    Pmrid,
    PmridChoices,
    pmrid_mofa,
)

BASE_16_18 = partial(thesis_nafnet, 16, 18)


@dataclass(frozen=True)
class Row:
    """Figures as printed; None where nothing is printed, or where the print does not reproduce."""

    name: str
    build: Callable[[], nn.Module]
    image_channels: int = 3
    paper_macs: str | None = None
    paper_params: str | None = None
    thop_macs: str | None = None
    thop_params: str | None = None
    macs: str | None = None
    params: str | None = None


def mofa_row(name: str, choices: PmridChoices, *figures: str | None) -> Row:
    """Give a row of PMRID; `figures` in the order of the columns, from `paper_macs` to `macs`."""
    return Row(name, partial(Pmrid, choices=choices), 3, *figures)


ROWS = (
    # Table 1. Row 1 prints 1.11 G, which does not reproduce; Table 4 prints 1.15 G.
    mofa_row("mofa-1-1", MOFA_TABLE_1[1], "1.15 G", "1.03 M", "1.1510 G", "1.0316 M", "0.9622 G"),
    mofa_row("mofa-1-2", MOFA_TABLE_1[2], "2.12 G", "2.84 M", "2.1197 G", "2.8382 M", "1.9310 G"),
    mofa_row("mofa-1-3", MOFA_TABLE_1[3], "3.25 G", "3.86 M", "3.2498 G", "3.8589 M", "3.0611 G"),
    mofa_row("mofa-1-4", MOFA_TABLE_1[4], "2.69 G", "3.46 M", "2.6895 G", "3.4607 M", "2.5007 G"),
    mofa_row("mofa-1-5", MOFA_TABLE_1[5], "3.69 G", "4.44 M", "3.6922 G", "4.4399 M", "3.5034 G"),
    mofa_row("mofa-1-6", MOFA_TABLE_1[6], "0.95 G", "1.01 M", "0.9493 G", "1.0142 M", "0.9298 G"),
    mofa_row("mofa-1-7", MOFA_TABLE_1[7], "1.03 G", "0.95 M", "1.0328 G", "0.9545 M", "0.8440 G"),
    mofa_row("mofa-1-8", MOFA_TABLE_1[8], "1.11 G", "0.97 M", "1.1087 G", "0.9709 M", "1.0893 G"),
    # Table 2; its first two rows are rows 1 and 2 of Table 1
    mofa_row(
        "mofa-2-enc3", MOFA_TABLE_2["enc3-dec2"], "3.25 G", "3.86 M", "3.2498 G", "3.8589 M", None
    ),
    mofa_row(
        "mofa-2-enc2", MOFA_TABLE_2["enc2-dec3"], "2.58 G", "2.93 M", "2.5813 G", "2.9301 M", None
    ),
    mofa_row(
        "mofa-2-enc1", MOFA_TABLE_2["enc1-dec4"], "2.54 G", "2.86 M", "2.5389 G", "2.8625 M", None
    ),
    # Table 3 prints no MACs
    mofa_row("mofa-3-none", MOFA_TABLE_3["none"], None, "4.44 M", None, "4.4399 M", None),
    mofa_row("mofa-3-up", MOFA_TABLE_3["upsampling"], None, "4.42 M", None, "4.4225 M", None),
    mofa_row("mofa-3-down", MOFA_TABLE_3["downsampling"], None, "4.61 M", None, "4.6062 M", None),
    # Table 4; its PMRID is row 1 of Table 1. The paper's 222.1 K of NAFNet_mofa does not reproduce.
    Row("pmrid-mofa", pmrid_mofa, paper_macs="1.11 G", paper_params="0.97 M", params="970915"),
    Row(
        "nafnet-tiny", nafnet_tiny, 3,
        "1.03 G", "286.6 K", "1.0348 G", "286579", "1.0310 G", "288691",
    ),
    Row(
        "nafnet-mofa", nafnet_mofa, 3,
        "0.94 G", None, "0.9368 G", "219843", "0.9123 G", "221955",
    ),
    # Table 6 prints no MACs
    mofa_row("mofa-6-0", MOFA_TABLE_6[0], None, "0.94 M", "0.8342 G", "0.9408 M", "0.8148 G"),
    mofa_row("mofa-6-16", MOFA_TABLE_6[16], None, "0.95 M", "0.9130 G", "0.9460 M", "0.8936 G"),
    mofa_row("mofa-6-32", MOFA_TABLE_6[32], None, "0.97 M", "1.1087 G", "0.9709 M", "1.0893 G"),
    mofa_row("mofa-6-64", MOFA_TABLE_6[64], None, "1.21 M", "1.4810 G", "1.2140 M", "1.4616 G"),
    mofa_row("mofa-6-128", MOFA_TABLE_6[128], None, "1.25 M", "1.6297 G", "1.2502 M", "1.6102 G"),
    # PMRID itself
    Row("pmrid-rgb", Pmrid, params="1031619"),
    Row("pmrid-raw", partial(Pmrid, 4), image_channels=4, params="1031908"),
    # NAFNet and the thesis' sizes
    Row("nafnet-sidd-w32", nafnet_sidd_width32, macs="16.045 G", params="29.160 M"),
    Row("32-36", partial(thesis_nafnet, 32, 36), macs="15.956 G", params="17.1119 M"),
    Row("32-18", partial(thesis_nafnet, 32, 18), macs="8.622 G", params="8.7023 M"),
    Row("16-36", partial(thesis_nafnet, 16, 36), macs="4.085 G", params="4.3478 M"),
    Row("16-18", BASE_16_18, macs="2.230 G", params="2.2074 M"),
    Row("16-9", partial(thesis_nafnet, 16, 9), macs="1.303 G", params="1.1372 M"),
    # its separable variants of 16-18
    Row(
        "separable-high", lambda: with_separable_convs(BASE_16_18(), "high"),
        macs="2.1951 G", params="2.2010 M",
    ),
    Row(
        "separable-low", lambda: with_separable_convs(BASE_16_18(), "low"),
        macs="2.1888 G", params="2.1038 M",
    ),
    Row(
        "separable-all", lambda: with_separable_convs(BASE_16_18(), "all"),
        macs="2.1143 G", params="2.0968 M",
    ),
)  # fmt: skip

COUNT_OF = {
    "paper_macs": "thop_macs",
    "paper_params": "thop_params",
    "thop_macs": "thop_macs",
    "thop_params": "thop_params",
    "macs": "macs",
    "params": "params",
}
UNITS = {"K": 1e3, "M": 1e6, "G": 1e9}


@cache
def counted(build: Callable[[], nn.Module], image_channels: int) -> Complexity:
    return measure_complexity(build(), [(1, image_channels, 256, 256)])


def printed_like(value: int, text: str) -> str:
    """Print the value in the unit and to the decimals of the text."""
    number, _, unit = text.partition(" ")
    decimals = len(number.partition(".")[2])
    return f"{value / UNITS[unit]:.{decimals}f} {unit}" if unit else str(value)


PRINTED = [
    pytest.param(row, column, figure, id=f"{row.name}-{column}")
    for row in ROWS
    for column in COUNT_OF
    if (figure := getattr(row, column)) is not None
]


@pytest.mark.parametrize(("row", "column", "figure"), PRINTED)
def test_count_equals_the_table_to_the_printed_digits(row: Row, column: str, figure: str) -> None:
    value = getattr(counted(row.build, row.image_channels), COUNT_OF[column])

    assert printed_like(value, figure) == figure


@pytest.mark.parametrize(
    ("step", "params", "macs_percent"),
    [
        ("naive", "67.0 K", "4.6"),
        ("activation", "67.0 K", "4.6"),
        ("normalization", "67.0 K", "4.6"),
        ("upsample", "154.2 K", "7.6"),
    ],
)
def test_soft_attention_adds_what_its_reading_says(
    step: str, params: str, macs_percent: str
) -> None:
    base = counted(BASE_16_18, 3)
    gated = measure_complexity(with_attention(BASE_16_18(), step))

    assert printed_like(gated.params - base.params, params) == params
    assert f"{100 * (gated.macs / base.macs - 1):.1f}" == macs_percent


def test_final_soft_attention_network_is_the_third_step() -> None:
    step = with_attention(BASE_16_18(), "normalization")

    assert list(nafnet_16_18_sa().state_dict()) == list(step.state_dict())
    assert len(ATTENTION_STEPS) == 4


def test_papers_first_row_of_table_1_does_not_reproduce() -> None:
    assert f"{counted(ROWS[0].build, 3).thop_macs / 1e9:.2f}" != "1.11"


def test_papers_parameters_of_nafnet_mofa_do_not_reproduce() -> None:
    complexity = counted(nafnet_mofa, 3)

    assert "222.1" not in (f"{complexity.params / 1e3:.1f}", f"{complexity.thop_params / 1e3:.1f}")
