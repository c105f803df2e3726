"""What a rewrite did to a graph, and what it left alone."""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Filled by a rewrite while it walks a graph.

    Attributes:
        applied: names of the nodes that were rewritten.
        skipped: node name -> why it looked like a match and was left as it is.
        forms: applied node name -> the form that it got and why, where there are several.
    """

    applied: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    forms: dict[str, str] = field(default_factory=dict)
