/* What the runner's own work costs an inference: its loop beside one that only runs the model.
 *
 * Takes the runner's command line. After the warm-up it runs bursts, in turn of the bare loop and
 * of the runner's, of --min-runs inferences each, --seconds in all, and prints a line a pair:
 *
 *     {"bare_ns": 51234567, "runner_ns": 51240011, "timed_ns": 51200000, "runs": 50}
 *
 * bare_ns and runner_ns are whole bursts by two readings of the clock, timed_ns the sum of the
 * latencies that the runner wrote down for its own.
 */
#define main runner_main
#include "ort_bench.c"
#undef main

static int64_t bare_burst(int64_t runs)
{
    int64_t start_ns = now_ns();
    for (int64_t i = 0; i < runs; i++) CHECK(EXIT_RUN, RunWithBinding(session, NULL, binding));
    return now_ns() - start_ns;
}

/* The runner's loop, its deadline included, as run_all() has it. */
static int64_t runner_burst(int64_t runs, int64_t deadline_ns)
{
    int64_t n = 0, start_ns = now_ns();
    while (n < options.max_runs && (n < runs || now_ns() < deadline_ns) && n < runs) run_once(n++);
    return now_ns() - start_ns;
}

int main(int argc, char **argv)
{
    const char *problem = NULL;
    parse_options(argc, argv);
    void *const *table = load_library(&problem);
    if (table == NULL) return EXIT_LOAD;
    look_up_members(table);
    set_defaults();
    samples = map_bytes((size_t)options.max_runs * sizeof *samples);
    if (samples == NULL) return EXIT_LOAD;
    create_session();
    describe_ends();
    bind_ends();
    bare_burst(options.warmup + 1);
    int64_t runs = options.min_runs;
    int64_t end_ns = now_ns() + (int64_t)(options.seconds * 1e9);
    for (int pair = 0; now_ns() < end_ns; pair++) {
        int64_t bare_ns = 0, runner_ns, timed_ns = 0;
        if (pair % 2 == 0) bare_ns = bare_burst(runs);
        runner_ns = runner_burst(runs, end_ns);
        if (pair % 2 == 1) bare_ns = bare_burst(runs);
        for (int64_t i = 0; i < runs; i++) timed_ns += samples[i][1];
        printf("{\"bare_ns\": %lld, \"runner_ns\": %lld, \"timed_ns\": %lld, \"runs\": %lld}\n",
               (long long)bare_ns, (long long)runner_ns, (long long)timed_ns, (long long)runs);
    }
    release_all();
    return 0;
}
