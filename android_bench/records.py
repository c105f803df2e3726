"""The records that a runner prints, each a dataclass whose fields are its keys. Pure.

The contract is `native/PROTOCOL.md`. A field with a default came with a later version, or may be
left out.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeGuard, TypeVar

from deploy.errors import BenchOutputError

PROTOCOL_VERSION = 3
INT64_MAX = 2**63 - 1  # what a column of a table can hold

# Exit codes of a runner, besides 0 for done and 2 for a wrong command line.
EXIT_LOAD = 3
EXIT_RUN = 4
EXIT_PROVIDER = 5
EXIT_CODES = {"load": EXIT_LOAD, "run": EXIT_RUN, "provider": EXIT_PROVIDER}  # by stage


@dataclass(frozen=True)
class Begin:
    """What the runner is, and what it understood that it should do.

    Attributes:
        runtime_version: None where its library could not be loaded.
        cores_asked: hexadecimal mask.
        cores_granted: the same, as the kernel tells it.
    """

    runtime: str
    runtime_version: str | None
    provider: str
    intra_op_threads: int
    inter_op_threads: int
    graph_opt_level: str
    config: Mapping[str, str]
    warmup: int
    min_runs: int
    mode: str = "latency"
    api_version: int | None = None
    pid: int | None = None
    provider_options: Mapping[str, str] = field(default_factory=dict)
    cores_asked: str | None = None
    cores_granted: str | None = None
    interval_ms: int | None = None


@dataclass(frozen=True)
class Memory:
    """The process' memory at the end of one phase."""

    phase: str
    t_ns: int
    rss_bytes: int
    rss_anon_bytes: int | None
    rss_file_bytes: int | None
    pss_bytes: int | None = None
    swap_pss_bytes: int | None = None


@dataclass(frozen=True)
class Smaps:
    """One reading of the sampler: name of a mapping -> rss, pss, private dirty, swap pss."""

    phase: str
    t_ns: int
    vmas: Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Sampler:
    """How closely the readings followed each other."""

    readings: int
    interval_mean_ns: int | None = None
    interval_max_ns: int | None = None
    read_mean_ns: int | None = None
    read_max_ns: int | None = None
    truncated: int = 0


@dataclass(frozen=True)
class Session:
    """The runtime's session, once made.

    Attributes:
        create_ns: None where an emulator's instructions were counted: there is no clock then.
    """

    create_ns: int | None
    input_shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Share:
    """What of a graph one provider computes."""

    nodes: int
    partitions: int | None = None


@dataclass(frozen=True)
class Node:
    """One node of the graph as the runtime divided it."""

    name: str
    op_type: str
    provider: str
    partition: int | None = None


@dataclass(frozen=True)
class Assignment:
    """Who computes which node.

    Attributes:
        source: api, log, or none where the launch could not tell.
        providers: by the runtime's own name of the provider.
        nodes: None where the source does not name them.
    """

    source: str
    nodes_total: int | None
    providers: Mapping[str, Share]
    nodes: tuple[Node, ...] | None = None


@dataclass(frozen=True)
class Sample:
    """One inference."""

    iteration: int
    phase: str
    t_start_ns: int
    latency_ns: int


@dataclass(frozen=True)
class Count:
    """Instructions that an emulator executed while the session was made, or in one inference.

    Attributes:
        phase: session, first, warmup or steady.
        iteration: of the inference; None for the session.
        simd: those on vector registers; scalar floats are among them.
        loads, stores: an atomic update is both.
        moved_bytes: by loads and stores, from and to the first cache.
        dot, mmla, fmla: 8-bit dot products, products of small matrices, and vector FMLA.
        branches: all that may change the program counter, and system instructions.
    """

    phase: str
    iteration: int | None
    instructions: int
    simd: int
    loads: int
    stores: int
    moved_bytes: int
    dot: int
    mmla: int
    fmla: int
    branches: int


@dataclass(frozen=True)
class Output:
    """The file that holds the output's values."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Peak:
    """The high-water mark of resident memory."""

    rss_bytes: int
    reset: bool


@dataclass(frozen=True)
class Profile:
    """The file that holds the runtime's own profile."""

    file: str
    bytes: int


@dataclass(frozen=True)
class Saved:
    """The file that holds the graph as the device optimized it."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Failure:
    """Why the runner gave up."""

    stage: str
    message: str


Record = TypeVar("Record")


def build(kind: type[Record], number: int, record: Mapping[str, Any]) -> Record:
    """Make a record's dataclass from its JSON object; keys that it does not know are left out.

    Args:
        number: of the line, for the error.

    Raises:
        BenchOutputError: a key is missing, or its value is of another type.
    """
    values = {}
    for one in dataclasses.fields(kind):  # type: ignore[arg-type]  # every kind is a dataclass
        fits, wanted = _CHECKS[one.type]
        if one.name not in record:
            if _is_optional(one):
                continue
            refuse(number, f"`{record.get('record', kind.__name__)}` has no `{one.name}`")
        if not fits(record[one.name]):
            told = short(json.dumps(record[one.name]))
            refuse(number, f"`{one.name}` is {told}, not {wanted}")
        values[one.name] = _MAKES.get(one.type, _as_it_is)(number, record[one.name])
    return kind(**values)


def is_count(value: Any) -> TypeGuard[int]:
    """Say whether a JSON value is a whole number that a column can hold."""
    return type(value) is int and 0 <= value <= INT64_MAX


def short(text: str, most: int = 60) -> str:
    """Give the head of a text, in quotes."""
    return repr(text if len(text) <= most else text[:most] + "...")


def refuse(number: int, problem: str) -> NoReturn:
    """Refuse a line of the runner's output."""
    raise BenchOutputError(
        f"line {number} of the runner's output: {problem}",
        "a runner keeps to android_bench/native/PROTOCOL.md; is this one of the same version?",
    )


def _is_optional(one: "dataclasses.Field[Any]") -> bool:
    has_default = one.default is not dataclasses.MISSING
    return has_default or one.default_factory is not dataclasses.MISSING


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_config(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(one, str) for one in value.values())


def _is_counts(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_count, value))


def _is_vmas(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_counts(sizes) and len(sizes) == 4 for sizes in value.values()
    )


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _or_null(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _as_it_is(number: int, value: Any) -> Any:
    return value


def _shares(number: int, value: Mapping[str, Any]) -> dict[str, Share]:
    return {name: build(Share, number, one) for name, one in value.items()}


def _nodes(number: int, value: Sequence[Any] | None) -> tuple[Node, ...] | None:
    return None if value is None else tuple(build(Node, number, one) for one in value)


# a field's annotation -> whether a JSON value is of it, and its name for the error
_CHECKS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    int: (is_count, "a whole number of 0 or more"),
    int | None: (_or_null(is_count), "a whole number or null"),
    str: (_is_text, "text"),
    str | None: (_or_null(_is_text), "text or null"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    tuple[int, ...] | None: (_or_null(_is_counts), "a list of whole numbers"),
    Mapping[str, str]: (_is_config, "an object of texts"),
    Mapping[str, Sequence[int]]: (_is_vmas, "an object of four sizes each"),
    Mapping[str, Share]: (
        lambda value: isinstance(value, dict) and _is_objects(list(value.values())),
        "an object of objects",
    ),
    tuple[Node, ...] | None: (_or_null(_is_objects), "a list of objects"),
}
# those whose value is more than JSON's own
_MAKES: dict[Any, Callable[[int, Any], Any]] = {
    tuple[int, ...] | None: lambda number, value: None if value is None else tuple(value),
    Mapping[str, Share]: _shares,
    tuple[Node, ...] | None: _nodes,
}
