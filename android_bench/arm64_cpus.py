"""The ARM cores that can be emulated, and the files of /proc and /sys that describe each.

ONNX Runtime's cpuinfo library reads those files. Without ones that fit, it parses the host's and
crashes at load; with ones that claim more than the emulated core has, it picks kernels that end in
an illegal instruction. QEMU's -L folder overlays both trees.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import DeviceError, UsageError

_ARM = "0x41"
_BASE = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_DOTPROD = f"{_BASE} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
_I8MM = f"{_DOTPROD} jscvt fcma ilrcpc flagm i8mm bf16"


@dataclass(frozen=True)
class Cpu:
    """A kind of core.

    Attributes:
        name: what the user types.
        qemu: the value of QEMU's -cpu.
        part, variant, revision: of the identification register, as /proc/cpuinfo gives them.
        features: as /proc/cpuinfo lists them; never more than QEMU emulates.
        what: which int8 kernels it can run, for people.
    """

    name: str
    qemu: str
    part: str
    variant: str
    revision: str
    features: str
    what: str


DEFAULT_CPU = "a76"
CPUS = {
    cpu.name: cpu
    for cpu in (
        Cpu("a53", "cortex-a53", "0xd03", "0x0", "4", _BASE, "no dot product"),
        Cpu("a76", "cortex-a76", "0xd0b", "0x3", "1", _DOTPROD, "dot product (SDOT, UDOT)"),
        # Cortex-A715's number: a core of this kind, without the SVE that it would have
        Cpu("i8mm", "max,sme=off,sve=off", "0xd4d", "0x1", "0", _I8MM, "int8 matrices (SMMLA)"),
    )
}

# one core, numbered 0: more would only make the session look for the fastest
_TOPOLOGY = {
    "possible": "0",
    "present": "0",
    "online": "0",
    "kernel_max": "0",
    "cpu0/topology/core_id": "0",
    "cpu0/topology/physical_package_id": "0",
    "cpu0/topology/core_siblings": "1",
    "cpu0/topology/core_siblings_list": "0",
    "cpu0/topology/thread_siblings": "1",
    "cpu0/topology/thread_siblings_list": "0",
    "cpu0/topology/cluster_cpus_list": "0",
    "cpu0/cpufreq/cpuinfo_max_freq": "2000000",
    "cpu0/cpufreq/cpuinfo_min_freq": "500000",
    "cpu0/cache/index2/level": "2",
    "cpu0/cache/index2/size": "512K",
    "cpu0/cache/index2/shared_cpu_list": "0",
}

# where ONNX Runtime looks for other processors: those of the host are not the guest's
_EMPTY_FOLDERS = ("sys/bus/pci/devices", "sys/class/drm", "sys/class/accel")

# The bits of AT_HWCAP and AT_HWCAP2 that a feature of /proc/cpuinfo stands for.
# Source: Linux, arch/arm64/include/uapi/asm/hwcap.h.
_HWCAP = {
    **{"fp": 1 << 0, "asimd": 1 << 1, "aes": 1 << 3, "pmull": 1 << 4, "sha1": 1 << 5},
    **{"sha2": 1 << 6, "crc32": 1 << 7, "atomics": 1 << 8, "fphp": 1 << 9, "asimdhp": 1 << 10},
    **{"cpuid": 1 << 11, "asimdrdm": 1 << 12, "jscvt": 1 << 13, "fcma": 1 << 14},
    **{"lrcpc": 1 << 15, "dcpop": 1 << 16, "asimddp": 1 << 20},
    **{"ilrcpc": 1 << 26, "flagm": 1 << 27},
}
_HWCAP2 = {"i8mm": 1 << 13, "bf16": 1 << 14}
_AUXILIARY = re.compile(r"^(AT_HWCAP2?):\s+(?:0x)?([0-9a-f]+)$", re.MULTILINE)
_NO_INSTRUCTION = {"evtstrm"}  # of the timer: the emulator has none, and nobody runs into that


def find_cpu(name: str) -> Cpu:
    """Give a core by name.

    Raises:
        UsageError: no such core; all are listed.
    """
    if name not in CPUS:
        known = ", ".join(f"{cpu.name} ({cpu.what})" for cpu in CPUS.values())
        raise UsageError(f"unknown CPU {name!r}", f"use one of {known}")
    return CPUS[name]


def description_files(cpu: Cpu) -> dict[str, str]:
    """Give what Linux says of the core: path below / -> text."""
    files = {f"sys/devices/system/cpu/{name}": f"{text}\n" for name, text in _TOPOLOGY.items()}
    files["proc/cpuinfo"] = "".join(
        f"{key}\t: {value}\n"
        for key, value in {
            "processor": "0",
            "BogoMIPS": "48.00",
            "Features": cpu.features,
            "CPU implementer": _ARM,
            "CPU architecture": "8",
            "CPU variant": cpu.variant,
            "CPU part": cpu.part,
            "CPU revision": cpu.revision,
        }.items()
    )
    return files


def description_sha256(cpu: Cpu) -> str:
    """Give one hash of what Linux says of the core."""
    parts = [*_EMPTY_FOLDERS, *(part for pair in description_files(cpu).items() for part in pair)]
    together = "\0".join(parts)
    return hashlib.sha256(together.encode()).hexdigest()


def write_description(cpu: Cpu, root: Path) -> None:
    """Write what Linux says of the core below `root`, over what may be there.

    Raises:
        DeviceError: it cannot be written; the library would crash at load without it.
    """
    for name, text in description_files(cpu).items():
        path = root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        except OSError as error:
            raise DeviceError(
                f"the description of the {cpu.name}, {path}, cannot be written ({error.strerror})",
                "let that folder be written: ONNX Runtime crashes at load without it",
            ) from error
    for name in _EMPTY_FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)


def require_features(cpu: Cpu, auxiliary: str) -> None:
    """Check that the emulator has what the description claims.

    Args:
        auxiliary: what a guest program prints of its auxiliary vector, with LD_SHOW_AUXV set.

    Raises:
        DeviceError: it lacks something; ONNX Runtime would run into an illegal instruction.
    """
    bits = {key: int(value, 16) for key, value in _AUXILIARY.findall(auxiliary)}
    has = {name for name, bit in _HWCAP.items() if bits.get("AT_HWCAP", 0) & bit}
    has |= {name for name, bit in _HWCAP2.items() if bits.get("AT_HWCAP2", 0) & bit}
    lacking = [name for name in cpu.features.split() if name not in has | _NO_INSTRUCTION]
    if lacking:
        raise DeviceError(
            f"the description of the {cpu.name} claims {', '.join(lacking)}, which the emulated "
            f"{cpu.qemu.partition(',')[0]} lacks",
            "take another --cpu, or a newer qemu-user",
        )
