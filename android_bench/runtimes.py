"""The ONNX Runtime library for a phone: found on this machine, checked, kept in the user's cache.

Looked for in this order: what `mofa-deploy runtime add FILE` kept, the local repository of Maven,
the cache of Gradle, and last what the user's own Maven fetches. Whatever is found is kept, so that
later sessions measure with the same file. Files come from others: of an archive only members of
known names are read, their sizes bounded, and where they go is decided here.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from android_bench.elf import ABIS, ElfFile, is_elf, read_elf
from android_bench.runtime_releases import (
    COORDINATES,
    GROUP,
    NAME,
    read_needs,
    require_reads,
    version_parts,
    what_to_fetch,
)
from deploy.errors import DeviceError
from deploy.files import file_sha256, unfinished

MAVEN_TIMEOUT_S = 600.0

LIBRARY = "libonnxruntime.so"
SIDECAR = "runtime.json"
ENTRY = "OrtGetApiBase"
NNAPI_ENTRY = "OrtSessionOptionsAppendExecutionProvider_Nnapi"
MAX_LIBRARY_BYTES = 1 << 30  # a full build has about 30 MiB; more than this is no library
CHUNK_BYTES = 1 << 20

# The name of a version of symbols, and what a build says of itself.
_VERSION = re.compile(rb"(?:VERS_|git-branch=rel-)(\d+\.\d+\.\d+)\b")
_VERSION_IN_NAME = re.compile(r"-(\d+\.\d+\.\d+)\.aar$")


@dataclass(frozen=True)
class Runtime:
    """One ONNX Runtime library.

    Attributes:
        path: the library; of a listed archive, the archive.
        version: as the library says; None where it does not.
        abi: Android's name for the processor.
        sha256: of the library.
        load_alignment_bytes: the largest pages of memory that it can be loaded with.
        has_nnapi: whether it was built with the NNAPI provider.
        source: the name of the file that it came from.
    """

    path: Path
    version: str | None
    abi: str
    sha256: str
    bytes: int
    load_alignment_bytes: int
    has_nnapi: bool
    source: str


def add_runtime(file: Path, cache: Path | None = None) -> list[Runtime]:
    """Keep the libraries of an .aar, or one .so, in the cache; give them.

    Raises:
        DeviceError: the file is not there, is neither, or holds no ONNX Runtime that can be used.
        OutputError: the cache refuses.
    """
    into = cache or default_cache()
    try:
        if is_elf(file):
            with file.open("rb") as library:
                return [_keep(library, file.name, None, into)]
        if zipfile.is_zipfile(file):
            return _add_archive(file, into)
    except OSError as error:
        raise DeviceError(f"cannot read {file} ({error.strerror})", "check the path") from error
    raise DeviceError(
        f"{file} is neither an Android archive nor a library",
        f"name the .aar of {GROUP}:{NAME}, or a {LIBRARY}",
    )


def list_runtimes(cache: Path | None = None) -> list[Runtime]:
    """Give the libraries in the cache, by ABI, the newest version first."""
    found = (
        _read_sidecar(path) for path in sorted((cache or default_cache()).glob(f"*/*/{SIDECAR}"))
    )
    kept = [one for one in found if one is not None]
    return sorted(kept, key=lambda one: (one.abi, [-part for part in version_parts(one.version)]))


def find_runtime(
    abi: str,
    models: Sequence[Path] = (),
    *,
    page_bytes: int | None = None,
    cache: Path | None = None,
    home: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Runtime:
    """Give the newest library for an ABI that reads all models, from the first place that has one.

    Args:
        models: .onnx files whose opset and IR version it has to read.
        page_bytes: the device's pages of memory, where that is known.
        home: where `.m2` and `.gradle` lie; left out: the user's home.
        tell: called with a line before anything that takes long.

    Raises:
        DeviceError: there is none, or none that reads the models; what to fetch is named.
    """
    into = cache or default_cache()
    needs = [read_needs(model) for model in models]
    refused: list[DeviceError] = []
    for offered in _offers(abi, into, home or Path.home(), tell):
        try:
            _require_pages(offered, page_bytes)
            for need in needs:
                require_reads(need, offered.version, abi)
            return _unchanged(offered)
        except DeviceError as error:
            refused.append(error)
    if refused:
        raise refused[0]
    raise DeviceError(f"no ONNX Runtime for {abi} on this machine", what_to_fetch())


def default_cache() -> Path:
    """Give the folder of the user's cache that libraries are kept in."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mofa-deploy" / "runtime"


