/* The command line. Part of ort_bench.c, which includes it. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "records.h"

enum { MASK_WORDS = 16 }; /* of a CPU mask: 1024 CPUs where a long has 64 bits, as in a cpu_set_t */

enum Mode { LATENCY, MEMORY, PROFILE, SAVE, CHECK_OUTPUT, COUNT };
static const char *const MODES[] = {"latency", "memory", "profile", "save", "check", "count",
                                    NULL};
static const char *const PROVIDERS[] = {"cpu", "xnnpack", "nnapi", NULL};
static const char *const LEVELS[] = {"disable", "basic", "extended", "all", NULL};

/* What the command line asks for. */
struct Options {
    const char *model, *library, *input, *output, *save, *profile, *counter;
    const char *mode_name, *provider, *opt_level;
    enum Mode mode;
    int64_t threads, log_level, warmup, min_runs, max_runs, interval_ms;
    double seconds;
    unsigned long cores[MASK_WORDS]; /* bit 0 of word 0 is CPU 0 */
    bool cores_given;
    struct Pairs config, provider_options;
};

static struct Options options = {
    .mode_name = "latency", .provider = "cpu", .opt_level = "all",
    .threads = 1, .log_level = 2, .warmup = 3, .min_runs = 5, .max_runs = 100000,
    .interval_ms = 10, .seconds = 1.0,
};

static const char USAGE[] =
    "usage: ort_bench MODEL --library FILE [--mode latency|memory|profile|save|check|count]\n"
    "    [--input FILE] [--output FILE] [--provider cpu|xnnpack|nnapi]\n"
    "    [--provider-option KEY=VALUE]... [--threads N] [--cores HEXMASK]\n"
    "    [--opt-level disable|basic|extended|all] [--config KEY=VALUE]... [--log-level N]\n"
    "    [--warmup N] [--seconds S] [--min-runs N] [--max-runs N] [--interval-ms N]\n"
    "    [--save FILE] [--profile FILE] [--counter FILE]\n"
    "See PROTOCOL.md.\n";

/* End with a wrong command line. */
__attribute__((noreturn)) static void refuse(const char *option, const char *value, const char *why)
{
    say("%serror: %s %s: %s\n", USAGE, option, value, why);
    _exit(EXIT_USAGE);
}

static int64_t parse_count(const char *option, const char *text, int64_t least, int64_t most)
{
    char *end = NULL;
    errno = 0;
    long long value = text[0] >= '0' && text[0] <= '9' ? strtoll(text, &end, 10) : -1;
    if (end == NULL || *end != '\0' || errno != 0 || value < least || value > most)
        refuse(option, text, "not a whole number in the range of this option");
    return value;
}

static double parse_seconds(const char *option, const char *text)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0 && value <= 1e6))
        refuse(option, text, "not a time of 0 or more");
    return value;
}

static const char *parse_choice(const char *option, const char *text, const char *const *choices)
{
    for (; *choices != NULL; choices++)
        if (strcmp(text, *choices) == 0) return *choices;
    refuse(option, text, "not one of its values");
}

/* Set a pair, in place of an earlier one of the same key. */
static void set_pair(struct Pairs *pairs, const char *key, const char *value)
{
    size_t i = 0;
    while (i < pairs->n && strcmp(pairs->keys[i], key) != 0) i++;
    if (i == MAX_PAIRS) refuse(key, value, "too many of them");
    pairs->keys[i] = key;
    pairs->values[i] = value;
    pairs->n += i == pairs->n;
}

static void parse_pair(const char *option, char *text, struct Pairs *pairs)
{
    char *equals = strchr(text, '=');
    if (equals == NULL || equals == text) refuse(option, text, "not KEY=VALUE");
    *equals = '\0';
    set_pair(pairs, text, equals + 1);
}

static const char *pair_value(const struct Pairs *pairs, const char *key)
{
    for (size_t i = 0; i < pairs->n; i++)
        if (strcmp(pairs->keys[i], key) == 0) return pairs->values[i];
    return NULL;
}

static void parse_mask(const char *option, const char *text)
{
    const size_t word_bits = 8 * sizeof options.cores[0];
    size_t n = strlen(text);
    bool any = false;
    memset(options.cores, 0, sizeof options.cores);
    if (n == 0 || 4 * n > 8 * sizeof options.cores) refuse(option, text, "not a mask of CPUs");
    for (size_t i = 0; i < n; i++) {
        char digit = text[n - 1 - i];
        int value = digit >= '0' && digit <= '9'   ? digit - '0'
                    : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                    : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                   : -1;
        if (value < 0) refuse(option, text, "not hexadecimal");
        options.cores[4 * i / word_bits] |= (unsigned long)value << (4 * i % word_bits);
        any = any || value != 0;
    }
    if (!any) refuse(option, text, "no CPU");
    options.cores_given = true;
}

