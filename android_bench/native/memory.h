/* What the kernel tells of this process' memory, and the sampler of mode `memory`.
 *
 * Part of ort_bench.c, which includes it. Reads /proc/self; nothing allocates from the heap.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include "records.h"

enum { MAX_VMAS = 1024, VMA_NAME_BYTES = 256 };

enum Phase { BASELINE, LOADED, FIRST, STEADY };
static const char *const PHASE_NAMES[] = {"baseline", "loaded", "first", "steady"};

/* Resident memory at one moment; sizes in bytes or UNKNOWN. */
struct Reading {
    int64_t t_ns, rss, anon, file, pss, swap_pss;
};

/* All mappings of one name, summed; sizes in bytes. */
struct Vma {
    char name[VMA_NAME_BYTES];
    int64_t rss, pss, private_dirty, swap_pss;
};

/* The bytes of a line `KEY:   N kB`, if it is of that key; else what was known before. */
static int64_t size_in(const char *line, const char *key, int64_t known)
{
    size_t n = strlen(key);
    if (strncmp(line, key, n) != 0 || line[n] != ':') return known;
    return (int64_t)strtoll(line + n + 1, NULL, 10) * 1024;
}

/* Read one size of /proc/self/status. */
static int64_t status_size(const char *key)
{
    struct Lines lines = {.file = open("/proc/self/status", O_RDONLY | O_CLOEXEC)};
    int64_t found = UNKNOWN;
    if (lines.file < 0) return found;
    for (char *line; found == UNKNOWN && (line = next_line(&lines)) != NULL;)
        found = size_in(line, key, UNKNOWN);
    close(lines.file);
    return found;
}

/* Sum one size over a file of the form of smaps. */
static void add_sizes(struct Lines *lines, struct Reading *reading)
{
    for (char *line; (line = next_line(lines)) != NULL;) {
        int64_t pss = size_in(line, "Pss", UNKNOWN), swap = size_in(line, "SwapPss", UNKNOWN);
        if (pss != UNKNOWN) reading->pss = pss + (reading->pss == UNKNOWN ? 0 : reading->pss);
        if (swap != UNKNOWN)
            reading->swap_pss = swap + (reading->swap_pss == UNKNOWN ? 0 : reading->swap_pss);
    }
}

/* Resident memory now. smaps_rollup came with Linux 4.14; smaps tells the same, slower. */
static struct Reading read_memory(void)
{
    struct Reading reading = {now_ns(), UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN};
    struct Lines lines = {.file = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC)};
    reading.rss = status_size("VmRSS");
    reading.anon = status_size("RssAnon");
    reading.file = status_size("RssFile");
    if (lines.file < 0) lines.file = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    if (lines.file < 0) return reading;
    add_sizes(&lines, &reading);
    close(lines.file);
    return reading;
}

static void print_memory(enum Phase phase, const struct Reading *reading)
{
    if (reading->rss == UNKNOWN) return;
    begin_record("memory");
    put_field("phase", PHASE_NAMES[phase]);
    put_number("t_ns", reading->t_ns);
    put_size("rss_bytes", reading->rss);
    put_size("rss_anon_bytes", reading->anon);
    put_size("rss_file_bytes", reading->file);
    put_size("pss_bytes", reading->pss);
    put_size("swap_pss_bytes", reading->swap_pss);
    end_record();
}

/* Start the kernel's high-water mark afresh; whether the kernel allowed it.
 * Source: proc_pid_clear_refs(5), value 5. */
static bool reset_peak(void)
{
    int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (file < 0) return false;
    bool done = write_all(file, "5", 1);
    close(file);
    return done;
}

static int64_t peak_bytes = UNKNOWN; /* the kernel's high-water mark, once read */

static void read_peak(void)
{
    peak_bytes = status_size("VmHWM");
}

static void print_peak(bool reset)
{
    struct rusage usage;
    bool known = peak_bytes != UNKNOWN;
    if (!known && getrusage(RUSAGE_SELF, &usage) == 0) peak_bytes = (int64_t)usage.ru_maxrss * 1024;
    begin_record("peak");
    put_size("rss_bytes", peak_bytes);
    put_key("reset");
    put(known && reset ? "true" : "false");
    put_field("source", known ? "VmHWM" : "ru_maxrss");
    end_record();
}

static struct Vma vmas[MAX_VMAS + 1]; /* the last one takes what has no room */
static size_t n_vmas;
static struct {
    pthread_t thread;
    atomic_int phase; /* an enum Phase */
    atomic_bool stop;
    long interval_ms;
    int64_t readings, truncated;
    int64_t first_ns, last_ns, interval_max_ns, read_total_ns, read_max_ns;
} sampler;

