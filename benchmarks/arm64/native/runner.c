/* Load a model with ONNX Runtime, run it, and mark the session and each run for the counter.
 *
 *   runner MODEL --library FILE --input FILE --output FILE [--runs N] [--opt-level LEVEL]
 *          [--shape N,C,H,W] [--config KEY=VALUE]... [--profile PREFIX --clock FILE]
 *
 * One thread. Input and output are raw little-endian float32. With --clock, the clock of the
 * process stands still but for what the counter writes to FILE: one microsecond an instruction,
 * so that ONNX Runtime's own profile holds instructions. Ends with a line on standard output that
 * names the library's version; exit code 2: wrong arguments, 3: not loaded, 4: a run failed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "marks.h"
#include "ort_abi.h"

#define MAX_CONFIG 16
#define MAX_RANK 8
#define PROFILED_MICROSECONDS 1000000

enum { WRONG_ARGUMENTS = 2, NOT_LOADED = 3, RUN_FAILED = 4 };

struct arguments {
    const char *model, *library, *input, *output, *profile, *clock, *shape;
    char *config[MAX_CONFIG];
    int configs, runs, level;
};

ORT_MEMBERS(ORT_DECLARE)

static volatile const uint64_t *instructions; /* written by the counter, when asked */

static void mark(long point) { syscall(MARK_CALL, point); }

/* What follows takes the place of libc's for every library that is loaded: it is exported
 * (-rdynamic). */

#ifdef __aarch64__
/* Says of every getcpu that this is core 0, the one that is described; the library asks before
 * each matrix product, and takes another branch for a core of the host's that it does not know. */
__attribute__((used)) static long failed(long result)
{
    errno = (int)-result;
    return -1;
}
__asm__(".globl syscall\n"
        ".type syscall, %function\n"
        "syscall:\n"
        "    cmp x0, #168\n" /* SYS_getcpu */
        "    b.ne 1f\n"
        "    cbz x1, 2f\n"
        "    str wzr, [x1]\n"
        "2:  mov x0, #0\n"
        "    ret\n"
        "1:  mov x8, x0\n"
        "    mov x0, x1\n"
        "    mov x1, x2\n"
        "    mov x2, x3\n"
        "    mov x3, x4\n"
        "    mov x4, x5\n"
        "    mov x5, x6\n"
        "    svc #0\n"
        "    cmn x0, #4095\n"
        "    b.cs failed\n"
        "    ret\n"
        ".size syscall, .-syscall\n");
#endif

int clock_gettime(clockid_t which, struct timespec *now)
{
    if (!instructions)
        return (int)syscall(SYS_clock_gettime, which, now);
    mark(MARK_CLOCK);
    uint64_t n = *instructions;
    now->tv_sec = (time_t)(n / PROFILED_MICROSECONDS);
    now->tv_nsec = (long)(n % PROFILED_MICROSECONDS) * 1000;
    return 0;
}

__attribute__((noreturn)) static void stop(int code, const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(code);
}

static void check(Status *status, int code, const char *what)
{
    if (status)
        stop(code, what, GetErrorMessage(status));
}

static int level_of(const char *name)
{
    static const char *const names[] = {"disable", "basic", "extended", "all"};
    static const int levels[] = {0, 1, 2, 99};
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0)
            return levels[i];
    stop(WRONG_ARGUMENTS, name, "no optimization level");
}

static struct arguments parse(int argc, char **argv)
{
    struct arguments given = {.runs = 2, .level = 99};
    if (argc < 2)
        stop(WRONG_ARGUMENTS, "runner", "no model");
    given.model = argv[1];
    for (int i = 2; i < argc; i += 2) {
        char *name = argv[i], *value = argv[i + 1];
        if (!value)
            stop(WRONG_ARGUMENTS, name, "has no value");
        if (strcmp(name, "--library") == 0)
            given.library = value;
        else if (strcmp(name, "--input") == 0)
            given.input = value;
        else if (strcmp(name, "--output") == 0)
            given.output = value;
        else if (strcmp(name, "--profile") == 0)
            given.profile = value;
        else if (strcmp(name, "--clock") == 0)
            given.clock = value;
        else if (strcmp(name, "--shape") == 0)
            given.shape = value;
        else if (strcmp(name, "--runs") == 0)
            given.runs = atoi(value);
        else if (strcmp(name, "--opt-level") == 0)
            given.level = level_of(value);
        else if (strcmp(name, "--config") == 0 && given.configs < MAX_CONFIG && strchr(value, '='))
            given.config[given.configs++] = value;
        else
            stop(WRONG_ARGUMENTS, name, "is not understood");
    }
    if (!given.library || !given.input || !given.output || given.runs < 1)
        stop(WRONG_ARGUMENTS, "runner", "--library, --input, --output and a run are needed");
    return given;
}

static void load_library(const char *path, const char **version)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        stop(NOT_LOADED, path, dlerror());
    const OrtApiBase *(*get_base)(void) = (const OrtApiBase *(*)(void))dlsym(library, "OrtGetApiBase");
    if (!get_base)
        stop(NOT_LOADED, path, "is no library of ONNX Runtime");
    const OrtApiBase *base = get_base();
    void *const *table = base->GetApi(ORT_TABLE_VERSION);
    if (!table)
        stop(NOT_LOADED, path, "does not answer to this version of its interface");
    ORT_MEMBERS(ORT_LOOK_UP)
    *version = base->GetVersionString();
}

