/* Load one ONNX model in a fresh process, run it, print what was seen. See PROTOCOL.md.
 *
 *     ort_bench net.onnx --library libonnxruntime.so --input input.f32 --output output.f32
 *
 *     {"record":"sample","iteration":4,"phase":"steady","t_start_ns":8123,"latency_ns":1035210}
 *
 * One source for Linux and for Android from API level 24 on. ONNX Runtime is loaded with dlopen.
 * Of the C library it uses what libc/ort_bench_libc.h includes; bionic/ort_bench_libc.h declares
 * the same by hand, for a build without any system headers. Nothing here allocates from the heap,
 * so that what memory readings show there is the runtime's own.
 *
 * options.h: the command line; records.h: what is printed; memory.h: readings; counting.h: counts
 * of an emulator; sha256.h.
 */
#include <ort_bench_libc.h>

#include "counting.h"
#include "memory.h"
#include "options.h"
#include "ort_abi.h"
#include "records.h"
#include "sha256.h"

#define PROTOCOL 3

enum { MAX_RANK = 16, MAX_PROVIDERS = 16, NNAPI_LEAST_SDK = 27 };

ORT_MEMBERS(ORT_DECLARE)
ORT_ASSIGNMENT_MEMBERS(ORT_DECLARE)

static const int LEVEL_VALUES[] = {0, 1, 2, 99}; /* of LEVELS */
static const char *const TYPES[] = {"undefined", "float", "uint8", "int8", "uint16", "int16",
                                    "int32", "int64", "string", "bool", "float16", "double"};
static const char *const SEVERITIES[] = {"verbose", "info", "warning", "error", "fatal"};
static const char *const STATUS_CODES[] = {
    "OK", "FAIL", "INVALID_ARGUMENT", "NO_SUCHFILE", "NO_MODEL", "ENGINE_ERROR",
    "RUNTIME_EXCEPTION", "INVALID_PROTOBUF", "MODEL_LOADED", "NOT_IMPLEMENTED", "INVALID_GRAPH",
    "EP_FAIL"};

/* One end of the model; its values are float32, row-major. */
struct Tensor {
    char *name; /* owned by ONNX Runtime's default allocator */
    int64_t shape[MAX_RANK];
    size_t rank, bytes;
    char *values; /* a mapping of its own, there until the process ends */
    Object *value;
};

/* How many nodes a provider takes, in how many pieces; pieces may be UNKNOWN. */
struct Share {
    char provider[64];
    int64_t nodes, partitions;
};

static const char *runtime_version; /* NULL until the library is loaded */
static uint32_t api_version;
static void *library;
static Object *env, *session, *binding, *allocator; /* the allocator is not ours to release */
static struct Tensor input, output;
static int64_t (*samples)[2]; /* (max_runs, 2): start_ns, latency_ns */
static struct Share logged[MAX_PROVIDERS]; /* from the runtime's verbose log */
static size_t n_logged;

/* Go on where the status is OK, else end with its message. */
#define CHECK(stage, call) check((stage), (call))

static void check(int stage, Status *status)
{
    if (status == NULL) return;
    size_t code = (size_t)GetErrorCode(status);
    size_t known = sizeof STATUS_CODES / sizeof STATUS_CODES[0];
    fail(stage, "%s: %s", code < known ? STATUS_CODES[code] : "error", GetErrorMessage(status));
}

/* ---- cores ---------------------------------------------------------------------------------- */

/* Ask for the cores, which threads made later inherit. What came of it is read back. */
static void ask_for_cores(void)
{
    if (!options.cores_given) return;
    if (sched_setaffinity(0, sizeof options.cores, (const cpu_set_t *)options.cores) != 0)
        say("warning: the cores asked for are refused: %s\n", strerror(errno));
}

/* Append a mask as hexadecimal without leading zeros. */
static void put_mask(const char *key, const unsigned long *mask)
{
    const size_t word_bits = 8 * sizeof mask[0];
    size_t bit = MASK_WORDS * word_bits - 4;
    while (bit > 0 && (mask[bit / word_bits] >> bit % word_bits & 0xF) == 0) bit -= 4;
    put_key(key);
    put("\"");
    for (; bit > 0; bit -= 4) put("%x", (unsigned)(mask[bit / word_bits] >> bit % word_bits & 0xF));
    put("%x\"", (unsigned)(mask[0] & 0xF));
}

