"""The ARM cores that can be emulated, and the files of /proc and /sys that describe each.

ONNX Runtime's cpuinfo library reads those files. Without ones that fit, it parses the host's and
crashes at load; with ones that claim more than the emulated core has, it picks kernels that end in
an illegal instruction. QEMU's -L folder overlays both trees.
"""

from dataclasses import dataclass
from pathlib import Path

from deploy.errors import UsageError

_ARM = "0x41"
_BASE = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_DOTPROD = f"{_BASE} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
_I8MM = f"{_DOTPROD} jscvt fcma ilrcpc uscat flagm i8mm bf16"


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


def find_cpu(name: str) -> Cpu:
    """Give a core by name.

    Raises:
        UsageError: no such core; all are listed.
    """
    if name not in CPUS:
        known = ", ".join(f"{cpu.name} ({cpu.what})" for cpu in CPUS.values())
        raise UsageError(f"unknown CPU {name!r}", f"use one of {known}")
    return CPUS[name]


def write_description(cpu: Cpu, root: Path) -> None:
    """Write what Linux says of the core below `root`, over what may be there."""
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
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
