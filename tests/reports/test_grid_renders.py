import csv
import io
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from reports.exporters import FORMATS, latex_text, to_csv, to_html, to_latex, to_markdown, to_rich
from reports.grid import Cell, Column, Grid, spans

GRID = Grid(
    caption="net on desk",
    columns=(
        Column(("model",), "model", words=True),
        Column(("CPU", "latency ms"), "CPU_latency_ms", ends=True),
        Column(("CPU", "PSNR dB"), "CPU_psnr_db"),
        Column(("NNAPI", "latency ms"), "NNAPI_latency_ms", ends=True),
    ),
    rows=(
        (
            Cell("net_a"),
            Cell("43.2 [39.0, 47.0]", 43.21, 39.0, 47.0, ("2 of 8 launches failed",)),
            Cell("30.50", 30.5),
            Cell("–", notes=("CPU (NNAPI fell back): NNAPI took no node",)),
        ),
        (
            Cell("b|<c>"),
            Cell("9.0 [8.0, 9.5]", 9.0, 8.0, 9.5, ("2 of 8 launches failed",)),
            Cell("–"),
            Cell("8.1", 8.1),
        ),
    ),
    remarks=("Latency is a median.",),
)


def test_markdown_is_this():
    assert to_markdown(GRID) == (
        """\
net on desk

| model     |     CPU, latency ms | CPU, PSNR dB | NNAPI, latency ms |
| --------- | ------------------: | -----------: | ----------------: |
| net_a     | 43.2 [39.0, 47.0] ¹ |        30.50 |               – ² |
| b\\|&lt;c> |    9.0 [8.0, 9.5] ¹ |            – |               8.1 |

- ¹ 2 of 8 launches failed
- ² CPU (NNAPI fell back): NNAPI took no node
- Latency is a median.
"""
    )


def test_latex_is_this():
    assert to_latex(GRID) == (
        r"""\begin{table}
\caption{net on desk}
\centering
\begin{tabular}{lrrr}
\toprule
 & \multicolumn{2}{c}{CPU} & NNAPI \\
\cmidrule(lr){2-3}
model & latency ms & PSNR dB & latency ms \\
\midrule
net\_a & 43.2 [39.0, 47.0]\textsuperscript{1} & 30.50 & --\textsuperscript{2} \\
b|\textless{}c\textgreater{} & 9.0 [8.0, 9.5]\textsuperscript{1} & -- & 8.1 \\
\bottomrule
\end{tabular}
\par\smallskip\footnotesize\raggedright
\textsuperscript{1} 2 of 8 launches failed\par
\textsuperscript{2} CPU (NNAPI fell back): NNAPI took no node\par
Latency is a median.\par
\end{table}
"""
    )


def test_csv_is_this():
    assert to_csv(GRID) == (
        "model,CPU_latency_ms,CPU_latency_ms_low,CPU_latency_ms_high,CPU_psnr_db,"
        "NNAPI_latency_ms,NNAPI_latency_ms_low,NNAPI_latency_ms_high,notes\n"
        "net_a,43.21,39.0,47.0,30.5,,,,"
        "2 of 8 launches failed; CPU (NNAPI fell back): NNAPI took no node\n"
        "b|<c>,9.0,8.0,9.5,,8.1,,,2 of 8 launches failed\n"
    )


def test_html_is_this():
    assert to_html(GRID) == (
        """\
<figure>
<figcaption>net on desk</figcaption>
<table>
<thead>
<tr><th scope="col"></th><th scope="col" colspan="2">CPU</th><th scope="col">NNAPI</th></tr>
<tr><th scope="col">model</th><th scope="col">latency ms</th><th scope="col">PSNR dB</th>\
<th scope="col">latency ms</th></tr>
</thead>
<tbody>
<tr><th scope="row">net_a</th><td style="text-align:right">43.2 [39.0, 47.0]<sup>1</sup></td>\
<td style="text-align:right">30.50</td><td style="text-align:right">–<sup>2</sup></td></tr>
<tr><th scope="row">b|&lt;c&gt;</th><td style="text-align:right">9.0 [8.0, 9.5]<sup>1</sup></td>\
<td style="text-align:right">–</td><td style="text-align:right">8.1</td></tr>
</tbody>
</table>
<ul>
<li><sup>1</sup> 2 of 8 launches failed</li>
<li><sup>2</sup> CPU (NNAPI fell back): NNAPI took no node</li>
<li>Latency is a median.</li>
</ul>
</figure>
"""
    )