static void put_cores(void)
{
    unsigned long granted[MASK_WORDS] = {0};
    if (options.cores_given) put_mask("cores_asked", options.cores);
    else put_field("cores_asked", NULL);
    if (sched_getaffinity(0, sizeof granted, (cpu_set_t *)granted) == 0)
        put_mask("cores_granted", granted);
    else put_field("cores_granted", NULL);
}

/* ---- library -------------------------------------------------------------------------------- */

/* Take `[PROVIDER]. Number of nodes: N` out of a verbose message about the placement of nodes. */
static void note_placement(const char *message)
{
    static const char before[] = "placed on [", middle[] = "Number of nodes: ";
    const char *at = strstr(message, before);
    const char *end = at == NULL ? NULL : strchr(at, ']');
    const char *count = end == NULL ? NULL : strstr(end, middle);
    if (count == NULL || n_logged == MAX_PROVIDERS) return;
    at += sizeof before - 1;
    if ((size_t)(end - at) >= sizeof logged[0].provider) return;
    struct Share *share = &logged[n_logged++];
    memcpy(share->provider, at, (size_t)(end - at));
    share->nodes = strtoll(count + sizeof middle - 1, NULL, 10);
    share->partitions = UNKNOWN;
}

/* Everything that the runtime logs; on Android it would go to the system's log otherwise. */
static void log_message(void *unused, int severity, const char *category, const char *log_id,
                        const char *location, const char *message)
{
    (void)unused, (void)log_id;
    if (n_logged < MAX_PROVIDERS) note_placement(message);
    say("%s: %s: %s (%s)\n", severity >= 0 && severity <= 4 ? SEVERITIES[severity] : "log",
        category, message, location);
}

/* The API version that goes with `1.N.patch`, as far as this program knows it. */
static uint32_t newest_api(const char *version)
{
    long minor = strncmp(version, "1.", 2) == 0 ? strtol(version + 2, NULL, 10) : ORT_NEWEST_API;
    return minor < ORT_NEWEST_API ? (uint32_t)minor : ORT_NEWEST_API;
}

/* Find the library's table of functions, of the newest version that both sides know; say why
 * there is none. */
static void *const *load_library(const char **problem)
{
    setenv("ORT_DISABLE_TELEMETRY", "1", 1);
    library = dlopen(options.library, RTLD_NOW | RTLD_LOCAL);
    *problem = library == NULL ? dlerror() : "no OrtGetApiBase in the library";
    void *symbol = library == NULL ? NULL : dlsym(library, "OrtGetApiBase");
    if (symbol == NULL) return NULL;
    const OrtApiBase *base = ((const OrtApiBase *(*)(void))symbol)();
    const char *version = base->GetVersionString();
    for (uint32_t api = newest_api(version); api >= ORT_OLDEST_API; api--) {
        void *const *table = base->GetApi(api);
        if (table == NULL) continue;
        api_version = api;
        runtime_version = version;
        return table;
    }
    *problem = "the library is too old: it has no API of version 12";
    return NULL;
}

static void look_up_members(void *const *table)
{
    ORT_MEMBERS(ORT_LOOK_UP)
    if (api_version >= ORT_ASSIGNMENT_API) {
        ORT_ASSIGNMENT_MEMBERS(ORT_LOOK_UP)
    }
}

/* ---- providers ------------------------------------------------------------------------------ */

/* The level of the Android that this runs on; 0 where it is none or does not tell. */
static long android_sdk(void)
{
    char value[128] = ""; /* PROP_VALUE_MAX is 92 */
    void *symbol = dlsym(RTLD_DEFAULT, "__system_property_get");
    if (symbol == NULL) return 0;
    ((int (*)(const char *, char *))symbol)("ro.build.version.sdk", value);
    return strtol(value, NULL, 10);
}

/* Adding NNAPI always answers OK; without its library the session then crashes, and before SDK 27
 * all nodes land on the CPU without a word. So all is looked at before. */