def _offers(abi: str, cache: Path, home: Path, tell: Callable[[str], None]) -> Iterator[Runtime]:
    """Give what there is for an ABI, place after place, each looked at only when it is due."""
    yield from (one for one in list_runtimes(cache) if one.abi == abi)
    for archive in [*_maven_archives(home), *_gradle_archives(home)]:
        yield from (one for one in _added(archive, cache) if one.abi == abi)
    maven = shutil.which("mvn")
    if maven is not None:
        tell(f"fetching {COORDINATES} with Maven")
        yield from (one for one in _fetched(maven, cache) if one.abi == abi)


def _added(archive: Path, cache: Path) -> list[Runtime]:
    try:
        return add_runtime(archive, cache)
    except DeviceError:  # one broken download in a cache of others is not the user's concern
        return []


def _maven_archives(home: Path) -> list[Path]:
    folder = home.joinpath(".m2", "repository", *GROUP.split("."), NAME)
    return _newest_first(folder.glob(f"*/{NAME}-*.aar"))


def _gradle_archives(home: Path) -> list[Path]:
    folder = Path(os.environ.get("GRADLE_USER_HOME") or home / ".gradle")
    return _newest_first(
        folder.joinpath("caches", "modules-2", "files-2.1", GROUP, NAME).glob("*/*/*.aar")
    )


def _newest_first(archives: Iterator[Path]) -> list[Path]:
    return sorted(
        archives, key=lambda path: version_parts(_version_in_name(path.name)), reverse=True
    )


