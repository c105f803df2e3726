"""What a built file is, read from its ELF headers, and whether what it is for can load it.

Reads files that others made, so nothing in them is trusted. Imports only `deploy.errors` of ours.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection
from elftools.elf.segments import InterpSegment

from deploy.errors import DeviceError

NATIVE = Path(__file__).with_name("native")
SYMBOLS = NATIVE / "bionic" / "symbols.txt"

API_LEVEL = 24  # the oldest Android that the runner is made for: 7.0
PAGE_BYTES = 0x4000  # the largest page size of a phone
LINKER = "/system/bin/linker64"  # of the 64-bit ABIs
LIBRARIES = ("libc.so", "libdl.so", "libm.so")  # what a plain program may need

# of Linux on aarch64, for the emulator
ARM64_LINKER = "/lib/ld-linux-aarch64.so.1"
ARM64_LIBRARIES = (
    "ld-linux-aarch64.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libm.so.6",
    "libpthread.so.0",
)
# functions that take the place of libc's there (native/arm64/guest.c), and what switches the clock
GUEST_EXPORTS = frozenset({"clock_gettime", "syscall", "count_on_clock"})
COUNTER_EXPORTS = frozenset({"qemu_plugin_install", "qemu_plugin_version"})

# the machine of an ELF file -> Android's name for the ABI
ABIS = {"EM_AARCH64": "arm64-v8a", "EM_X86_64": "x86_64", "EM_ARM": "armeabi-v7a", "EM_386": "x86"}

ELF_MAGIC = b"\x7fELF"


@dataclass(frozen=True)
class ElfFile:
    """What an ELF file says of itself.

    Attributes:
        abi: Android's name for the processor; what the file says, where Android has none.
        interpreter: the dynamic linker that it asks for; None for a library.
        needed: the libraries that it needs, by soname.
        soname: its own name as a library.
        is_pie: a program that can lie anywhere in memory.
        is_shared: can be loaded at any address: a library, or a PIE.
        load_alignment_bytes: the least alignment of its LOAD segments.
        undefined: strong symbols that it takes from others.
        exported: symbols that others can take from it.
    """

    path: Path
    abi: str
    interpreter: str | None
    needed: tuple[str, ...]
    soname: str | None
    is_pie: bool
    is_shared: bool
    load_alignment_bytes: int
    undefined: frozenset[str]
    exported: frozenset[str]


def is_elf(path: Path) -> bool:
    """Say whether a file begins as an ELF file does. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(ELF_MAGIC)) == ELF_MAGIC