static void append_nnapi(Object *session_options)
{
    const char *flags = pair_value(&options.provider_options, "flags");
    void *symbol = dlsym(library, "OrtSessionOptionsAppendExecutionProvider_Nnapi");
    if (symbol == NULL) fail(EXIT_PROVIDER, "this build of ONNX Runtime has no NNAPI");
    long sdk = android_sdk();
    if (sdk == 0) fail(EXIT_PROVIDER, "NNAPI is part of Android, and this system does not say that "
                                      "it is one");
    if (sdk < NNAPI_LEAST_SDK)
        fail(EXIT_PROVIDER, "NNAPI needs SDK %d, this device has %ld", NNAPI_LEAST_SDK, sdk);
    if (dlopen("libneuralnetworks.so", RTLD_NOW | RTLD_LOCAL) == NULL)
        fail(EXIT_PROVIDER, "NNAPI cannot be loaded: %s", dlerror());
    OrtAppendNnapi *append = (OrtAppendNnapi *)symbol;
    CHECK(EXIT_PROVIDER, append(session_options, flags == NULL ? 0 : (uint32_t)atol(flags)));
}

static void append_provider(Object *session_options)
{
    const struct Pairs *pairs = &options.provider_options;
    if (strcmp(options.provider, "nnapi") == 0) append_nnapi(session_options);
    if (strcmp(options.provider, "xnnpack") == 0)
        CHECK(EXIT_PROVIDER, SessionOptionsAppendExecutionProvider(
                                 session_options, "XNNPACK", pairs->keys, pairs->values, pairs->n));
}

/* Set the entries and options that nobody asked for; PROTOCOL.md says why. */
static void set_defaults(void)
{
    static char threads[16];
    bool xnnpack = strcmp(options.provider, "xnnpack") == 0;
    default_pair(&options.config, "session.force_spinning_stop", "1");
    if (api_version >= ORT_ASSIGNMENT_API)
        default_pair(&options.config, "session.record_ep_graph_assignment_info", "1");
    if (!xnnpack) return;
    snprintf(threads, sizeof threads, "%d", (int)options.threads);
    default_pair(&options.config, "session.intra_op.allow_spinning", "0");
    default_pair(&options.provider_options, "intra_op_num_threads", threads);
}

/* ---- session -------------------------------------------------------------------------------- */

static Object *session_options(void)
{
    Object *made;
    int level = 0;
    while (strcmp(options.opt_level, LEVELS[level]) != 0) level++;
    CHECK(EXIT_LOAD, CreateSessionOptions(&made));
    CHECK(EXIT_LOAD, SetSessionLogSeverityLevel(made, (int)options.log_level));
    CHECK(EXIT_LOAD, SetIntraOpNumThreads(made, (int)options.threads));
    CHECK(EXIT_LOAD, SetInterOpNumThreads(made, 1));
    CHECK(EXIT_LOAD, SetSessionGraphOptimizationLevel(made, LEVEL_VALUES[level]));
    for (size_t i = 0; i < options.config.n; i++)
        CHECK(EXIT_LOAD,
              AddSessionConfigEntry(made, options.config.keys[i], options.config.values[i]));
    if (options.mode == SAVE) CHECK(EXIT_LOAD, SetOptimizedModelFilePath(made, options.save));
    if (options.mode == PROFILE) CHECK(EXIT_LOAD, EnableProfiling(made, options.profile));
    append_provider(made);
    return made;
}

/* Make the session; how long that took, UNKNOWN where it is counted. */
static int64_t create_session(void)
{
    CHECK(EXIT_LOAD, CreateEnvWithCustomLogger(log_message, NULL, (int)options.log_level,
                                               "ort_bench", &env));
    Object *wanted = session_options();
    int64_t start_ns = now_ns();
    if (is_counted()) ask_counter(AT_START);
    CHECK(EXIT_LOAD, CreateSession(env, options.model, wanted, &session));
    if (is_counted()) keep_count(0);
    int64_t create_ns = is_counted() ? UNKNOWN : now_ns() - start_ns;
    ReleaseSessionOptions(wanted);
    CHECK(EXIT_LOAD, GetAllocatorWithDefaultOptions(&allocator));
    return create_ns;
}