def printed(grid, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(to_rich(grid, width))
    return console.file.getvalue()


def test_the_terminal_shows_this():
    shown = "\n".join(line.rstrip() for line in printed(GRID, 80).splitlines())
    assert shown == (
        """\
net on desk

                  CPU      CPU       NNAPI
model      latency ms  PSNR dB  latency ms
───────────────────────────────────────────
net_a            43.2    30.50         – ²
       [39.0, 47.0] ¹
b|<c>             9.0        –         8.1
         [8.0, 9.5] ¹
¹ 2 of 8 launches failed
² CPU (NNAPI fell back): NNAPI took no node
Latency is a median."""
    )


def test_a_narrow_terminal_gets_the_rest_below_with_its_labels():
    shown = printed(GRID, 30)
    assert len(re.findall("^model", shown, re.MULTILINE)) == 2
    assert all(cell.text.split(" [")[0] in shown for row in GRID.rows for cell in row)


def test_headers_are_spanned_only_below_the_same_ones():
    columns = [
        Column(levels, "key") for levels in (("a", "x", "1"), ("a", "x", "2"), ("b", "x", "3"))
    ]
    assert spans(columns, 0) == [("a", 2), ("b", 1)]
    assert spans(columns, 1) == [("x", 2), ("x", 1)]
    assert spans(columns, 2) == [("1", 1), ("2", 1), ("3", 1)]


def labelled(label: str) -> Grid:
    return Grid(label, (Column((label,), "model", words=True), Column(("b",), "b")),
                ((Cell(label, notes=(label,)), Cell("1", 1.0)),), (label,))  # fmt: skip


@given(st.text(max_size=30))
def test_any_name_leaves_latex_with_balanced_braces(label):
    text = re.sub(r"\\[{}\\]", "", to_latex(labelled(label)).replace("\\\\\n", "\n"))
    depth = 0
    for sign in text:
        depth += (sign == "{") - (sign == "}")
        assert depth >= 0
    assert depth == 0


@pytest.mark.parametrize("sign", "&%$#_")
def test_a_sign_that_latex_reads_is_escaped(sign):
    assert latex_text(f"a{sign}b") == f"a\\{sign}b"


@pytest.mark.parametrize(
    ("text", "latex"), [("✓", r"$\surd$"), ("–", "--"), ("run --force", "run -{}-force")]
)
def test_a_sign_that_latex_has_by_another_name_is_written_so(text, latex):
    assert latex_text(text) == latex


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_any_name_comes_back_from_csv(label):
    rows = list(csv.reader(io.StringIO(to_csv(labelled(label)), newline="")))
    flat = " ".join(label.split())
    assert rows[1] == [flat, "1.0", flat]


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)


@given(st.text(max_size=30))
def test_no_name_opens_a_tag(label):
    assert Tags(to_html(labelled(label))).found == Tags(to_html(labelled("x"))).found


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
def test_no_name_opens_a_cell_or_a_line_in_markdown(label):
    lines = to_markdown(labelled(label)).splitlines()
    row = next(line for line in lines[4:] if line.startswith("|"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_a_grid_without_notes_ends_with_its_table():
    bare = Grid("c", GRID.columns[:1], ((Cell("a"),),))
    assert to_markdown(bare).endswith("| a     |\n")
    assert "footnotesize" not in to_latex(bare)
    assert "<ul>" not in to_html(bare)


def test_every_format_has_a_name():
    assert list(FORMATS) == ["markdown", "latex", "csv", "html"]
