"""Export every network of the zoo and print one table: seconds, file size, error against torch.

    python benchmarks/export_zoo.py [NAME...] [--out FOLDER] [--markdown FILE]

One process a network, one after the other, so that no export profits from the one before. Seconds
are of torch's exporter, onnxsim and the check together, on this machine: compare them with each
other and not with another machine's. The error is relative to the output's range.
"""

import argparse
import json
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pandas as pd

from deploy.zoo.registry import MODELS

MAX_RELATIVE_ERROR = 1e-4
COMMAND = "import sys; from deploy.cli import run_app; sys.exit(run_app(sys.argv[1:]))"


def export_one(name: str, out: Path) -> dict[str, float | str]:
    """Export one network in a process of its own; give its row."""
    began = time.monotonic()
    arguments = ["export", "--model", name, "--out", str(out), "--force", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - began
    if done.returncode != 0:
        raise SystemExit(f"{name}: {done.stderr.strip()}")
    (record,) = json.loads(done.stdout)
    return {
        "model": name,
        "export s": round(seconds, 1),
        "file MiB": round(record["bytes"] / 2**20, 2),
        "error": record["fidelity"]["max_error_vs_torch"],
    }


def main() -> int:
    """Print the table; fail if a network is further from torch than the bound."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=sorted(MODELS))
    parser.add_argument("--out", type=Path, default=Path("build/export-zoo"))
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()

    rows = []
    for place, name in enumerate(options.names, 1):
        rows.append(export_one(name, options.out))
        print(f"{place}/{len(options.names)} {rows[-1]}", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    worst = table["error"].max()
    versions = ", ".join(
        f"{one} {metadata.version(one)}" for one in ("torch", "onnx", "onnxruntime")
    )
    lines = ["| model | export s | file MiB | error / range |", "|---|---:|---:|---:|"]
    lines += [
        f"| {row['model']} | {row['export s']:.1f} | {row['file MiB']:.2f} | {row['error']:.1e} |"
        for row in rows
    ]
    text = "\n".join([*lines, "", f"Worst error {worst:.1e}; {versions}."]) + "\n"
    print(text)
    if options.markdown:
        options.markdown.write_text(text)
    return int(worst > MAX_RELATIVE_ERROR)


if __name__ == "__main__":
    sys.exit(main())