/* Write a shape as `[1, 3, 'h', 'w']`. */
static void shape_text(char *text, size_t room, const struct Tensor *tensor, const char **symbols)
{
    size_t n = (size_t)snprintf(text, room, "[");
    for (size_t i = 0; i < tensor->rank && n < room; i++) {
        const char *comma = i > 0 ? ", " : "", *symbol = symbols == NULL ? "" : symbols[i];
        n += (size_t)(tensor->shape[i] >= 0
                          ? snprintf(text + n, room - n, "%s%lld", comma,
                                     (long long)tensor->shape[i])
                          : snprintf(text + n, room - n, "%s'%s'", comma, symbol));
    }
    if (n < room) snprintf(text + n, room - n, "]");
}

/* Read the shape of one end of the model, and refuse what is not float32 of a static shape. */
static void read_shape(struct Tensor *tensor, Object *type)
{
    const Object *info;
    const char *symbols[MAX_RANK];
    char text[512];
    int element;
    int64_t count = 1;
    CHECK(EXIT_LOAD, CastTypeInfoToTensorInfo(type, &info));
    if (info == NULL) fail(EXIT_LOAD, "%s is not a tensor", tensor->name);
    CHECK(EXIT_LOAD, GetTensorElementType(info, &element));
    CHECK(EXIT_LOAD, GetDimensionsCount(info, &tensor->rank));
    if (tensor->rank > MAX_RANK)
        fail(EXIT_LOAD, "%s has %d dimensions", tensor->name, (int)tensor->rank);
    CHECK(EXIT_LOAD, GetDimensions(info, tensor->shape, tensor->rank));
    CHECK(EXIT_LOAD, GetSymbolicDimensions(info, symbols, tensor->rank));
    bool fits = element == ORT_FLOAT32;
    for (size_t i = 0; i < tensor->rank; i++) {
        fits = fits && tensor->shape[i] >= 0 && tensor->shape[i] < 1 << 30 && count < 1 << 30;
        if (fits) count *= tensor->shape[i];
    }
    shape_text(text, sizeof text, tensor, symbols);
    if (!fits)
        fail(EXIT_LOAD, "%s is tensor(%s) of shape %s, not float32 of a static shape",
             tensor->name, element >= 0 && element < 12 ? TYPES[element] : "another", text);
    tensor->bytes = (size_t)count * sizeof(float);
}

static void describe_ends(void)
{
    size_t takes, gives;
    Object *type;
    CHECK(EXIT_LOAD, SessionGetInputCount(session, &takes));
    CHECK(EXIT_LOAD, SessionGetOutputCount(session, &gives));
    if (takes != 1 || gives != 1)
        fail(EXIT_LOAD, "%d inputs and %d outputs, not one of each", (int)takes, (int)gives);
    CHECK(EXIT_LOAD, SessionGetInputName(session, 0, allocator, &input.name));
    CHECK(EXIT_LOAD, SessionGetInputTypeInfo(session, 0, &type));
    read_shape(&input, type);
    ReleaseTypeInfo(type);
    CHECK(EXIT_LOAD, SessionGetOutputName(session, 0, allocator, &output.name));
    CHECK(EXIT_LOAD, SessionGetOutputTypeInfo(session, 0, &type));
    read_shape(&output, type);
    ReleaseTypeInfo(type);
}

/* Read the input's values, which must be as many as it has elements. */
static void read_input(void)
{
    char text[512];
    int file = open(options.input, O_RDONLY | O_CLOEXEC);
    if (file < 0) fail(EXIT_LOAD, "cannot read %s: %s", options.input, strerror(errno));
    int64_t size = lseek(file, 0, SEEK_END);
    if (size < 0 || lseek(file, 0, SEEK_SET) != 0)
        fail(EXIT_LOAD, "cannot read %s: %s", options.input, strerror(errno));
    shape_text(text, sizeof text, &input, NULL);
    if (size % (int64_t)sizeof(float) != 0)
        fail(EXIT_LOAD, "%lld bytes are not float32 values", (long long)size);
    if ((size_t)size != input.bytes)
        fail(EXIT_LOAD, "%lld values for an input of shape %s",
             (long long)(size / (int64_t)sizeof(float)), text);
    if (read_all(file, input.values, input.bytes) != size)
        fail(EXIT_LOAD, "cannot read %s", options.input);
    close(file);
}

