"""Results of other tools as rows of ours, so that a team can compare with what it has.

What a tool does not tell stays missing. Its name is in `tool_version`, and where its figures are
not single inferences, `status_message` says what they are; tables say both in footnotes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from deploy.errors import RowsError
from reports.importers import google_benchmark, jetpack, litert, ort_perf_test
from reports.importers.launches import Imported, as_tables


@dataclass(frozen=True)
class Format:
    """How one tool's results are told from others and read.

    Attributes:
        recognizes: whether this text is of the format.
        read: the launches in a text, under the name of its file. Raises RowsError.
    """

    recognizes: Callable[[str], bool]
    read: Callable[[str, str], Imported]


FORMATS: dict[str, Format] = {
    one.NAME: Format(one.recognizes, one.read)
    for one in (ort_perf_test, litert, google_benchmark, jetpack)
}


def read_foreign(named: str) -> dict[str, pd.DataFrame]:
    """Read a result file of another tool into the tables of a session.

    Args:
        named: a path, or FORMAT:PATH where the format is not to be guessed.

    Returns:
        A frame a table, typed as `android_bench.rows` has it; empty where the tool says nothing.

    Raises:
        RowsError: the file cannot be read, is of no known format, or breaks its format.
    """
    form, _, rest = named.partition(":")
    path = Path(rest if form in FORMATS and rest else named)
    text = _text(path)
    name = form if form in FORMATS and rest else _recognized(text, path)
    imported = FORMATS[name].read(text, str(path))
    if not imported.launches:
        raise RowsError(f"{path} holds no result of {name}", "see whether its run ended well")
    return as_tables(imported, name, path)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _unrecognized(path) from error
    except OSError as error:
        raise RowsError(f"cannot read {path} ({error.strerror})", "name a file of results") from (
            error
        )


def _recognized(text: str, path: Path) -> str:
    for name, one in FORMATS.items():
        if one.recognizes(text):
            return name
    raise _unrecognized(path)


def _unrecognized(path: Path) -> RowsError:
    return RowsError(
        f"{path} is no session folder and of no format known here",
        f"name it as FORMAT:FILE with one of {', '.join(FORMATS)}",
    )
