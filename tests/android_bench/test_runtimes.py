"""The ONNX Runtime library of a phone: kept, found, and matched to models.

The archives are made here around real ELF files: one that zig builds for arm64, and the library of
the installed onnxruntime.
"""

import io
import json
import os
import subprocess
import sys
import zipfile

import pytest
from bench_examples import two_convs
from onnx import save

from android_bench import runtimes
from android_bench.device import DeviceInfo
from android_bench.elf import read_elf
from android_bench.programs import programs_for
from android_bench.runner import host_library
from android_bench.runtime_releases import (
    READS,
    Needs,
    read_limits,
    read_needs,
    require_reads,
    version_parts,
)
from android_bench.runtimes import add_runtime, find_runtime, list_runtimes
from deploy.cli import DONE, EXPECTED_ERROR, run_app
from deploy.errors import ArtifactError, DeviceError

MAVEN = ".m2/repository/com/microsoft/onnxruntime/onnxruntime-android"
GRADLE = ".gradle/caches/modules-2/files-2.1/com.microsoft.onnxruntime/onnxruntime-android"

SOURCE = """
const char *VERSION = "VERS_%s";
const void *OrtGetApiBase(void) { return 0; }
void *OrtSessionOptionsAppendExecutionProvider_Nnapi(void *o, unsigned f) { return 0; }
"""


@pytest.fixture(scope="session")
def library_of(tmp_path_factory):
    """Give the bytes of a library for arm64 that calls itself ONNX Runtime of a version."""
    made = {}

    def build(version="1.24.3", source=SOURCE, page_bytes=0x4000):
        if (version, source, page_bytes) not in made:
            folder = tmp_path_factory.mktemp("library")
            (folder / "x.c").write_text(source % version if "%s" in source else source)
            target = ["-target", "aarch64-linux-android", "-nostdlib", "-ffreestanding", "-shared"]
            pages = [f"-Wl,-z,max-page-size={page_bytes}", "-Wl,-soname,libonnxruntime.so"]
            command = [sys.executable, "-m", "ziglang", "cc", *target, *pages, "-w", "-o", "x.so"]
            caches = {"ZIG_GLOBAL_CACHE_DIR": str(folder), "ZIG_LOCAL_CACHE_DIR": str(folder)}
            environment = {**os.environ, **caches}
            subprocess.run([*command, "x.c"], cwd=folder, env=environment, check=True)
            made[version, source, page_bytes] = (folder / "x.so").read_bytes()
        return made[version, source, page_bytes]

    return build


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home without caches, and no Maven on PATH."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("GRADLE_USER_HOME", raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def write_aar(path, **libraries):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("AndroidManifest.xml", "<manifest/>")
        archive.writestr("headers/onnxruntime_c_api.h", "")
        for abi, library in libraries.items():
            archive.writestr(f"jni/{abi.replace('_v', '-v')}/libonnxruntime.so", library)
    return path


def test_an_archive_gives_a_library_for_each_abi(tmp_path, cache, library_of):
    x86 = host_library().read_bytes() if read_elf(host_library()).abi == "x86_64" else None
    libraries = {"arm64_v8a": library_of()} | ({"x86_64": x86} if x86 else {})
    aar = write_aar(tmp_path / "onnxruntime-android-1.24.3.aar", **libraries)
    kept = {one.abi: one for one in add_runtime(aar, cache)}
    arm = kept["arm64-v8a"]
    assert arm.path.read_bytes() == library_of()
    assert (arm.version, arm.has_nnapi, arm.load_alignment_bytes) == ("1.24.3", True, 0x4000)
    assert arm.source == aar.name
    if x86:
        assert (kept["x86_64"].has_nnapi, kept["x86_64"].bytes) == (False, len(x86))
        assert kept["x86_64"].version == host_library().name.removeprefix("libonnxruntime.so.")


def test_a_bare_library_is_kept_too(tmp_path, cache, library_of):
    (tmp_path / "libonnxruntime.so").write_bytes(library_of("1.22.0"))
    (kept,) = add_runtime(tmp_path / "libonnxruntime.so", cache)
    assert (kept.version, kept.source) == ("1.22.0", "libonnxruntime.so")


def test_what_is_kept_is_listed_as_it_was_added_the_newest_first(tmp_path, cache, library_of):
    added = [
        *add_runtime(write_aar(tmp_path / "a.aar", arm64_v8a=library_of("1.9.0")), cache),
        *add_runtime(write_aar(tmp_path / "b.aar", arm64_v8a=library_of("1.24.3")), cache),
    ]
    assert list_runtimes(cache) == added[::-1]