/* Bind input and output once; every inference uses the same memory. */
static void bind_ends(void)
{
    Object *memory;
    struct Tensor *const ends[] = {&input, &output};
    CHECK(EXIT_LOAD, CreateCpuMemoryInfo(ORT_PLAIN_ALLOCATOR, ORT_DEFAULT_MEMORY, &memory));
    CHECK(EXIT_LOAD, CreateIoBinding(session, &binding));
    for (size_t i = 0; i < 2; i++) {
        struct Tensor *end = ends[i];
        end->values = map_bytes(end->bytes);
        if (end->values == NULL) fail(EXIT_LOAD, "no memory for the values of %s", end->name);
        CHECK(EXIT_LOAD, CreateTensorWithDataAsOrtValue(memory, end->values, end->bytes, end->shape,
                                                        end->rank, ORT_FLOAT32, &end->value));
    }
    read_input();
    CHECK(EXIT_LOAD, BindInput(binding, input.name, input.value));
    CHECK(EXIT_LOAD, BindOutput(binding, output.name, output.value));
    ReleaseMemoryInfo(memory);
}

static void release_all(void)
{
    struct Tensor *const ends[] = {&input, &output};
    if (binding != NULL) ReleaseIoBinding(binding);
    for (size_t i = 0; i < 2; i++) {
        if (ends[i]->value != NULL) ReleaseValue(ends[i]->value);
        CHECK(EXIT_RUN, AllocatorFree(allocator, ends[i]->name));
    }
    ReleaseSession(session);
    ReleaseEnv(env);
}

/* ---- inferences ----------------------------------------------------------------------------- */

/* Make ready for the samples of all inferences. */
static void start_sampling(void)
{
    samples = map_bytes((size_t)options.max_runs * sizeof *samples);
    if (samples == NULL) fail(EXIT_LOAD, "no memory for %lld samples", (long long)options.max_runs);
}

static void run_counted(int64_t iteration)
{
    ask_counter(AT_START);
    CHECK(EXIT_RUN, RunWithBinding(session, NULL, binding));
    keep_count(1 + iteration);
}

static void run_once(int64_t iteration)
{
    if (is_counted()) {
        run_counted(iteration);
        return;
    }
    int64_t start_ns = now_ns();
    CHECK(EXIT_RUN, RunWithBinding(session, NULL, binding));
    int64_t latency_ns = now_ns() - start_ns;
    samples[iteration][0] = start_ns;
    samples[iteration][1] = latency_ns > 0 ? latency_ns : 1;
}

/* The memory of this process; nothing of an emulated one, which does not see its own. */
static struct Reading read_phase(void)
{
    const struct Reading nothing = {.rss = UNKNOWN};
    return is_counted() ? nothing : read_memory();
}

/* Run all inferences, reading memory between phases; how many there were. */
static int64_t run_all(struct Reading *first, struct Reading *steady)
{
    int64_t n = 0;
    run_once(n++);
    *first = read_phase();
    if (options.mode == MEMORY) end_sampled_phase(FIRST);
    if (options.mode == CHECK_OUTPUT) return n;
    while (n <= options.warmup) run_once(n++);
    int64_t least = n + options.min_runs;
    int64_t deadline_ns = now_ns() + (int64_t)(options.seconds * 1e9);
    while (n < options.max_runs && (n < least || now_ns() < deadline_ns)) run_once(n++);
    *steady = read_phase();
    if (options.mode == MEMORY) end_sampled_phase(STEADY);
    return n;
}

/* ---- what is printed ------------------------------------------------------------------------ */

static void print_begin(void)
{
    begin_record("begin");
    put_number("protocol", PROTOCOL);
    put_field("mode", options.mode_name);
    put_field("runtime", "onnxruntime");
    put_field("runtime_version", runtime_version);
    put_size("api_version", api_version == 0 ? UNKNOWN : (int64_t)api_version);
    put_number("pid", getpid());
    put_field("provider", options.provider);
    put_pairs("provider_options", &options.provider_options);
    put_number("intra_op_threads", options.threads);
    put_number("inter_op_threads", 1);
    put_cores();
    put_field("graph_opt_level", options.opt_level);
    put_pairs("config", &options.config);
    put_number("warmup", options.warmup);
    put_key("seconds");
    put("%.17g", options.seconds);
    put_number("min_runs", options.min_runs);
    put_size("interval_ms", options.mode == MEMORY ? options.interval_ms : UNKNOWN);
    end_record();
}