def _fetched(maven: str, cache: Path) -> list[Runtime]:
    """Let the user's Maven resolve the archive, from wherever it is set up to.

    Raises:
        DeviceError: it does not.
    """
    with tempfile.TemporaryDirectory(prefix="mofa-maven-") as folder:
        command = [maven, "--batch-mode", "dependency:copy", f"-Dartifact={COORDINATES}:aar"]
        try:
            completed = subprocess.run(
                [*command, f"-DoutputDirectory={folder}"],
                cwd=folder,  # no project of the user's is to be read
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=MAVEN_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DeviceError(
                f"Maven does not answer ({error})", what_to_fetch(has_maven=True)
            ) from error
        archives = sorted(Path(folder).glob("*.aar"))
        if completed.returncode != 0 or not archives:
            lines = [one for one in completed.stdout.splitlines() if "[ERROR]" in one]
            raise DeviceError(
                f"Maven cannot fetch {COORDINATES} ({_cause(lines)})", what_to_fetch(has_maven=True)
            )
        return add_runtime(archives[0], cache)


def _cause(lines: Sequence[str]) -> str:
    """Give the innermost of the causes that Maven strings together in its first line."""
    first = lines[0].replace("[ERROR]", "") if lines else "no message"
    return first.partition(" -> [Help")[0].split(": ")[-1].strip()


def _add_archive(file: Path, cache: Path) -> list[Runtime]:
    version = _version_in_name(file.name)
    try:
        with zipfile.ZipFile(file) as archive:
            members = {abi: f"jni/{abi}/{LIBRARY}" for abi in ABIS.values()}
            there = set(archive.namelist())
            kept = []
            for abi, member in members.items():
                if member in there:
                    with archive.open(member) as library:
                        kept.append(_keep(library, file.name, version, cache, abi))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        # an oddly packed or encrypted member is the third and the fourth
        raise DeviceError(f"{file} is broken ({error})", "fetch it again") from error
    if not kept:
        raise DeviceError(f"{file} holds no jni/*/{LIBRARY}", f"name the .aar of {GROUP}:{NAME}")
    return kept


def _keep(
    library: IO[bytes], source: str, version: str | None, cache: Path, abi: str | None = None
) -> Runtime:
    """Copy a library into the cache, with what it is beside it; give it as it is kept.

    Args:
        version: what the archive's name says; counts where the library says nothing.
        abi: what the archive says; the library has to say the same.
    """
    with tempfile.TemporaryDirectory(prefix="mofa-runtime-") as folder:
        copy = Path(folder) / LIBRARY
        _copy_bounded(library, copy, source)
        elf = read_elf(copy)
        _require_runtime(elf, source, abi)
        sha256 = file_sha256(copy)
        final = cache / elf.abi / sha256[:16]
        kept = Runtime(
            path=final / LIBRARY,
            version=_version_in_library(copy) or version,
            abi=elf.abi,
            sha256=sha256,
            bytes=copy.stat().st_size,
            load_alignment_bytes=elf.load_alignment_bytes,
            has_nnapi=NNAPI_ENTRY in elf.exported,
            source=source,
        )
        if _read_sidecar(final / SIDECAR) is None:
            with unfinished(final) as temporary:
                temporary.mkdir()
                shutil.copyfile(copy, temporary / LIBRARY)
                values = {key: value for key, value in asdict(kept).items() if key != "path"}
                (temporary / SIDECAR).write_text(json.dumps(values, indent=2) + "\n")
    return kept


def _copy_bounded(library: IO[bytes], copy: Path, source: str) -> None:
    """Copy at most as much as a library can have: a packed member can claim anything."""
    left = MAX_LIBRARY_BYTES
    with copy.open("wb") as file:
        while chunk := library.read(CHUNK_BYTES):
            left -= len(chunk)
            if left < 0:
                raise DeviceError(
                    f"a library in {source} has over {MAX_LIBRARY_BYTES} bytes", "fetch it again"
                )
            file.write(chunk)


def _require_runtime(elf: ElfFile, source: str, abi: str | None) -> None:
    if abi is not None and elf.abi != abi:
        raise DeviceError(f"{source} has a library for {elf.abi} under {abi}", "fetch it again")
    if ENTRY not in elf.exported:
        raise DeviceError(
            f"the library in {source} is no ONNX Runtime: it has no {ENTRY}",
            f"name a {LIBRARY} or the .aar of {GROUP}:{NAME}",
        )


def _require_pages(runtime: Runtime, page_bytes: int | None) -> None:
    if page_bytes is not None and runtime.load_alignment_bytes < page_bytes:
        raise DeviceError(
            f"{runtime.source} ({runtime.version}) is built for pages of at most "
            f"{runtime.load_alignment_bytes} bytes, this device has {page_bytes}",
            what_to_fetch(),
        )


def _unchanged(runtime: Runtime) -> Runtime:
    if file_sha256(runtime.path) != runtime.sha256:
        raise DeviceError(
            f"{runtime.path} has changed since it was added", f"add {runtime.source} again"
        )
    return runtime


def _read_sidecar(path: Path) -> Runtime | None:
    """Give what is kept beside a sidecar; None where that is broken, as if it had not been kept."""
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        found = Runtime(path=path.with_name(LIBRARY), **values)
        return found if found.path.stat().st_size == found.bytes else None
    except (OSError, ValueError, TypeError):
        return None


def _version_in_library(path: Path) -> str | None:
    """Find the version that a library says: its own calls would need its processor."""
    found = _VERSION.search(path.read_bytes())
    return found[1].decode() if found else None


def _version_in_name(name: str) -> str | None:
    found = _VERSION_IN_NAME.search(name)
    return found[1] if found else None
