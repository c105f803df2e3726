"""Who may import whom: the table of borders, held over the source of every package."""

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

from deploy.cli import EXPORT_NEEDS

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("deploy", "calib", "android_bench", "reports")

LEAVES = ("deploy.errors", "deploy.files")  # so that there is one way to fail and one to write
# What stage files share. A stage file is any other module of deploy: none may import another.
SHARED = (
    *LEAVES,
    "deploy.artifact",
    "deploy.audit",
    "deploy.bias_correction",
    "deploy.channel_balance",
    "deploy.channel_rules",
    "deploy.channel_scales",
    "deploy.channel_ties",
    "deploy.codes",
    "deploy.fidelity",
    "deploy.findings",
    "deploy.float_layers",
    "deploy.float_rows",
    "deploy.fusion",
    "deploy.inference",
    "deploy.integer_forms",
    "deploy.integer_ops",
    "deploy.onnx_file",
    "deploy.operators",
    "deploy.pipeline",
    "deploy.placement",
    "deploy.qdq",
    "deploy.recipe",
    "deploy.reload",
    "deploy.residuals",
    "deploy.rewrites",
    "deploy.spec",
    "deploy.targets",
    "deploy.tuning",
    "deploy.zoo",
    "calib",
)

# importer -> what of ours it may import, besides what lies in itself; the longest match counts
BORDERS = {
    "calib": LEAVES,
    "deploy": SHARED,
    "deploy.errors": (),
    "deploy.files": ("deploy.errors",),
    "deploy.artifact": LEAVES,  # android_bench sees it, and so sees what it sees
    "android_bench": (*LEAVES, "deploy.artifact"),
    "reports": (*LEAVES, "android_bench.rows"),
    "deploy.cli": PACKAGES,
    "deploy.cli_gate": PACKAGES,
    "deploy.cli_measure": PACKAGES,
    "deploy.cli_options": (),
    "deploy.cli_parse": LEAVES,
    "deploy.cli_runtime": PACKAGES,
    "deploy.cli_tune": PACKAGES,
    "deploy.commands": PACKAGES,
}
COMMAND_LINE = (
    "deploy.cli",
    "deploy.cli_gate",
    "deploy.cli_measure",
    "deploy.cli_options",
    "deploy.cli_parse",
    "deploy.cli_runtime",
    "deploy.cli_tune",
)
TORCH_ROOMS = ("deploy.zoo", "deploy.export")


@dataclass(frozen=True)
class Import:
    importer: str
    imported: str
    where: str
    typing_only: bool = False  # under `if TYPE_CHECKING:`
    at_top: bool = True  # runs when the importer is imported


def lies_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def modules_of(root: Path) -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


@cache
def imports_of(root: Path) -> list[Import]:
    modules = modules_of(root)
    return [
        one for name, path in modules.items() for one in imports_in(name, path, frozenset(modules))
    ]


def imports_in(importer: str, path: Path, modules: frozenset[str]) -> Iterator[Import]:
    package = importer if path.stem == "__init__" else importer.rpartition(".")[0]
    for node, typing_only, at_top in statements(ast.parse(path.read_text())):
        where = f"{importer}:{node.lineno}"
        for imported in names_imported(node, package, modules):
            yield Import(importer, imported, where, typing_only, at_top)


