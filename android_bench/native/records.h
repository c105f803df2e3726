/* Clock, files and records: JSON objects, one a line, on standard output.
 *
 * Part of ort_bench.c, which includes it. Bytes go out by write(2); nothing allocates.
 */
#ifndef RECORDS_H
#define RECORDS_H

#include <ort_bench_libc.h>

enum { EXIT_DONE = 0, EXIT_USAGE = 2, EXIT_LOAD = 3, EXIT_RUN = 4, EXIT_PROVIDER = 5 };
enum { OUT_BYTES = 1 << 16, LINE_BYTES = 8192, MESSAGE_BYTES = 4096 };

#define UNKNOWN (-1) /* a size that the kernel does not tell; printed as null */

enum { MAX_PAIRS = 64 };

/* KEY=VALUE options in the order they came; the text of argv, cut at the equals sign. */
struct Pairs {
    const char *keys[MAX_PAIRS], *values[MAX_PAIRS];
    size_t n;
};

/* Lines of a file, read without the heap. */
struct Lines {
    int file;
    size_t at, end;
    char text[LINE_BYTES + 1];
};

/* Nanoseconds of the clock that every record uses. */
static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Write all of it; false where the file refuses. */
static bool write_all(int file, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t done = write(file, bytes, n);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

/* Read until the buffer is full or the file ends; how many bytes, or -1. */
static int64_t read_all(int file, char *bytes, size_t n)
{
    size_t have = 0;
    while (have < n) {
        ssize_t done = read(file, bytes + have, n - have);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return -1;
        if (done == 0) break;
        have += (size_t)done;
    }
    return (int64_t)have;
}

/* The next line without its newline, or NULL; a line that is too long comes in pieces. */
static char *next_line(struct Lines *lines)
{
    char *start = lines->text + lines->at;
    char *newline = memchr(start, '\n', lines->end - lines->at);
    if (newline == NULL) {
        size_t kept = lines->end - lines->at;
        memmove(lines->text, start, kept);
        int64_t more = read_all(lines->file, lines->text + kept, LINE_BYTES - kept);
        lines->at = 0;
        lines->end = kept + (more > 0 ? (size_t)more : 0);
        if (lines->end == 0) return NULL;
        start = lines->text;
        newline = memchr(start, '\n', lines->end);
    }
    if (newline == NULL) newline = lines->text + lines->end;
    lines->at = (size_t)(newline - lines->text) + (newline < lines->text + lines->end);
    *newline = '\0';
    return start;
}

/* Memory that is there and touched, outside the heap, so that no reading counts it as the
 * runtime's; NULL where there is none. */
static void *map_bytes(size_t bytes)
{
    void *found = mmap(NULL, bytes + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) return NULL;
    memset(found, 0, bytes + 1);
    return found;
}

static char out[OUT_BYTES];
static size_t out_n;
static bool out_first; /* no key since the brace */
/* Held from one end of a record to the other; not while anything is called that may fail(). */
static pthread_mutex_t out_taken = PTHREAD_MUTEX_INITIALIZER;

/* Give what is in the buffer to standard output. */
static void flush_out(void)
{
    if (!write_all(STDOUT_FILENO, out, out_n)) _exit(EXIT_RUN); /* nobody reads any more */
    out_n = 0;
}

/* Append bytes as they are. */
static void put_bytes(const char *bytes, size_t n)
{
    if (out_n + n > OUT_BYTES) flush_out();
    memcpy(out + out_n, bytes, n);
    out_n += n;
}

/* Append text as printf does; short texts only. */
__attribute__((format(printf, 1, 2))) static void put(const char *format, ...)
{
    char text[128];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    put_bytes(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

/* How many bytes the UTF-8 sequence has that begins here, and its code; 1 and U+FFFD if none. */
static size_t decode_utf8(const char *text, uint32_t *code)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t n = at[0] < 0x80 ? 1 : at[0] < 0xC2 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : 4;
    *code = n == 1 ? at[0] : at[0] & (0x7Fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((at[i] & 0xC0) != 0x80) n = 0;
        else *code = *code << 6 | (at[i] & 0x3Fu);
    }
    bool fits = n != 0 && *code <= 0x10FFFF && !(*code >= 0xD800 && *code <= 0xDFFF) &&
                (n < 3 || *code >= (n == 3 ? 0x800u : 0x10000u));
    if (!fits) *code = 0xFFFD;
    return fits ? n : 1;
}

/* Append text as a JSON string in ASCII; NULL is null. */
static void put_text(const char *text)
{
    if (text == NULL) {
        put("null");
        return;
    }
    put("\"");
    while (*text != '\0') {
        uint32_t code;
        text += decode_utf8(text, &code);
        if (code == '"' || code == '\\') put("\\%c", (int)code);
        else if (code >= 0x20 && code < 0x7F) put_bytes((char[]){(char)code}, 1);
        else if (code < 0x10000) put("\\u%04x", code);
        else put("\\u%04x\\u%04x", 0xD7C0 + (code >> 10), 0xDC00 + (code & 0x3FF));
    }
    put("\"");
}

/* Append a key; what follows is its value. */
static void put_key(const char *key)
{
    put(out_first ? "\"%s\":" : ",\"%s\":", key);
    out_first = false;
}

static void put_field(const char *key, const char *text)
{
    put_key(key);
    put_text(text);
}

static void put_number(const char *key, int64_t number)
{
    put_key(key);
    put("%lld", (long long)number);
}

/* A number, or null where it is UNKNOWN. */
static void put_size(const char *key, int64_t bytes)
{
    put_key(key);
    if (bytes == UNKNOWN) put("null");
    else put("%lld", (long long)bytes);
}

static void put_pairs(const char *key, const struct Pairs *pairs)
{
    put_key(key);
    put("{");
    for (size_t i = 0; i < pairs->n; i++) {
        if (i > 0) put(",");
        put_text(pairs->keys[i]);
        put(":");
        put_text(pairs->values[i]);
    }
    put("}");
}

/* Begin a record; another thread's records wait until it ends. */
static void begin_record(const char *name)
{
    pthread_mutex_lock(&out_taken);
    put("{");
    out_first = true;
    put_field("record", name);
}

/* End a record; it goes out with the next one that is flushed. */
static void end_record_unflushed(void)
{
    put("}\n");
    pthread_mutex_unlock(&out_taken);
}

/* End a record and give it to standard output at once, so that a crash leaves it there. */
static void end_record(void)
{
    put("}\n");
    flush_out();
    pthread_mutex_unlock(&out_taken);
}

/* Print text on standard error. */
__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    char text[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if ((size_t)n >= sizeof text) {
        n = (int)sizeof text - 1;
        text[n - 1] = '\n';
    }
    write_all(STDERR_FILENO, text, (size_t)n);
}

/* End with an `error` record of that stage, which is an exit code. Frees nothing: a runtime that
 * has failed is not to be trusted with its own end. */
__attribute__((format(printf, 2, 3), noreturn)) static void fail(int stage, const char *format, ...)
{
    char text[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    say("error: %s\n", text);
    begin_record("error");
    put_field("stage", stage == EXIT_LOAD ? "load" : stage == EXIT_RUN ? "run" : "provider");
    put_field("message", text);
    put("}\n");
    flush_out();
    _exit(stage); /* with the turn of the record, so that no other thread prints after it */
}

#endif