def read_elf(path: Path) -> ElfFile:
    """Read what a file says of itself.

    Raises:
        DeviceError: it is not there, or no ELF file, or a broken one.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file)
    except OSError as error:
        raise DeviceError(f"cannot read {path} ({error.strerror})", "check the path") from error
    except (ELFError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        # pyelftools trusts offsets and sizes; on a broken file it fails in any of these ways
        raise DeviceError(
            f"{path} is no ELF file that can be loaded ({type(error).__name__})",
            "name a file that was built for a device",
        ) from error


def check_runner(path: Path, abi: str, api_level: int = API_LEVEL) -> None:
    """Check that an Android of that level, and every younger one, can start this program.

    Raises:
        DeviceError: it cannot, and what of the file is wrong.
    """
    elf = read_elf(path)
    levels = symbol_levels()
    unknown = sorted(elf.undefined - levels.keys())
    young = sorted(name for name in elf.undefined & levels.keys() if levels[name] > api_level)
    foreign = sorted(set(elf.needed) - set(LIBRARIES))
    problems = (
        (elf.abi != abi, f"is built for {elf.abi}, not for {abi}"),
        (elf.interpreter != LINKER, f"asks for the linker {elf.interpreter}, not {LINKER}"),
        (not elf.is_pie, "is not position-independent"),
        (elf.load_alignment_bytes < PAGE_BYTES, f"is aligned to {elf.load_alignment_bytes} bytes"),
        (bool(foreign), f"needs {', '.join(foreign)}, which no plain program has"),
        (bool(young), f"uses {', '.join(young)}, younger than API level {api_level}"),
        (bool(unknown), f"uses {', '.join(unknown)}, not listed in {SYMBOLS.name}"),
    )
    for is_wrong, what in problems:
        if is_wrong:
            raise DeviceError(f"the runner {path.name} {what}", "build it as runner.py does")


def check_arm64_runner(path: Path) -> None:
    """Check that an emulated Linux on aarch64 can start this program, and counts exactly.

    Raises:
        DeviceError: it cannot, and what of the file is wrong.
    """
    elf = read_elf(path)
    foreign = sorted(set(elf.needed) - set(ARM64_LIBRARIES))
    hidden = sorted(GUEST_EXPORTS - elf.exported)
    problems = (
        (elf.abi != "arm64-v8a", f"is built for {elf.abi}, not for aarch64"),
        (elf.interpreter != ARM64_LINKER, f"asks for the linker {elf.interpreter}"),
        (bool(foreign), f"needs {', '.join(foreign)}, which is not among the arm64 libraries"),
        (bool(hidden), f"does not export {', '.join(hidden)}"),
    )
    for is_wrong, what in problems:
        if is_wrong:
            raise DeviceError(f"the arm64 runner {path.name} {what}", "build it as runner.py does")


def check_counter(path: Path, abi: str) -> None:
    """Check that an emulator on this machine can load this plugin.

    Args:
        abi: Android's name for this machine's processor.

    Raises:
        DeviceError: it cannot, and what of the file is wrong.
    """
    elf = read_elf(path)
    hidden = sorted(COUNTER_EXPORTS - elf.exported)
    problems = (
        (elf.abi != abi, f"is built for {elf.abi}, not for {abi}"),
        (not elf.is_shared or elf.interpreter is not None, "is no library"),
        (bool(hidden), f"does not export {', '.join(hidden)}"),
    )
    for is_wrong, what in problems:
        if is_wrong:
            raise DeviceError(f"the counter {path.name} {what}", "build it as runner.py does")


@cache
def symbol_levels() -> dict[str, int]:
    """Give the API level that each function of bionic came with, of those that a runner may use."""
    return {name: level for _, name, level in symbol_table()}


def symbol_table() -> list[tuple[str, str, int]]:
    """Give library, name and API level of each function of bionic that a runner may use."""
    lines = SYMBOLS.read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return [(library, name, int(level)) for library, name, level in rows]


def _read(path: Path, file: IO[bytes]) -> ElfFile:
    elf = ELFFile(file)
    machine = elf.header["e_machine"]
    segments = list(elf.iter_segments())
    dynamic = next((one for one in segments if isinstance(one, DynamicSegment)), None)
    interpreter = next((one for one in segments if isinstance(one, InterpSegment)), None)
    loads = [one["p_align"] for one in segments if one["p_type"] == "PT_LOAD"]
    if dynamic is None or not loads:
        raise ValueError("nothing to load")
    tags: list[Any] = list(dynamic.iter_tags())  # what a tag holds depends on its kind
    soname = next((tag.soname for tag in tags if tag.entry.d_tag == "DT_SONAME"), None)
    # a hash table alone does not always count the symbols that are taken from others
    tables = (one for one in elf.iter_sections() if isinstance(one, SymbolTableSection))
    table = next((one for one in tables if one["sh_type"] == "SHT_DYNSYM"), dynamic)
    symbols = [(one.name, one.entry) for one in table.iter_symbols() if one.name]
    is_shared = elf.header["e_type"] == "ET_DYN"
    return ElfFile(
        path=path,
        abi=ABIS.get(machine, str(machine)),
        interpreter=interpreter.get_interp_name() if interpreter else None,
        needed=tuple(tag.needed for tag in tags if tag.entry.d_tag == "DT_NEEDED"),
        soname=soname,
        is_pie=is_shared and interpreter is not None,
        is_shared=is_shared,
        load_alignment_bytes=min(loads),
        undefined=frozenset(name for name, entry in symbols if _is_strong_undefined(entry)),
        exported=frozenset(name for name, entry in symbols if entry["st_shndx"] != "SHN_UNDEF"),
    )


def _is_strong_undefined(entry: Any) -> bool:
    return bool(entry["st_shndx"] == "SHN_UNDEF" and entry["st_info"]["bind"] == "STB_GLOBAL")
