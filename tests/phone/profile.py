"""What a generation of Android answers, as text: its properties, services, settings and files.

A profile is one text file of sections. `== getprop` holds properties as `getprop` prints them, `==
dumpsys NAME` what a service says, `== dumpsys NAME PID` what it says of a process, `== settings
NAMESPACE` lines of `key=value`, `== tools` the programs in its PATH, and `== /a/path` the content
of a file. `== daemon` says how its adb daemon talks: `features`, `max_data_bytes` and `terminal`
(whether the old shell is a terminal).
"""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).with_name("profiles")


@dataclass(frozen=True)
class Profile:
    """What a phone of one generation answers."""

    properties: dict[str, str]
    services: dict[str, str]
    settings: dict[str, dict[str, str]]
    tools: tuple[str, ...]
    files: dict[str, str]
    features: str
    max_data_bytes: int
    terminal: bool


def read_profile(name: str) -> Profile:
    """Read the profile of that name; `== like NAME` takes what is not said from another one."""
    text = (FOLDER / f"{name}.txt").read_text()
    sections = dict(_sections(text))
    while parent := next((one for one in sections if one.startswith("like ")), None):
        sections.pop(parent)
        base = dict(_sections((FOLDER / f"{parent.removeprefix('like ')}.txt").read_text()))
        if "getprop" in sections:
            sections["getprop"] = base.get("getprop", "") + sections["getprop"]
        sections = {**base, **sections}
    daemon = _pairs(sections["daemon"])
    return Profile(
        properties=dict(re.findall(r"^\[(.*?)\]: \[(.*)\]$", sections["getprop"], re.MULTILINE)),
        services=_under(sections, "dumpsys "),
        settings={key: _pairs(text) for key, text in _under(sections, "settings ").items()},
        tools=tuple(sections["tools"].split()),
        files={key: text for key, text in sections.items() if key.startswith("/")},
        features=daemon["features"],
        max_data_bytes=int(daemon["max_data_bytes"]),
        terminal=daemon["terminal"] == "yes",
    )


def _sections(text: str) -> list[tuple[str, str]]:
    parts = re.split(r"^== (.*)\n", text, flags=re.MULTILINE)
    return [(name, body) for name, body in zip(parts[1::2], parts[2::2], strict=True)]


def _under(sections: dict[str, str], prefix: str) -> dict[str, str]:
    return {
        name.removeprefix(prefix): text
        for name, text in sections.items()
        if name.startswith(prefix)
    }


def _pairs(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if line.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}