/* The place where sizes of that name are summed. */
static struct Vma *vma_named(const char *name, bool *truncated)
{
    size_t n = strlen(name);
    if (n >= VMA_NAME_BYTES) {
        n = VMA_NAME_BYTES - 1;
        *truncated = true;
    }
    for (size_t i = n_vmas; i > 0; i--)
        if (strncmp(vmas[i - 1].name, name, n) == 0 && vmas[i - 1].name[n] == '\0')
            return &vmas[i - 1];
    if (n_vmas == MAX_VMAS) {
        *truncated = true;
        return &vmas[MAX_VMAS];
    }
    struct Vma *vma = &vmas[n_vmas++];
    memset(vma, 0, sizeof *vma);
    memcpy(vma->name, name, n);
    return vma;
}

/* The name in `7f00-7f10 rw-p 00000000 00:00 0    NAME`; it may hold spaces, and may be empty. */
static const char *name_in(const char *line)
{
    for (int field = 0; field < 5; field++) {
        while (*line != '\0' && *line != ' ') line++;
        while (*line == ' ') line++;
    }
    return line;
}

/* Sum smaps by name; false where it cannot be read. */
static bool read_vmas(bool *truncated)
{
    struct Lines lines = {.file = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC)};
    struct Vma *vma = &vmas[MAX_VMAS];
    if (lines.file < 0) return false;
    n_vmas = 0;
    memset(vma, 0, sizeof *vma);
    memcpy(vma->name, "...", 4);
    for (char *line; (line = next_line(&lines)) != NULL;) {
        if (line[0] < 'A' || line[0] > 'Z') { /* keys of sizes are capitalized, addresses not */
            vma = vma_named(name_in(line), truncated);
            continue;
        }
        vma->rss += size_in(line, "Rss", 0);
        vma->pss += size_in(line, "Pss", 0);
        vma->private_dirty += size_in(line, "Private_Dirty", 0);
        vma->swap_pss += size_in(line, "SwapPss", 0);
    }
    close(lines.file);
    return true;
}

static void count_reading(int64_t start_ns, bool truncated)
{
    int64_t read_ns = now_ns() - start_ns, interval_ns = start_ns - sampler.last_ns;
    if (sampler.readings++ == 0) sampler.first_ns = start_ns;
    else if (interval_ns > sampler.interval_max_ns) sampler.interval_max_ns = interval_ns;
    sampler.last_ns = start_ns;
    sampler.read_total_ns += read_ns;
    if (read_ns > sampler.read_max_ns) sampler.read_max_ns = read_ns;
    sampler.truncated += truncated;
}

/* Read and print one `smaps` record. The record's turn also guards the table and the counts. */
static void print_smaps(void)
{
    bool truncated = false;
    begin_record("smaps");
    int64_t start_ns = now_ns();
    put_number("t_ns", start_ns);
    put_field("phase", PHASE_NAMES[atomic_load(&sampler.phase)]);
    put_key("vmas");
    put("{");
    if (read_vmas(&truncated)) count_reading(start_ns, truncated);
    else n_vmas = 0;
    for (size_t i = 0; i < n_vmas + truncated; i++) {
        const struct Vma *vma = i < n_vmas ? &vmas[i] : &vmas[MAX_VMAS];
        if (i > 0) put(",");
        put_text(vma->name);
        put(":[%lld,%lld,%lld,%lld]", (long long)vma->rss, (long long)vma->pss,
            (long long)vma->private_dirty, (long long)vma->swap_pss);
    }
    put("}");
    end_record();
}

/* The sampler's thread. */
static void *sample_memory(void *unused)
{
    (void)unused;
    const struct timespec pause = {sampler.interval_ms / 1000,
                                   sampler.interval_ms % 1000 * 1000000};
    for (;;) {
        nanosleep(&pause, NULL);
        if (atomic_load(&sampler.stop)) return NULL;
        print_smaps();
    }
}

/* Take the one reading of the baseline and go on in a thread. */
static void start_sampler(long interval_ms)
{
    sampler.interval_ms = interval_ms;
    print_smaps();
    atomic_store(&sampler.phase, LOADED);
    if (pthread_create(&sampler.thread, NULL, sample_memory, NULL) != 0)
        fail(EXIT_LOAD, "no thread for the sampler of memory");
}

/* Take the last reading of a phase and go over to the next one; the last one ends the thread. */
static void end_sampled_phase(enum Phase phase)
{
    print_smaps();
    if (phase != STEADY) {
        atomic_store(&sampler.phase, (int)phase + 1);
        return;
    }
    atomic_store(&sampler.stop, true);
    pthread_join(sampler.thread, NULL);
}

/* Print how closely the readings followed each other. */
static void print_sampler(void)
{
    int64_t n = sampler.readings;
    begin_record("sampler");
    put_number("readings", n);
    put_size("interval_mean_ns", n < 2 ? UNKNOWN : (sampler.last_ns - sampler.first_ns) / (n - 1));
    put_size("interval_max_ns", n < 2 ? UNKNOWN : sampler.interval_max_ns);
    put_size("read_mean_ns", n < 1 ? UNKNOWN : sampler.read_total_ns / n);
    put_size("read_max_ns", n < 1 ? UNKNOWN : sampler.read_max_ns);
    put_number("truncated", sampler.truncated);
    end_record();
}

#endif
