"""What a phone says of itself -> `DeviceRow`. Every source may be missing on some phone."""

import hashlib
import json
import re
from collections.abc import Callable

from android_bench.device import Completed, DeviceInfo

CPUS = "/sys/devices/system/cpu"
MARK = "-- next --"  # between the answers, and in none of them
# One command, as each costs tens of milliseconds. `$i` stays as it is where there is no such file.
SCRIPT = f"""
uname -r
echo "{MARK}"; cat /proc/meminfo
echo "{MARK}"; cat /proc/cpuinfo
echo "{MARK}"; getconf PAGE_SIZE || grep -m 1 KernelPageSize /proc/self/smaps
echo "{MARK}"; cat {CPUS}/cpu0/cpufreq/scaling_governor
echo "{MARK}"; cat {CPUS}/possible
echo "{MARK}"
for i in {CPUS}/cpu[0-9]*/cpufreq/cpuinfo_max_freq; do
    echo "$i $(cat "$i")"
done
"""


def device_id(serial: str) -> str:
    """Give the name of a phone in rows: the serial itself goes no further."""
    return hashlib.sha256(f"adb:{serial}".encode()).hexdigest()[:16]


def read_info(serial: str, shell: Callable[[str], Completed]) -> DeviceInfo:
    """Ask a phone what it is.

    Args:
        serial: adb's name for it; the phone's own serial number is preferred, so that a phone on
            a cable and the same one on Wi-Fi are one device.
        shell: runs a command on it.

    Raises:
        DeviceError: it does not answer.
    """
    properties = parse_properties(shell("getprop").stdout)
    answers = [part.strip() for part in shell(SCRIPT).stdout.split(MARK)]
    kernel, memory, cpus, page, governor, possible, tops = (answers + [""] * 7)[:7]
    max_freq_khz = _max_freq_khz(tops, _count(possible))
    soc = _soc(properties)
    manufacturer, model = (properties.get(f"ro.product.{one}") for one in ("manufacturer", "model"))
    release = properties.get("ro.build.version.release")
    return DeviceInfo(
        device_id=device_id(properties.get("ro.serialno") or serial),
        name=" ".join(filter(None, [manufacturer, model])) or "an Android device",
        abi=properties.get("ro.product.cpu.abi", ""),
        os=f"Android {release or ''}".strip(),
        cpu=soc or _hardware(cpus) or properties.get("ro.hardware", ""),
        cpu_cores=_count(possible) or len(re.findall(r"^processor", cpus, re.MULTILINE)) or 1,
        mem_total_bytes=(_number(r"MemTotal:\s*(\d+)", memory) or 0) * 1024,
        is_phone=True,
        manufacturer=manufacturer,
        model=model,
        soc=soc,
        android_release=release,
        sdk=_number(r"^(\d+)$", properties.get("ro.build.version.sdk", "")),
        build_fingerprint=properties.get("ro.build.fingerprint"),
        kernel=kernel or None,
        page_size_bytes=_page_size_bytes(page),
        cpu_max_freq_khz=json.dumps(max_freq_khz) if any(max_freq_khz) else None,
        governor=governor or None,
        is_emulator=_is_emulator(properties),
    )


def parse_properties(text: str) -> dict[str, str]:
    """Give the properties that `getprop` lists; those that are empty are left out."""
    found = re.findall(r"^\[(.+?)\]: \[(.+?)\]$", text.replace("\r", ""), re.MULTILINE)
    return dict(found)


def _soc(properties: dict[str, str]) -> str | None:
    """Give the chip's name: since Android 12 it has properties of its own, before a code name."""
    maker, model = properties.get("ro.soc.manufacturer"), properties.get("ro.soc.model")
    if model:
        return " ".join(filter(None, [maker, model]))
    return properties.get("ro.board.platform")


def _is_emulator(properties: dict[str, str]) -> bool:
    qemu = properties.get("ro.kernel.qemu") or properties.get("ro.boot.qemu")
    return qemu == "1" or properties.get("ro.hardware") in ("goldfish", "ranchu", "cutf_cvm")


def _hardware(cpuinfo: str) -> str | None:
    found = re.search(r"^Hardware\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return found[1].strip() if found else None


def _max_freq_khz(lines: str, cores: int) -> list[int | None]:
    """Give the highest frequency of each core in its place; None where it is not told."""
    found = {int(core): int(khz) for core, khz in re.findall(r"/cpu(\d+)/\S+ (\d+)$", lines, re.M)}
    return [found.get(core) for core in range(max([cores, *(one + 1 for one in found)]))]


def _count(ranges: str) -> int:
    """Count the cores of `0-3,6-7`; 0 where it is not told."""
    spans = re.findall(r"(\d+)(?:-(\d+))?", ranges)
    return sum(int(last or first) - int(first) + 1 for first, last in spans)


def _page_size_bytes(text: str) -> int | None:
    """Take the page size from what getconf says in bytes, or smaps in KiB."""
    kib = re.search(r"KernelPageSize:\s*(\d+) kB", text)
    return int(kib[1]) * 1024 if kib else _number(r"^(\d+)$", text)


def _number(pattern: str, text: str) -> int | None:
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else None