def statements(
    tree: ast.AST, typing_only: bool = False, at_top: bool = True
) -> Iterator[tuple[ast.stmt | ast.expr, bool, bool]]:
    """Give every node that has a line, whether it is for type checkers only, and whether it runs
    on import."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.stmt | ast.expr):
            yield node, typing_only, at_top
        for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from statements(node, typing_only or for_types, at_top and not inside)


def names_imported(node: ast.AST, package: str, modules: frozenset[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, *filter(None, [node.module])])
        inside = [f"{base}.{alias.name}" for alias in node.names]
        return [name if name in modules else base for name in inside]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
        ("import_module", "__import__")
    ):
        return [one.value for one in node.args[:1] if isinstance(one, ast.Constant)]
    return []


def violations(root: Path) -> list[str]:
    return [f"{one.where} imports {one.imported}" for one in imports_of(root) if not allowed(one)]


def allowed(one: Import) -> bool:
    if lies_in(one.imported, "torch"):
        return one.typing_only or any(lies_in(one.importer, room) for room in TORCH_ROOMS)
    if one.imported.split(".")[0] not in PACKAGES:
        return True
    room = max((room for room in BORDERS if lies_in(one.importer, room)), key=len)
    # a package may import itself; `deploy` may not, for its stage files are strangers
    own = (one.importer,) if room == "deploy" else (room,)
    return any(lies_in(one.imported, there) for there in (*own, *BORDERS[room]))


def test_the_packages_keep_to_the_borders():
    assert violations(REPOSITORY) == []


def test_every_package_is_walked():
    walked = {one.importer for one in imports_of(REPOSITORY)}
    assert {"deploy.export", "calib.crops", "android_bench.host", "reports.html"} <= walked
    assert "deploy.zoo.nafnet" in walked


def test_every_shared_module_exists():
    named = {room for row in (*BORDERS.values(), tuple(BORDERS)) for room in row}
    assert named <= set(modules_of(REPOSITORY))


@pytest.fixture
def plant(tmp_path):
    """Lay out every module of ours as an empty file, but for one with this source."""

    def lay_out(module: str, source: str) -> Path:
        for name, path in modules_of(REPOSITORY).items():
            copy = tmp_path / path.relative_to(REPOSITORY)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(source if name == module else "")
        return tmp_path

    return lay_out


FORBIDDEN = [
    ("calib.crops", "from deploy.spec import TensorSpec", "deploy.spec"),
    ("calib.crops", "import deploy.artifact", "deploy.artifact"),
    ("calib.crops", "from android_bench.rows import RunRow", "android_bench.rows"),
    ("deploy.export", "from deploy.quantize import quantize", "deploy.quantize"),
    ("deploy.export", "from deploy import quantize", "deploy.quantize"),
    ("deploy.export", "from . import quantize", "deploy.quantize"),
    ("deploy.quantize", "from deploy.commands.show import console", "deploy.commands.show"),
    ("deploy.optimize", "from android_bench.plan import BenchPlan", "android_bench.plan"),
    ("deploy.prepare", "import reports.tables", "reports.tables"),
    ("deploy.prepare", "def f():\n    from reports import tables", "reports.tables"),
    ("deploy.prepare", "import importlib\nimportlib.import_module('reports.html')", "reports.html"),
    ("deploy.zoo.nafnet", "from deploy.export import export", "deploy.export"),
    ("deploy.zoo.nafnet", "from ..cli import app", "deploy.cli"),
    ("deploy.artifact", "from deploy.zoo.registry import MODELS", "deploy.zoo.registry"),
    ("deploy.files", "from deploy.artifact import Artifact", "deploy.artifact"),
    ("deploy.errors", "from deploy.files import file_sha256", "deploy.files"),
    ("android_bench.host", "from deploy.spec import TensorSpec", "deploy.spec"),
    ("android_bench.host", "from calib.crops import Crop", "calib.crops"),
    ("android_bench.host", "if True:\n    import reports", "reports"),
    ("reports.html", "from android_bench.plan import BenchPlan", "android_bench.plan"),
    ("reports.html", "from deploy.artifact import Artifact", "deploy.artifact"),
    ("deploy.quantize", "import torch", "torch"),
    ("deploy.spec", "def f():\n    from torch import nn", "torch"),
    ("deploy.commands.run", "import torch.nn as nn", "torch.nn"),
    ("calib.report", "class C:\n    import torch", "torch"),
]


@pytest.mark.parametrize(("module", "source", "imported"), FORBIDDEN)
def test_a_planted_violation_is_found(plant, module, source, imported):
    (found,) = violations(plant(module, source))
    assert re.fullmatch(rf"{module}:\d+ imports {imported}", found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("calib.crops", "from deploy.errors import DataError\nfrom deploy import files"),
        ("deploy.export", "import torch\nfrom deploy.zoo import registry\nfrom calib import crops"),
        ("deploy.spec", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch"),
        ("android_bench.host", "from android_bench import rows\nimport deploy.artifact"),
        ("reports.html", "from . import tables\nfrom android_bench.rows import RunRow"),
        ("deploy.cli", "def f():\n    import reports.html, android_bench.plan, deploy.export"),
        ("deploy.commands.run", "from deploy import export\nfrom .show import console"),
    ],
)
def test_what_the_table_grants_is_no_violation(plant, module, source):
    assert violations(plant(module, source)) == []


def test_the_command_line_loads_only_its_options_and_errors_before_a_command_runs():
    at_top = {
        one.imported.split(".")[0] if one.imported.split(".")[0] not in PACKAGES else one.imported
        for one in imports_of(REPOSITORY)
        if one.importer in COMMAND_LINE and one.at_top
    }
    ours = {"deploy.errors", *COMMAND_LINE}
    assert at_top - set(sys.stdlib_module_names) <= {"typer", *ours}


def reached_from(*starts: str) -> set[str]:
    """Give what gets imported, of ours and of others, when these modules are imported."""
    modules, imports = modules_of(REPOSITORY), imports_of(REPOSITORY)
    seen: set[str] = set()
    todo = list(starts)
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        if module in modules:
            todo += [
                one.imported
                for one in imports
                if one.importer == module and one.at_top and not one.typing_only
            ]
    return seen


@cache
def declared() -> dict[str, set[str]]:
    """Give the distributions that setup.cfg names: of the base install, and of each extra."""
    config = configparser.ConfigParser()
    config.read(REPOSITORY / "setup.cfg")
    lists = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {
        extra: {
            re.split(r"[<>=!~ \[]", line, maxsplit=1)[0].lower()
            for line in text.splitlines()
            if line and not line.startswith(("#", "%"))
        }
        for extra, text in lists.items()
    }


def distributions(modules: set[str]) -> set[str]:
    """Give the distributions that bring these modules; ours and the standard library's left out."""
    names = {name.split(".")[0] for name in modules} - set(PACKAGES) - set(sys.stdlib_module_names)
    by_module = metadata.packages_distributions()
    return {by_module[name][0].lower().replace("_", "-") for name in names}


def test_a_base_install_has_all_that_measuring_and_reporting_import():
    needed = distributions(
        reached_from(
            "deploy.cli", "deploy.commands.bench", "deploy.commands.report", "android_bench.devices"
        )
    )
    assert needed - declared()[""] == set()


def test_every_library_that_is_imported_is_declared():
    needed = distributions({one.imported for one in imports_of(REPOSITORY)})
    assert needed - set.union(*declared().values()) == set()


def test_what_the_command_line_calls_missing_is_what_the_export_extra_brings():
    assert set(EXPORT_NEEDS) == declared()["export"]


def test_measuring_and_reporting_reach_no_torch():
    reached = reached_from("deploy.cli", "deploy.commands.bench", "deploy.commands.report")
    assert {"android_bench.session", "reports.html"} <= reached
    assert not [name for name in reached if lies_in(name, "torch")]