/* Take one option and its value; false where there is no such option. */
static bool parse_option(const char *name, char *value)
{
    const int64_t many = 10000000; /* samples of 16 bytes each */
    struct { const char *name; const char **text; } texts[] = {
        {"--library", &options.library}, {"--input", &options.input}, {"--save", &options.save},
        {"--output", &options.output}, {"--profile", &options.profile},
        {"--counter", &options.counter}};
    struct { const char *name; const char **text; const char *const *choices; } choices[] = {
        {"--mode", &options.mode_name, MODES}, {"--provider", &options.provider, PROVIDERS},
        {"--opt-level", &options.opt_level, LEVELS}};
    struct { const char *name; int64_t *number, least, most; } numbers[] = {
        {"--threads", &options.threads, 1, 1024}, {"--log-level", &options.log_level, 0, 4},
        {"--warmup", &options.warmup, 0, many}, {"--min-runs", &options.min_runs, 0, many},
        {"--max-runs", &options.max_runs, 1, many},
        {"--interval-ms", &options.interval_ms, 1, 60000}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(name, texts[i].name) == 0) return (*texts[i].text = value, true);
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++)
        if (strcmp(name, choices[i].name) == 0)
            return (*choices[i].text = parse_choice(name, value, choices[i].choices), true);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (strcmp(name, numbers[i].name) == 0)
            return (*numbers[i].number = parse_count(name, value, numbers[i].least,
                                                     numbers[i].most), true);
    if (strcmp(name, "--seconds") == 0) options.seconds = parse_seconds(name, value);
    else if (strcmp(name, "--cores") == 0) parse_mask(name, value);
    else if (strcmp(name, "--config") == 0) parse_pair(name, value, &options.config);
    else if (strcmp(name, "--provider-option") == 0)
        parse_pair(name, value, &options.provider_options);
    else return false;
    return true;
}

/* Check that options fit each other, and set what the mode and the provider imply. */
static void settle_options(void)
{
    while (strcmp(options.mode_name, MODES[options.mode]) != 0) options.mode++;
    enum Mode mode = options.mode;
    if (options.model == NULL) refuse("MODEL", "", "missing");
    if (options.library == NULL) refuse("--library", "", "missing");
    if (mode != SAVE && options.input == NULL) refuse("--input", "", "missing");
    if (mode != SAVE && options.output == NULL) refuse("--output", "", "missing");
    if (mode == SAVE && options.save == NULL) refuse("--save", "", "missing in mode save");
    if (mode == PROFILE && options.profile == NULL)
        refuse("--profile", "", "missing in mode profile");
    if (mode == COUNT && options.counter == NULL) refuse("--counter", "", "missing in mode count");
    if (options.counter != NULL && mode != COUNT && mode != PROFILE)
        refuse("--counter", options.counter, "only in modes count and profile");
    if (options.counter != NULL && options.threads != 1)
        refuse("--threads", "", "only one thread can be counted");
    if (mode == SAVE || mode == CHECK_OUTPUT) options.warmup = options.min_runs = 0;
    if (mode == SAVE || mode == CHECK_OUTPUT || options.counter != NULL) options.seconds = 0;
    if (options.max_runs < 1 + options.warmup + options.min_runs)
        refuse("--max-runs", "", "fewer than the inferences asked for");
    if (strcmp(options.provider, "nnapi") == 0) {
        const char *flags = pair_value(&options.provider_options, "flags");
        if (options.provider_options.n != (flags != NULL))
            refuse("--provider-option", options.provider_options.keys[0], "nnapi has only flags");
        if (flags != NULL) parse_count("--provider-option flags", flags, 0, 0x7FFFFFFF);
    }
}

static void parse_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            write_all(STDOUT_FILENO, USAGE, sizeof USAGE - 1);
            _exit(EXIT_DONE);
        }
        if (strncmp(argv[i], "--", 2) != 0) {
            if (options.model != NULL) refuse("MODEL", argv[i], "a second one");
            options.model = argv[i];
            continue;
        }
        if (i + 1 == argc) refuse(argv[i], "", "no value");
        if (!parse_option(argv[i], argv[i + 1])) refuse(argv[i], "", "no such option");
        i++;
    }
    settle_options();
}

/* Give a pair its default, where the command line says nothing of it. */
static void default_pair(struct Pairs *pairs, const char *key, const char *value)
{
    if (pair_value(pairs, key) == NULL) set_pair(pairs, key, value);
}

#endif
