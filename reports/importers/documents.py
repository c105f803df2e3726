"""JSON documents of other tools, refused in one line where they are not what they should be."""

import json
from typing import Any

from deploy.errors import RowsError

_ENDED = "see whether its run ended well"


def document(text: str, where: str) -> dict[str, Any]:
    """Give the JSON object that a text is. Raises RowsError."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise RowsError(f"{where} is not whole JSON ({error})", _ENDED) from error
    if not isinstance(found, dict):
        raise RowsError(f"{where} is not a JSON object", _ENDED)
    return found


def rows_of(found: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """Give a list of objects under a key. Raises RowsError."""
    rows = found.get(key)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise RowsError(f"{where} has no list of {key}", _ENDED)
    return rows


def mapping(value: object) -> dict[str, Any]:
    """Give an object, or an empty one where it is anything else."""
    return value if isinstance(value, dict) else {}