def test_adding_it_again_changes_nothing(tmp_path, cache, library_of):
    aar = write_aar(tmp_path / "a.aar", arm64_v8a=library_of())
    (kept,) = add_runtime(aar, cache)
    written = kept.path.stat().st_mtime_ns
    assert add_runtime(aar, cache) == [kept]
    assert kept.path.stat().st_mtime_ns == written


def test_a_version_that_the_library_does_not_say_is_taken_from_the_archives_name(
    tmp_path, cache, library_of
):
    silent = library_of(source=SOURCE.replace("VERS_%s", "none"))
    (kept,) = add_runtime(
        write_aar(tmp_path / "onnxruntime-android-1.23.0.aar", arm64_v8a=silent), cache
    )
    assert kept.version == "1.23.0"


REFUSED = [
    ("text", b"hello", "neither an Android archive nor a library"),
    ("x.aar", b"PK\x05\x06" + bytes(18), r"holds no jni/\*/libonnxruntime.so"),
    ("x.so", b"\x7fELF" + bytes(60), "no ELF file that can be loaded"),
]


@pytest.mark.parametrize(("name", "content", "what"), REFUSED)
def test_a_file_that_is_no_runtime_is_refused(tmp_path, cache, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DeviceError, match=what):
        add_runtime(tmp_path / name, cache)
    assert not cache.exists()


def test_a_missing_file_is_named(tmp_path, cache):
    with pytest.raises(DeviceError, match=r"cannot read .*absent\.aar"):
        add_runtime(tmp_path / "absent.aar", cache)


def test_a_library_that_is_another_is_refused(tmp_path, cache, library_of):
    other = library_of(source="int something;")
    with pytest.raises(DeviceError, match="no ONNX Runtime: it has no OrtGetApiBase"):
        add_runtime(write_aar(tmp_path / "a.aar", arm64_v8a=other), cache)


def test_a_library_under_another_processors_name_is_refused(tmp_path, cache, library_of):
    with pytest.raises(DeviceError, match="a library for arm64-v8a under x86_64"):
        add_runtime(write_aar(tmp_path / "a.aar", x86_64=library_of()), cache)


def test_names_that_climb_out_of_an_archive_are_not_followed(tmp_path, cache, library_of):
    aar = write_aar(tmp_path / "a.aar", arm64_v8a=library_of())
    with zipfile.ZipFile(aar, "a") as archive:
        archive.writestr("jni/../../escaped/libonnxruntime.so", library_of())
        archive.writestr("/absolute.so", library_of())
    add_runtime(aar, cache)
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"a.aar", "libonnxruntime.so", "runtime.json"}
    assert not (tmp_path / "escaped").exists()