static void put_shape(const char *key, const struct Tensor *tensor)
{
    char text[512];
    shape_text(text, sizeof text, tensor, NULL);
    put_key(key);
    put_bytes(text, strlen(text));
}

static void print_session(int64_t create_ns)
{
    begin_record("session");
    put_size("create_ns", create_ns);
    put_shape("input_shape", &input);
    put_shape("output_shape", &output);
    end_record();
}

/* Find a provider's share, or begin it; the last one takes what has no room. */
static struct Share *share_of(struct Share *shares, size_t *n, const char *provider)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(shares[i].provider, provider) == 0) return &shares[i];
    if (*n == MAX_PROVIDERS) return &shares[MAX_PROVIDERS - 1];
    snprintf(shares[*n].provider, sizeof shares[*n].provider, "%s", provider);
    return &shares[(*n)++];
}

static void put_shares(const struct Share *shares, size_t n)
{
    int64_t total = 0;
    for (size_t i = 0; i < n; i++) total += shares[i].nodes;
    put_size("nodes_total", n == 0 ? UNKNOWN : total);
    put_key("providers");
    put("{");
    for (size_t i = 0; i < n; i++) {
        if (i > 0) put(",");
        put_text(shares[i].provider);
        put(":{");
        out_first = true;
        put_number("nodes", shares[i].nodes);
        put_size("partitions", shares[i].partitions);
        put("}");
    }
    put("}");
    out_first = false;
}

/* Give a text that the runtime was asked for, an empty one where it refused. Never fails: a record
 * is under way. */
static const char *text_or_none(Status *status, const char *const *text)
{
    if (status == NULL) return *text;
    ReleaseStatus(status);
    return "";
}

/* The nodes of a subgraph; NULL and 0 where the runtime refuses. */
static Object *const *nodes_of(Object *subgraph, size_t *n)
{
    Object *const *nodes = NULL;
    Status *status = EpAssignedSubgraph_GetNodes(subgraph, &nodes, n);
    if (status == NULL) return nodes;
    ReleaseStatus(status);
    *n = 0;
    return NULL;
}

/* Append the nodes of one subgraph that a provider took. */
static void put_nodes(Object *subgraph, const char *provider, int64_t partition, bool *any)
{
    const char *text;
    size_t n;
    Object *const *nodes = nodes_of(subgraph, &n);
    for (size_t i = 0; i < n; i++) {
        put(*any ? ",{" : "{");
        out_first = *any = true;
        put_field("name", text_or_none(EpAssignedNode_GetName(nodes[i], &text), &text));
        put_field("op_type", text_or_none(EpAssignedNode_GetOperatorType(nodes[i], &text), &text));
        put_field("provider", provider);
        put_number("partition", partition);
        put("}");
    }
}

/* The provider that took a subgraph. */
static const char *provider_of(Object *subgraph)
{
    const char *text;
    return text_or_none(EpAssignedSubgraph_GetEpName(subgraph, &text), &text);
}

/* Print the runtime's own answer: every subgraph that it gave to a provider, and its nodes. */
static void print_assignment_by_api(Object *const *subgraphs, size_t n)
{
    struct Share shares[MAX_PROVIDERS] = {0};
    size_t n_shares = 0, n_nodes;
    bool any = false;
    begin_record("assignment");
    put_field("source", "api");
    for (size_t i = 0; i < n; i++) {
        struct Share *share = share_of(shares, &n_shares, provider_of(subgraphs[i]));
        nodes_of(subgraphs[i], &n_nodes);
        share->nodes += (int64_t)n_nodes;
        share->partitions++;
    }
    put_shares(shares, n_shares);
    put_key("nodes");
    put("[");
    for (size_t i = 0; i < n; i++)
        put_nodes(subgraphs[i], provider_of(subgraphs[i]), (int64_t)i, &any);
    put("]");
    end_record();
}

/* Print who computes which node, from the best source that there is. */
static void print_assignment(void)
{
    Object *const *subgraphs;
    size_t n;
    if (api_version >= ORT_ASSIGNMENT_API) {
        Status *status = Session_GetEpGraphAssignmentInfo(session, &subgraphs, &n);
        if (status == NULL) {
            print_assignment_by_api(subgraphs, n);
            return;
        }
        ReleaseStatus(status); /* the entry that records it was set to 0 */
    }
    begin_record("assignment");
    put_field("source", n_logged > 0 ? "log" : "none");
    put_shares(logged, n_logged);
    end_record();
}