static Object *make_session(const struct arguments *given)
{
    Object *environment, *options, *session;
    check(CreateEnv(LOG_ERRORS, "runner", &environment), NOT_LOADED, "environment");
    check(CreateSessionOptions(&options), NOT_LOADED, "session options");
    check(SetIntraOpNumThreads(options, 1), NOT_LOADED, "threads");
    check(SetInterOpNumThreads(options, 1), NOT_LOADED, "threads");
    check(SetSessionGraphOptimizationLevel(options, given->level), NOT_LOADED, "level");
    for (int i = 0; i < given->configs; i++) {
        char *value = strchr(given->config[i], '=');
        *value++ = '\0';
        check(AddSessionConfigEntry(options, given->config[i], value), NOT_LOADED, "--config");
    }
    if (given->profile)
        check(EnableProfiling(options, given->profile), NOT_LOADED, "--profile");
    mark(MARK_SESSION);
    check(CreateSession(environment, given->model, options, &session), NOT_LOADED, given->model);
    mark(MARK_END);
    return session;
}

static size_t input_shape(Object *session, const char *text, int64_t shape[MAX_RANK])
{
    Object *type, *info;
    size_t rank, inputs, outputs;
    int element;
    check(SessionGetInputCount(session, &inputs), NOT_LOADED, "inputs");
    check(SessionGetOutputCount(session, &outputs), NOT_LOADED, "outputs");
    if (inputs != 1 || outputs != 1)
        stop(NOT_LOADED, "the model", "must have one input and one output");
    check(SessionGetInputTypeInfo(session, 0, &type), NOT_LOADED, "type of the input");
    check(CastTypeInfoToTensorInfo(type, &info), NOT_LOADED, "type of the input");
    check(GetTensorElementType(info, &element), NOT_LOADED, "type of the input");
    check(GetDimensionsCount(info, &rank), NOT_LOADED, "shape of the input");
    if (element != FLOAT32 || rank > MAX_RANK)
        stop(NOT_LOADED, "the input", "must be float32 of at most 8 dimensions");
    check(GetDimensions(info, shape, rank), NOT_LOADED, "shape of the input");
    for (size_t axis = 0; text && axis < rank; axis++) {
        shape[axis] = strtol(text, (char **)&text, 10);
        text += *text == ',';
    }
    return rank;
}

static void *read_floats(const char *path, const int64_t *shape, size_t rank, size_t *bytes)
{
    *bytes = sizeof(float);
    for (size_t axis = 0; axis < rank; axis++) {
        if (shape[axis] < 1)
            stop(NOT_LOADED, "the input", "has an open shape: say --shape");
        *bytes *= (size_t)shape[axis];
    }
    void *data = malloc(*bytes);
    FILE *file = fopen(path, "rb");
    if (!data || !file || fread(data, 1, *bytes, file) != *bytes || fgetc(file) != EOF)
        stop(NOT_LOADED, path, "does not hold exactly the input's values");
    fclose(file);
    return data;
}

static void write_floats(const char *path, Object *value)
{
    Object *info;
    size_t n;
    void *data;
    int element;
    check(GetTensorTypeAndShape(value, &info), RUN_FAILED, "output");
    check(GetTensorElementType(info, &element), RUN_FAILED, "output");
    check(GetTensorShapeElementCount(info, &n), RUN_FAILED, "output");
    check(GetTensorMutableData(value, &data), RUN_FAILED, "output");
    if (element != FLOAT32)
        stop(RUN_FAILED, "the output", "must be float32");
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, sizeof(float), n, file) != n || fclose(file) != 0)
        stop(RUN_FAILED, path, "cannot be written");
}

static void map_clock(const char *path)
{
    int file = open(path, O_RDONLY);
    void *page = file < 0 ? MAP_FAILED : mmap(NULL, CLOCK_BYTES, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED)
        stop(WRONG_ARGUMENTS, path, "cannot be mapped");
    close(file);
    instructions = page;
}

int main(int argc, char **argv)
{
    struct arguments given = parse(argc, argv);
    const char *version;
    char *input_name, *output_name, *profile;
    int64_t shape[MAX_RANK];
    size_t bytes;
    Object *allocator, *memory, *input, *output = NULL;

    load_library(given.library, &version);
    if (given.clock)
        map_clock(given.clock);
    Object *session = make_session(&given);
    size_t rank = input_shape(session, given.shape, shape);
    void *data = read_floats(given.input, shape, rank, &bytes);
    check(GetAllocatorWithDefaultOptions(&allocator), NOT_LOADED, "allocator");
    check(SessionGetInputName(session, 0, allocator, &input_name), NOT_LOADED, "input");
    check(SessionGetOutputName(session, 0, allocator, &output_name), NOT_LOADED, "output");
    check(CreateCpuMemoryInfo(PLAIN_ALLOCATOR, DEFAULT_MEMORY, &memory), NOT_LOADED, "memory");
    check(CreateTensorWithDataAsOrtValue(memory, data, bytes, shape, rank, FLOAT32, &input),
          NOT_LOADED, "input");
    const char *const inputs[] = {input_name}, *const outputs[] = {output_name};
    Object *const values[] = {input};
    for (int i = 0; i < given.runs; i++) {
        if (output)
            ReleaseValue(output);
        output = NULL;
        mark(MARK_RUN);
        check(Run(session, NULL, inputs, values, 1, outputs, 1, &output), RUN_FAILED, "run");
        mark(MARK_END);
    }
    write_floats(given.output, output);
    if (given.profile)
        check(SessionEndProfiling(session, allocator, &profile), RUN_FAILED, "profile");
    ReleaseSession(session); /* the profile's file is empty until then */
    printf("onnxruntime %s\n", version);
    return 0;
}