def test_a_member_that_unpacks_without_end_is_given_up(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(runtimes, "MAX_LIBRARY_BYTES", 1 << 20)
    aar = write_aar(tmp_path / "a.aar", arm64_v8a=bytes(5 << 20))
    with pytest.raises(DeviceError, match="over 1048576 bytes"):
        add_runtime(aar, cache)


def test_a_damaged_archive_is_refused(tmp_path, cache, library_of):
    aar = write_aar(tmp_path / "a.aar", arm64_v8a=library_of())
    content = bytearray(aar.read_bytes())
    content[400:420] = bytes(20)
    aar.write_bytes(content)
    with pytest.raises(DeviceError, match="is broken"):
        add_runtime(aar, cache)


def test_a_kept_library_that_was_changed_is_not_used(tmp_path, cache, home, library_of):
    (kept,) = add_runtime(write_aar(tmp_path / "a.aar", arm64_v8a=library_of()), cache)
    kept.path.write_bytes(b"x" * kept.bytes)
    with pytest.raises(DeviceError, match=r"has changed since it was added: add a\.aar again"):
        find_runtime("arm64-v8a", cache=cache, home=home)


def test_a_broken_entry_of_the_cache_is_as_if_it_were_not_there(tmp_path, cache, library_of):
    aar = write_aar(tmp_path / "a.aar", arm64_v8a=library_of())
    (kept,) = add_runtime(aar, cache)
    kept.path.with_name("runtime.json").write_text("{")
    assert list_runtimes(cache) == []
    assert add_runtime(aar, cache) == [kept]
    assert list_runtimes(cache) == [kept]


def test_the_cache_comes_first_then_maven_then_gradle(tmp_path, cache, home, library_of):
    gradle = home / GRADLE / "1.22.0" / "0a1b" / "onnxruntime-android-1.22.0.aar"
    write_aar(gradle, arm64_v8a=library_of("1.22.0"))
    assert find_runtime("arm64-v8a", cache=cache / "1", home=home).version == "1.22.0"
    write_aar(
        home / MAVEN / "1.23.0" / "onnxruntime-android-1.23.0.aar", arm64_v8a=library_of("1.23.0")
    )
    assert find_runtime("arm64-v8a", cache=cache / "2", home=home).version == "1.23.0"
    assert find_runtime("arm64-v8a", cache=cache / "1", home=home).version == "1.22.0"


def test_a_broken_download_in_a_cache_is_passed_over(cache, home, library_of):
    folder = home / MAVEN
    write_aar(folder / "1.9.0" / "onnxruntime-android-1.9.0.aar", arm64_v8a=library_of("1.9.0"))
    (folder / "1.24.3").mkdir()
    (folder / "1.24.3" / "onnxruntime-android-1.24.3.aar").write_bytes(b"half")
    assert find_runtime("arm64-v8a", cache=cache, home=home).version == "1.9.0"


def test_without_any_the_error_says_what_to_fetch(cache, home):
    with pytest.raises(DeviceError) as caught:
        find_runtime("arm64-v8a", cache=cache, home=home)
    assert str(caught.value) == (
        "no ONNX Runtime for arm64-v8a on this machine: get "
        "com.microsoft.onnxruntime:onnxruntime-android:1.24.3 from Maven Central, as an .aar, and "
        "run `mofa-deploy runtime add FILE`; with `mvn` installed it is fetched by itself"
    )


def write_maven(folder, body):
    program = folder / "bin" / "mvn"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable} -S\nimport shutil, sys\n{body}\n")
    program.chmod(0o755)


def test_the_users_maven_is_asked_last(tmp_path, cache, home, library_of):
    aar = write_aar(tmp_path / "remote.aar", arm64_v8a=library_of())
    write_maven(
        tmp_path,
        "wanted = '-Dartifact=com.microsoft.onnxruntime:onnxruntime-android:1.24.3:aar'\n"
        "assert sys.argv[1:4] == ['--batch-mode', 'dependency:copy', wanted], sys.argv\n"
        "folder = sys.argv[4].removeprefix('-DoutputDirectory=')\n"
        f"shutil.copy({str(aar)!r}, folder + '/onnxruntime-android-1.24.3.aar')",
    )
    told = []
    found = find_runtime("arm64-v8a", cache=cache, home=home, tell=told.append)
    assert (found.version, found.source) == ("1.24.3", "onnxruntime-android-1.24.3.aar")
    assert len(told) == 1
    find_runtime("arm64-v8a", cache=cache, home=home, tell=told.append)
    assert len(told) == 1  # it is kept now


@pytest.mark.parametrize("said", ["Unknown host x", "Failed: to Read: Unknown host x -> [Help 1]"])
def test_the_cause_of_a_maven_that_fails_is_quoted_with_what_to_fetch(tmp_path, cache, home, said):
    write_maven(tmp_path, f"sys.exit(print('noise\\n[ERROR] {said}\\n[ERROR] more') or 1)")
    with pytest.raises(
        DeviceError, match=r"cannot fetch .*\(Unknown host x\): get com\.microsoft.* add FILE`$"
    ):
        find_runtime("arm64-v8a", cache=cache, home=home)


def test_a_model_too_new_for_the_library_is_refused_with_what_to_fetch(
    tmp_path, cache, home, library_of
):
    add_runtime(write_aar(tmp_path / "a.aar", arm64_v8a=library_of("1.22.0")), cache)
    model = two_convs()
    model.opset_import[0].version = 25
    save(model, tmp_path / "net.onnx")
    with pytest.raises(DeviceError) as caught:
        find_runtime("arm64-v8a", [tmp_path / "net.onnx"], cache=cache, home=home)
    assert caught.value.problem == (
        "net.onnx has opset 25, and ONNX Runtime 1.22.0 for arm64-v8a reads up to 22"
    )
    assert "onnxruntime-android:1.24.3" in caught.value.next_step


