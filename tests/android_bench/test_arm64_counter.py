"""The counter's reading of A64 code, against codes made by LLVM's assembler."""

import shutil
import subprocess
from dataclasses import fields

import pytest

from android_bench.elf import NATIVE
from android_bench.records import Count

ARM64 = NATIVE / "arm64"
KINDS = [one.name for one in fields(Count)][2:]

compiler = shutil.which("cc")
pytestmark = pytest.mark.skipif(compiler is None, reason="no C compiler")

# stands for the emulator: the counter is compiled into a program that reads codes
PROGRAM = """
#include "counter.c"
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, translated_fn fn) {}
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t id, system_call_fn fn) {}
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb) { return 0; }
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i)
{ return NULL; }
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *p,
                                              uint64_t n) {}
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn) { return NULL; }
int main(void)
{
    unsigned code;
    while (scanf("%x", &code) == 1) {
        uint64_t total[KINDS] = {0};
        classify(code, total);
        for (int kind = 0; kind < KINDS; kind++)
            printf("%d ", (int)total[kind]);
        puts("");
    }
}
"""

# code, assembly, what it counts as besides an instruction
CASES = [
    ("8b020020", "add x0, x1, x2", ""),
    ("14000000", "b .", "branches"),
    ("b4000000", "cbz x0, .", "branches"),
    ("d4000001", "svc #0", "branches"),
    ("4e22d420", "fadd v0.4s, v1.4s, v2.4s", "simd"),
    ("1f020c20", "fmadd s0, s1, s2, s3", "simd"),
    ("4e22cc20", "fmla v0.4s, v1.4s, v2.4s", "simd fmla"),
    ("4e62cc20", "fmla v0.2d, v1.2d, v2.2d", "simd fmla"),
    ("4fa21020", "fmla v0.4s, v1.4s, v2.s[1]", "simd fmla"),
    ("4ea2cc20", "fmls v0.4s, v1.4s, v2.4s", "simd"),
    ("4ea29420", "mla v0.4s, v1.4s, v2.4s", "simd"),
    ("4e829420", "sdot v0.4s, v1.16b, v2.16b", "simd dot"),
    ("2e829420", "udot v0.2s, v1.8b, v2.8b", "simd dot"),
    ("4f82e820", "sdot v0.4s, v1.16b, v2.4b[2]", "simd dot"),
    ("6fa2e820", "udot v0.4s, v1.16b, v2.4b[3]", "simd dot"),
    ("4e829c20", "usdot v0.4s, v1.16b, v2.16b", "simd dot"),
    ("4fa2f020", "usdot v0.4s, v1.16b, v2.4b[1]", "simd dot"),
    ("4f22f020", "sudot v0.4s, v1.16b, v2.4b[1]", "simd dot"),
    ("4e82a420", "smmla v0.4s, v1.16b, v2.16b", "simd mmla"),
    ("6e82a420", "ummla v0.4s, v1.16b, v2.16b", "simd mmla"),
    ("4e82ac20", "usmmla v0.4s, v1.16b, v2.16b", "simd mmla"),
    ("6e42ec20", "bfmmla v0.4s, v1.8h, v2.8h", "simd mmla"),
    ("6e42fc20", "bfdot v0.4s, v1.8h, v2.8h", "simd"),
    ("4f62f020", "bfdot v0.4s, v1.8h, v2.2h[1]", "simd"),
    ("f9400020", "ldr x0, [x1]", "loads bytes=8"),
    ("b9400420", "ldr w0, [x1, #4]", "loads bytes=4"),
    ("39400020", "ldrb w0, [x1]", "loads bytes=1"),
    ("b9800020", "ldrsw x0, [x1]", "loads bytes=4"),
    ("39800020", "ldrsb x0, [x1]", "loads bytes=1"),
    ("f8008c20", "str x0, [x1, #8]!", "stores bytes=8"),
    ("79000020", "strh w0, [x1]", "stores bytes=2"),
    ("f8627820", "ldr x0, [x1, x2, lsl #3]", "loads bytes=8"),
    ("f85f8020", "ldur x0, [x1, #-8]", "loads bytes=8"),
    ("3dc00020", "ldr q0, [x1]", "simd loads bytes=16"),
    ("fd400020", "ldr d0, [x1]", "simd loads bytes=8"),
    ("bc404420", "ldr s0, [x1], #4", "simd loads bytes=4"),
    ("3d400020", "ldr b0, [x1]", "simd loads bytes=1"),
    ("3ca26820", "str q0, [x1, x2]", "simd stores bytes=16"),
    ("fc1f8020", "stur d0, [x1, #-8]", "simd stores bytes=8"),
    ("a94007e0", "ldp x0, x1, [sp]", "loads bytes=16"),
    ("294007e0", "ldp w0, w1, [sp]", "loads bytes=8"),
    ("a9bf7bfd", "stp x29, x30, [sp, #-16]!", "stores bytes=16"),
    ("ad400400", "ldp q0, q1, [x0]", "simd loads bytes=32"),
    ("6d000400", "stp d0, d1, [x0]", "simd stores bytes=16"),
    ("2d000400", "stp s0, s1, [x0]", "simd stores bytes=8"),
    ("69400440", "ldpsw x0, x1, [x2]", "loads bytes=8"),
    ("ac400400", "ldnp q0, q1, [x0]", "simd loads bytes=32"),
    ("58000000", "ldr x0, .", "loads bytes=8"),
    ("18000000", "ldr w0, .", "loads bytes=4"),
    ("98000000", "ldrsw x0, .", "loads bytes=4"),
    ("9c000000", "ldr q0, .", "simd loads bytes=16"),
    ("f9800000", "prfm pldl1keep, [x0]", ""),
    ("d8000000", "prfm pldl1keep, .", ""),
    ("4c407000", "ld1 {v0.16b}, [x0]", "simd loads bytes=16"),
    ("0cdfa000", "ld1 {v0.8b, v1.8b}, [x0], #16", "simd loads bytes=16"),
    ("4cdf2800", "ld1 {v0.4s - v3.4s}, [x0], #64", "simd loads bytes=64"),
    ("4c006000", "st1 {v0.16b - v2.16b}, [x0]", "simd stores bytes=48"),
    ("4c408800", "ld2 {v0.4s, v1.4s}, [x0]", "simd loads bytes=32"),
    ("4c404000", "ld3 {v0.16b - v2.16b}, [x0]", "simd loads bytes=48"),
    ("4c400800", "ld4 {v0.4s - v3.4s}, [x0]", "simd loads bytes=64"),
    ("0c000000", "st4 {v0.8b - v3.8b}, [x0]", "simd stores bytes=32"),
    ("0d400c00", "ld1 {v0.b}[3], [x0]", "simd loads bytes=1"),
    ("0d405800", "ld1 {v0.h}[3], [x0]", "simd loads bytes=2"),
    ("0d409000", "ld1 {v0.s}[1], [x0]", "simd loads bytes=4"),
    ("4d008400", "st1 {v0.d}[1], [x0]", "simd stores bytes=8"),
    ("4d40c800", "ld1r {v0.4s}, [x0]", "simd loads bytes=4"),
    ("4d40c000", "ld1r {v0.16b}, [x0]", "simd loads bytes=1"),
    ("4d60cc00", "ld2r {v0.2d, v1.2d}, [x0]", "simd loads bytes=16"),
    ("0d60b000", "ld4 {v0.s - v3.s}[1], [x0]", "simd loads bytes=16"),
    ("c85f7c20", "ldxr x0, [x1]", "loads bytes=8"),
    ("88027c20", "stxr w2, w0, [x1]", "stores bytes=4"),
    ("885ffc20", "ldaxr w0, [x1]", "loads bytes=4"),
    ("c89ffc20", "stlr x0, [x1]", "stores bytes=8"),
    ("88dffc20", "ldar w0, [x1]", "loads bytes=4"),
    ("f8200041", "ldadd x0, x1, [x2]", "loads stores bytes=16"),
    ("b8e08041", "swpal w0, w1, [x2]", "loads stores bytes=8"),
    ("c8e0fc41", "casal x0, x1, [x2]", "loads stores bytes=16"),
    ("d9408020", "ldapur x0, [x1, #8]", "loads bytes=8"),
    ("19000020", "stlurb w0, [x1]", "stores bytes=1"),
]


