"""What `bench` prints of counted instructions. No column is a time, and none stands beside one."""

from typing import Any

import pandas as pd

from deploy.commands.show import console, show_rows
from reports.frame import Frames
from reports.instructions import count_table, counts_with, millions
from reports.launches import CASE_KEY

# what of the counts is shown, and its heading; all of it is in the JSON and in the rows
SHOWN = {
    "session_instructions": "session M",
    "instructions": "run M",
    "simd": "SIMD M",
    "dot": "dot M",
    "mmla": "MMLA M",
    "loads": "loads M",
    "stores": "stores M",
    "moved_bytes": "moved MB",
}
NOT_TIME = (
    "Instructions of one steady inference, not time: no memory, no threads, no clock is in them."
)


def show_counts(frames: Frames, as_json: bool) -> pd.DataFrame:
    """Give what each case executed; print it, unless JSON is wanted."""
    files = frames.runs.drop_duplicates(CASE_KEY).set_index(CASE_KEY)[["model", "kind", "target"]]
    table = files.join(count_table(frames).drop(columns="is_counted")).reset_index()
    if not as_json:
        first = table["instructions"].iloc[0]
        show_rows([_shown(row, first) for row in table.to_dict("records")], as_json)
        console().print(f"{NOT_TIME} {_taken_with(frames)}", soft_wrap=True, highlight=False)
    return table


def _shown(row: dict[Any, Any], first: float) -> dict[str, str | None]:
    counts = {
        heading: None if pd.isna(row[name]) else millions(row[name])
        for name, heading in SHOWN.items()
    }
    fewer = first / row["instructions"]
    return {
        "graph": f"{row['model']} {row['kind']}",
        **counts,
        "fewer": None if pd.isna(fewer) else f"{fewer:.2f}\N{MULTIPLICATION SIGN}",
    }


def _taken_with(frames: Frames) -> str:
    told = counts_with(frames)
    return (
        f"Counted on an emulated {told.get('cpu')} by qemu {told.get('qemu')}, with onnxruntime "
        f"{told.get('onnxruntime')}; counts of others do not compare."
    )
