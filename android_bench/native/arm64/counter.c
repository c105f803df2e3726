/* A QEMU plugin that counts executed A64 instructions by kind.
 *
 *   qemu-aarch64 -plugin counter.so,page=FILE PROGRAM ...
 *
 * The program asks by a system call that Linux does not have, and the totals since the start go to
 * a slot of a page that both have mapped: FILE, which is there and has 4096 bytes. See page.h.
 *
 * Counting is inline code at the head of each translation block, so a block counts when it is
 * entered. One guest thread only: before API version 2, QEMU does not add atomically.
 *
 * The few declarations of the plugin interface that are used are written out below, as no package
 * of the common distributions holds its header. PLUGIN_API is the interface version of the QEMU at
 * hand: 1 up to QEMU 8.2, 2 for 9.0, 3 from 9.1 on.
 * Source: https://www.qemu.org/docs/master/devel/tcg-plugins.html
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "page.h"

#ifndef PLUGIN_API
#error "say -DPLUGIN_API=1, 2 or 3"
#endif

typedef uint64_t qemu_plugin_id_t;
typedef struct {
    const char *target_name;
    struct {
        int min, cur;
    } version;
    bool system_emulation;
} qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { INLINE_ADD_U64 };

typedef void (*translated_fn)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*system_call_fn)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                               uint64_t, uint64_t, uint64_t, uint64_t, uint64_t);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, translated_fn);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t, system_call_fn);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);

#if PLUGIN_API >= 2
struct qemu_plugin_scoreboard;
typedef struct {
    struct qemu_plugin_scoreboard *score;
    size_t offset;
} qemu_plugin_u64;
struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t);
uint64_t qemu_plugin_u64_sum(qemu_plugin_u64);
void qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(struct qemu_plugin_tb *, int,
                                                       qemu_plugin_u64, uint64_t);
#else
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
#endif
#if PLUGIN_API >= 3
size_t qemu_plugin_insn_data(const struct qemu_plugin_insn *, void *, size_t);
#else
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
#endif

__attribute__((visibility("default"))) int qemu_plugin_version = PLUGIN_API;

static volatile uint64_t (*page)[SLOT_NUMBERS]; /* by slot */

#if PLUGIN_API >= 2
static struct qemu_plugin_scoreboard *board;
static qemu_plugin_u64 cell(int kind)
{
    qemu_plugin_u64 entry = {board, kind * sizeof(uint64_t)};
    return entry;
}
static uint64_t count(int kind) { return qemu_plugin_u64_sum(cell(kind)); }
static void add_inline(struct qemu_plugin_tb *tb, int kind, uint64_t n)
{
    qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, INLINE_ADD_U64, cell(kind), n);
}
#else
static uint64_t counts[KINDS];
static uint64_t count(int kind) { return ((volatile uint64_t *)counts)[kind]; }
static void add_inline(struct qemu_plugin_tb *tb, int kind, uint64_t n)
{
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &counts[kind], n);
}
#endif

/* ---- What an instruction is. Source: Arm Architecture Reference Manual (DDI 0487), C4.1. ---- */

struct access {
    bool load, store;
    unsigned bytes;
};

static uint32_t bits(uint32_t code, int high, int low)
{
    return code >> low & ((1u << (high - low + 1)) - 1);
}

/* LD1..LD4, ST1..ST4 and their one-lane and replicating forms. */
static struct access structures(uint32_t code)
{
    unsigned opcode = bits(code, 15, 12), bytes;
    bool load = bits(code, 22, 22);
    if (!bits(code, 24, 24)) { /* whole registers, by opcode */
        static const unsigned char registers[16] = {[0] = 4, [2] = 4, [4] = 3, [6] = 3,
                                                    [7] = 1, [8] = 2, [10] = 2};
        bytes = registers[opcode] * (bits(code, 30, 30) ? 16 : 8);
    } else { /* one lane of each register */
        unsigned scale = opcode >> 2, size = bits(code, 11, 10);
        unsigned registers = ((opcode >> 1 & 1) << 1 | bits(code, 21, 21)) + 1;
        unsigned lane = scale == 3 ? 1u << size : scale == 2 && size & 1 ? 8 : 1u << scale;
        bytes = registers * lane;
    }
    return (struct access){load, !load, bytes};
}

static struct access pair(uint32_t code)
{
    unsigned opc = bits(code, 31, 30);
    bool load = bits(code, 22, 22), vector = bits(code, 26, 26);
    unsigned each = vector ? 4u << opc : opc == 2 ? 8 : 4;
    return (struct access){load, !load, 2 * each};
}

static struct access single(uint32_t code)
{
    unsigned size = bits(code, 31, 30), opc = bits(code, 23, 22);
    if (bits(code, 26, 26)) {
        bool load = opc & 1;
        return (struct access){load, !load, opc & 2 ? 16 : 1u << size};
    }
    if (!bits(code, 24, 24) && bits(code, 21, 21) && bits(code, 11, 10) == 0)
        return (struct access){true, true, 2u << size}; /* LDADD, SWP and their like */
    if (size == 3 && opc == 2)
        return (struct access){false, false, 0}; /* PRFM */
    return (struct access){opc != 0, opc == 0, 1u << size};
}

