/* Counts of an emulator's plugin, with --counter. Part of ort_bench.c, which includes it. */
#ifndef COUNTING_H
#define COUNTING_H

#include "arm64/page.h"
#include "options.h"
#include "records.h"

static const char *const KIND_NAMES[KINDS] = {
    "instructions", "simd", "loads", "stores", "moved_bytes", "dot", "mmla", "fmla", "branches"};

static volatile uint64_t (*counter_page)[SLOT_NUMBERS]; /* by slot */
static uint64_t (*counts)[KINDS]; /* of the session, then of each inference */

static bool is_counted(void) { return options.counter != NULL; }

/* Map the page that the counter writes to, and see that it does. */
static void map_counter(void)
{
    int file = open(options.counter, O_RDWR | O_CLOEXEC);
    if (file < 0) fail(EXIT_LOAD, "cannot open %s: %s", options.counter, strerror(errno));
    if (lseek(file, 0, SEEK_END) < COUNTER_PAGE_BYTES)
        fail(EXIT_LOAD, "%s is no page of %d bytes", options.counter, COUNTER_PAGE_BYTES);
    void *page = mmap(NULL, COUNTER_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page == MAP_FAILED)
        fail(EXIT_LOAD, "cannot map %s: %s", options.counter, strerror(errno));
    close(file);
    counter_page = page;
    counter_page[AT_START][INSTRUCTIONS] = 0; /* what an earlier launch left there */
    ask_counter(AT_START);
    if (counter_page[AT_START][INSTRUCTIONS] == 0)
        fail(EXIT_LOAD, "no counter writes to %s: only an emulator with its plugin counts",
             options.counter);
}

static const volatile uint64_t never[KINDS]; /* what a clock shows that stands still */

/* Let the process' clock show these totals: instructions, so that the runtime's profile counts them;
 * or nothing, for some of the runtime's work comes due after seconds, whichever run that meets. */
static void set_clock(const volatile uint64_t *shown)
{
    void *symbol = dlsym(RTLD_DEFAULT, "count_on_clock");
    if (symbol == NULL)
        fail(EXIT_LOAD, "this build of the runner has no clock that counts instructions");
    ((void (*)(const volatile uint64_t *))symbol)(shown);
}

/* Make ready for that many counts. */
static void start_counting(int64_t n)
{
    counts = map_bytes((size_t)n * sizeof *counts);
    if (counts == NULL) fail(EXIT_LOAD, "no memory for %lld counts", (long long)n);
    map_counter();
    set_clock(options.mode == PROFILE ? counter_page[AT_CLOCK] : never);
}

/* Keep what was executed since AT_START was asked for. */
static void keep_count(int64_t place)
{
    ask_counter(AT_END);
    for (int kind = 0; kind < KINDS; kind++)
        counts[place][kind] = counter_page[AT_END][kind] - counter_page[AT_START][kind];
}

/* Print the counts of the session and of n inferences. */
static void print_counts(int64_t n)
{
    for (int64_t place = 0; place <= n; place++) {
        begin_record("count");
        put_field("phase", place == 0                    ? "session"
                           : place == 1                  ? "first"
                           : place <= options.warmup + 1 ? "warmup"
                                                         : "steady");
        put_size("iteration", place == 0 ? UNKNOWN : place - 1);
        for (int kind = 0; kind < KINDS; kind++)
            put_number(KIND_NAMES[kind], (int64_t)counts[place][kind]);
        end_record_unflushed();
    }
}

#endif