static void print_samples(int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        begin_record("sample");
        put_number("iteration", i);
        put_field("phase", i == 0 ? "first" : i <= options.warmup ? "warmup" : "steady");
        put_number("t_start_ns", samples[i][0]);
        put_number("latency_ns", samples[i][1]);
        end_record_unflushed();
    }
}

/* Write the output's values and print their hash. */
static void write_output(void)
{
    struct Sha256 hash;
    char digest[65];
    int file = open(options.output, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0 || !write_all(file, output.values, output.bytes) || close(file) != 0)
        fail(EXIT_RUN, "cannot write %s: %s", options.output, strerror(errno));
    sha256_start(&hash);
    sha256_add(&hash, output.values, output.bytes);
    sha256_end(&hash, digest);
    begin_record("output");
    put_number("bytes", (int64_t)output.bytes);
    put_field("sha256", digest);
    end_record();
}

/* Print a file that the runtime wrote: its size and, where asked, its hash. */
static void print_file(const char *record, const char *path, bool hashed)
{
    struct Sha256 hash;
    char digest[65], bytes[LINE_BYTES];
    int64_t n;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) fail(EXIT_RUN, "cannot read %s: %s", path, strerror(errno));
    sha256_start(&hash);
    while ((n = read_all(file, bytes, sizeof bytes)) > 0) sha256_add(&hash, bytes, (size_t)n);
    close(file);
    begin_record(record);
    put_field("file", path);
    put_number("bytes", (int64_t)hash.bytes);
    sha256_end(&hash, digest);
    if (hashed) put_field("sha256", digest);
    end_record();
}

/* End the profile and put it where it was asked for; the runtime chooses a name with a date. */
static void end_profile(void)
{
    char *name;
    CHECK(EXIT_RUN, SessionEndProfiling(session, allocator, &name));
    if (rename(name, options.profile) != 0)
        fail(EXIT_RUN, "cannot rename %s to %s: %s", name, options.profile, strerror(errno));
    CHECK(EXIT_RUN, AllocatorFree(allocator, name));
}

/* ---- the launch ----------------------------------------------------------------------------- */

/* Load the model, reading memory before and after. */
static void load_model(void)
{
    struct Reading reading = read_phase();
    print_memory(BASELINE, &reading);
    if (options.mode == MEMORY) start_sampler((long)options.interval_ms);
    int64_t create_ns = create_session();
    reading = read_phase();
    if (options.mode == MEMORY) end_sampled_phase(LOADED);
    print_memory(LOADED, &reading);
    describe_ends();
    if (options.mode != SAVE) bind_ends();
    print_session(create_ns);
    print_assignment();
}

/* Run the model and print the samples or counts and the memory; how many inferences. */
static int64_t run_model(void)
{
    struct Reading first, steady = {.rss = UNKNOWN};
    int64_t n = run_all(&first, &steady);
    if (!is_counted()) read_peak();
    if (is_counted()) print_counts(n);
    else print_samples(n);
    print_memory(FIRST, &first);
    print_memory(STEADY, &steady);
    write_output();
    if (options.mode == MEMORY) print_sampler();
    return n;
}

int main(int argc, char **argv)
{
    const char *problem = NULL;
    parse_options(argc, argv);
    ask_for_cores();
    void *const *table = load_library(&problem);
    if (table != NULL) look_up_members(table);
    set_defaults();
    print_begin();
    if (table == NULL) fail(EXIT_LOAD, "cannot load %s: %s", options.library, problem);
    if (is_counted()) start_counting(2 + options.warmup + options.min_runs);
    else start_sampling();
    bool peak_reset = !is_counted() && reset_peak();
    load_model();
    int64_t n = 0;
    if (options.mode == SAVE) read_peak();
    else n = run_model();
    if (!is_counted()) print_peak(peak_reset);
    if (options.mode == PROFILE) end_profile();
    release_all();
    if (options.mode == PROFILE) print_file("profile", options.profile, false);
    if (options.mode == SAVE) print_file("saved", options.save, true);
    begin_record("done");
    put_number("n", n);
    end_record();
    return EXIT_DONE;
}