def test_a_younger_library_that_reads_the_model_is_taken_wherever_it_is(
    tmp_path, cache, home, library_of
):
    add_runtime(write_aar(tmp_path / "a.aar", arm64_v8a=library_of("1.22.0")), cache)
    new = home / MAVEN / "1.24.3" / "onnxruntime-android-1.24.3.aar"
    write_aar(new, arm64_v8a=library_of("1.24.3"))
    model = two_convs()
    model.ir_version = 11
    save(model, tmp_path / "net.onnx")
    found = find_runtime("arm64-v8a", [tmp_path / "net.onnx"], cache=cache, home=home)
    assert found.version == "1.24.3"


def test_a_library_for_smaller_pages_than_the_devices_is_refused(tmp_path, cache, home, library_of):
    add_runtime(write_aar(tmp_path / "a.aar", arm64_v8a=library_of()), cache)
    how = {"cache": cache, "home": home}
    assert find_runtime("arm64-v8a", page_bytes=0x4000, **how).version == "1.24.3"
    with pytest.raises(DeviceError, match="pages of at most 16384 bytes, this device has 65536"):
        find_runtime("arm64-v8a", page_bytes=0x10000, **how)


def test_a_phone_of_16_kb_pages_gets_no_library_for_4_kb(tmp_path, home, library_of, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(home))
    add_runtime(write_aar(tmp_path / "a.aar", arm64_v8a=library_of(page_bytes=0x1000)))
    described = ("id", "a phone", "arm64-v8a", "Android 16", "a chip", 8, 1 << 33)
    phone = DeviceInfo(*described, is_phone=True, page_size_bytes=0x4000)
    with pytest.raises(DeviceError, match="pages of at most 4096 bytes, this device has 16384"):
        programs_for(phone, [])


@pytest.mark.parametrize(
    ("abi", "sdk", "problem"),
    [
        ("armeabi-v7a", 29, "runs armeabi-v7a, the runner is for arm64-v8a and x86_64: measure on"),
        ("arm64-v8a", 23, "has API level 23, the runner needs 24: measure on a phone with Android"),
    ],
)
def test_a_phone_that_nothing_is_built_for_is_refused_before_a_library_is_asked_for(
    abi, sdk, problem
):
    described = ("id", "an old phone", abi, "Android", "a chip", 8, 1 << 31)
    with pytest.raises(DeviceError, match=f"an old phone {problem}"):
        programs_for(DeviceInfo(*described, is_phone=True, sdk=sdk), [])


def test_the_needs_of_a_model_are_read_from_it(tmp_path):
    save(two_convs(), tmp_path / "net.onnx")
    assert read_needs(tmp_path / "net.onnx") == Needs("net.onnx", 18, 8)
    assert read_needs(tmp_path / "net.ort") == Needs("net.ort", None, None)
    (tmp_path / "broken.onnx").write_bytes(b"\xff" * 9)
    with pytest.raises(ArtifactError, match=r"broken\.onnx"):
        read_needs(tmp_path / "broken.onnx")


def test_limits_of_releases_that_are_not_in_the_table():
    assert read_limits("1.24.9") == READS[24]
    assert read_limits("1.99.0") == READS[max(READS)]
    assert read_limits("1.12.1") is None
    assert read_limits(None) is None
    require_reads(Needs("net", 99, 99), None, "arm64-v8a")


def test_a_model_newer_than_every_known_release_says_so():
    with pytest.raises(DeviceError, match="export it with opset 26 and IR version 13 or older"):
        require_reads(Needs("net", 99, 8), "1.31.0", "arm64-v8a")


def test_newer_releases_never_read_less():
    rows = [READS[minor] for minor in sorted(READS)]
    assert rows == sorted(rows)
    assert sorted(rows, key=lambda row: row[1]) == rows


def test_versions_compare_as_numbers():
    assert version_parts("1.9.0") < version_parts("1.24.3")
    assert version_parts(None) == [0]


def test_the_commands_add_and_list(tmp_path, cache, library_of, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    aar = write_aar(tmp_path / "a.aar", arm64_v8a=library_of())
    assert run_app(["runtime", "add", str(aar), "--json"]) == DONE
    (added,) = json.load(io.StringIO(capsys.readouterr().out))
    assert (added["version"], added["abi"], added["page_kib"]) == ("1.24.3", "arm64-v8a", 16)
    assert run_app(["runtime", "list", "--json"]) == DONE
    assert json.loads(capsys.readouterr().out) == [added]
    assert run_app(["runtime", "add", str(tmp_path / "absent")]) == EXPECTED_ERROR
    assert capsys.readouterr().err.startswith("error: cannot read ")


def test_listing_nothing_says_how_to_begin(cache, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    assert run_app(["runtime", "list"]) == DONE
    assert "none is kept yet" in capsys.readouterr().err
