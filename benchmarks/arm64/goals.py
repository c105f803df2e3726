"""What this project promises of its own networks in instructions, beside what was counted."""

from collections.abc import Mapping, Sequence
from typing import Any

from arm64.nets import DEFAULT, INT8, NETS, PLAIN

PROMISED_ON = "a76"


def goals(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give, for each net of the rows, how many times fewer instructions int8 has than the others.

    Returns:
        Of each comparison that has a promise: net, over (a form), ratio, promised, kept.
    """
    found: dict[str, dict[str, int]] = {}
    for one in rows:
        if "net" in one and one["cpu"] == PROMISED_ON:
            found.setdefault(one["net"], {})[one["form"]] = one["instructions"]
    return [
        {
            "net": name,
            "over": form,
            "ratio": forms[form] / forms[INT8],
            "promised": promised,
            "kept": forms[form] >= promised * forms[INT8],
        }
        for name, forms in found.items()
        for form, promised in (
            (PLAIN, NETS[name].over_plain),
            (DEFAULT, NETS[name].over_default),
        )
        if promised is not None
    ]


def goals_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Give the goals as a table; an empty text where the rows hold no net."""
    lines = [
        f"| {one['net']} | {one['over']} | {one['ratio']:.2f} | {one['promised']:.2f} "
        f"| {'yes' if one['kept'] else 'NO'} |"
        for one in goals(rows)
    ]
    if not lines:
        return ""
    head = ["| int8 of | over | times fewer | promised at 256x256 | kept |"]
    head += ["|---|---|---:|---:|---|"]
    return "\n".join([*head, *lines]) + "\n"