@pytest.fixture(scope="module")
def read_as(tmp_path_factory):
    """What the counter takes each code for."""
    folder = tmp_path_factory.mktemp("counter")
    (folder / "program.c").write_text(PROGRAM)
    options = ["-w", "-DPLUGIN_API=1", f"-I{ARM64}", "-o", "program", "program.c"]
    subprocess.run([compiler, *options], cwd=folder, check=True, timeout=60)
    codes = "\n".join(code for code, _, _ in CASES)
    done = subprocess.run(
        ["./program"], cwd=folder, input=codes, capture_output=True, text=True, check=True
    )
    lines = [named(line.split()) for line in done.stdout.splitlines()]
    return dict(zip((code for code, _, _ in CASES), lines, strict=True))


def named(numbers):
    """Name the kinds of one instruction's numbers, which are in the order of `Count`."""
    kinds = dict(zip(KINDS, map(int, numbers), strict=True))
    assert kinds.pop("instructions") == 1
    moved = kinds.pop("moved_bytes")
    words = [kind for kind, number in kinds.items() if number]
    places = 1 + sum(kind in ("simd", "loads", "stores") for kind in words)
    return " ".join(words[: places - 1] + [f"bytes={moved}"] * bool(moved) + words[places - 1 :])


@pytest.mark.parametrize(("code", "assembly", "kinds"), CASES, ids=[case[1] for case in CASES])
def test_an_instruction_is_counted_as_what_it_does(code, assembly, kinds, read_as):
    assert read_as[code] == kinds


@pytest.mark.parametrize("api", [1, 2, 3])
def test_the_counter_compiles_for_every_interface_without_a_warning(api, tmp_path):
    options = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-DPLUGIN_API={api}"]
    command = [compiler, *options, "-o", tmp_path / "counter.so", ARM64 / "counter.c"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