static struct access literal(uint32_t code)
{
    unsigned opc = bits(code, 31, 30);
    if (bits(code, 26, 26))
        return (struct access){true, false, 4u << opc};
    return (struct access){opc != 3, false, opc == 3 ? 0 : opc == 1 ? 8 : 4}; /* 3: PRFM */
}

/* LDXR, STXR, LDAR, STLR, CAS and their pairs: rare; what matters is that they are counted. */
static struct access exclusive(uint32_t code)
{
    bool load = bits(code, 22, 22), swap = bits(code, 23, 23) && bits(code, 21, 21);
    unsigned bytes = 1u << bits(code, 31, 30);
    return (struct access){load || swap, !load || swap, swap ? 2 * bytes : bytes};
}

static struct access access_of(uint32_t code)
{
    if (!(bits(code, 27, 27) && !bits(code, 25, 25)))
        return (struct access){false, false, 0};
    switch (bits(code, 29, 28)) {
    case 0:
        return bits(code, 26, 26) ? structures(code) : exclusive(code);
    case 1: /* with bit 24: LDAPUR and STLUR, whose size and opc are those of `single` */
        return bits(code, 24, 24) ? single(code) : literal(code);
    case 2:
        return pair(code);
    default:
        return single(code);
    }
}

static bool is_simd(uint32_t code)
{
    bool data = bits(code, 27, 25) == 7;
    bool moves = bits(code, 27, 27) && !bits(code, 25, 25) && bits(code, 26, 26);
    bool sve = bits(code, 28, 25) == 2;
    return data || moves || sve;
}

static bool is_dot(uint32_t code) /* SDOT, UDOT, USDOT, SUDOT; by vector and by element */
{
    return (code & 0x9fe0f400) == 0x0e809400 || (code & 0x9fc0f400) == 0x0f80e000 ||
           (code & 0xbf40f400) == 0x0f00f000;
}

static bool is_mmla(uint32_t code) /* SMMLA, UMMLA, USMMLA, BFMMLA */
{
    return (code & 0xdfe0f400) == 0x4e80a400 || (code & 0xffe0fc00) == 0x6e40ec00;
}

static bool is_fmla(uint32_t code) /* single and double precision; by vector and by element */
{
    return (code & 0xbfa0fc00) == 0x0e20cc00 || (code & 0xbf80f400) == 0x0f801000;
}

static void classify(uint32_t code, uint64_t total[KINDS])
{
    struct access access = access_of(code);
    total[INSTRUCTIONS]++;
    total[SIMD] += is_simd(code);
    total[LOADS] += access.load;
    total[STORES] += access.store;
    total[MOVED_BYTES] += access.bytes;
    total[DOT] += is_dot(code);
    total[MMLA] += is_mmla(code);
    total[FMLA] += is_fmla(code);
    total[BRANCHES] += bits(code, 28, 26) == 5;
}

/* ---- What QEMU calls. ---- */

static void on_translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    uint64_t total[KINDS] = {0};
    size_t n = qemu_plugin_tb_n_insns(tb);
    (void)id;
    for (size_t i = 0; i < n; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint32_t code = 0;
#if PLUGIN_API >= 3
        qemu_plugin_insn_data(insn, &code, sizeof code);
#else
        memcpy(&code, qemu_plugin_insn_data(insn), sizeof code);
#endif
        classify(code, total);
    }
    for (int kind = 0; kind < KINDS; kind++)
        if (total[kind])
            add_inline(tb, kind, total[kind]);
}

static void on_system_call(qemu_plugin_id_t id, unsigned vcpu, int64_t number, uint64_t slot,
                           uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6,
                           uint64_t a7, uint64_t a8)
{
    (void)id, (void)vcpu, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7, (void)a8;
    if (number != COUNTER_CALL || slot >= SLOTS)
        return;
    for (int kind = 0; kind < KINDS; kind++)
        page[slot][kind] = count(kind);
}

/* Map the page; false where the file is not there or holds none. */
static bool map_page(const char *path)
{
    int file = open(path, O_RDWR);
    if (file < 0)
        return false;
    void *mapped = MAP_FAILED;
    if (lseek(file, 0, SEEK_END) >= COUNTER_PAGE_BYTES)
        mapped = mmap(NULL, COUNTER_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped != MAP_FAILED)
        page = mapped;
    return mapped != MAP_FAILED;
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id,
                                                               const qemu_info_t *info, int argc,
                                                               char **argv)
{
    if (strcmp(info->target_name, "aarch64") != 0) {
        fprintf(stderr, "counter: %s is not aarch64\n", info->target_name);
        return -1;
    }
    for (int i = 0; i < argc; i++) {
        if (strncmp(argv[i], "page=", 5) != 0 || !map_page(argv[i] + 5)) {
            fprintf(stderr, "counter: cannot use argument %s\n", argv[i]);
            return -1;
        }
    }
    if (page == NULL) {
        fputs("counter: no page to write to; say page=FILE\n", stderr);
        return -1;
    }
#if PLUGIN_API >= 2
    board = qemu_plugin_scoreboard_new(KINDS * sizeof(uint64_t));
#endif
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translated);
    qemu_plugin_register_vcpu_syscall_cb(id, on_system_call);
    return 0;
}
