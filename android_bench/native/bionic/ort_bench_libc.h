/* What the runner needs of bionic, Android's C library, declared by hand.
 *
 * For a build without an NDK. Only functions whose arguments are integers, pointers and plain
 * structs of longs, so that there is little to get wrong; tests/android_bench/test_bionic.py
 * compares sizes, offsets and values with the headers of an NDK or of the system. 64-bit ABIs
 * only: there, `long`, off_t, time_t and pthread_t all have 64 bits.
 * Source: https://android.googlesource.com/platform/bionic, libc/include.
 */
#ifndef ORT_BENCH_LIBC_H
#define ORT_BENCH_LIBC_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef __LP64__
#error "declared for 64-bit ABIs only"
#endif

typedef long ssize_t, time_t, off_t, pthread_t;

struct timespec {
    time_t tv_sec;
    long tv_nsec;
};

struct timeval {
    time_t tv_sec;
    long tv_usec;
};

struct rusage {
    struct timeval ru_utime, ru_stime;
    long ru_maxrss; /* KiB */
    long ru_rest[13];
};

typedef struct {
    unsigned long bits[16];
} cpu_set_t;

typedef struct {
    int32_t private[10];
} pthread_mutex_t;

enum { EINTR = 4 };
enum { STDOUT_FILENO = 1, STDERR_FILENO = 2 };
enum { O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2 };
enum { O_CREAT = 0100, O_TRUNC = 01000, O_CLOEXEC = 02000000 };
enum { SEEK_SET = 0, SEEK_END = 2 };
enum { PROT_READ = 1, PROT_WRITE = 2, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_ANONYMOUS = 0x20 };
enum { CLOCK_MONOTONIC = 1, RUSAGE_SELF = 0 };
enum { RTLD_NOW = 2, RTLD_LOCAL = 0 };

typedef struct pthread_attr pthread_attr_t; /* only ever NULL */

#define MAP_FAILED ((void *)-1)
#define RTLD_DEFAULT ((void *)0)
#define PTHREAD_MUTEX_INITIALIZER {{0}}
#define errno (*__errno())

int *__errno(void);
void _exit(int) __attribute__((noreturn));
long atol(const char *);
int clock_gettime(int clock, struct timespec *);
int close(int);
char *dlerror(void);
void *dlopen(const char *, int);
void *dlsym(void *, const char *);
int getpid(void);
int getrusage(int who, struct rusage *);
off_t lseek(int, off_t, int);
void *memchr(const void *, int, size_t);
void *memcpy(void *, const void *, size_t);
void *memmove(void *, const void *, size_t);
void *memset(void *, int, size_t);
void *mmap(void *, size_t, int protection, int flags, int file, off_t);
int nanosleep(const struct timespec *, struct timespec *);
int open(const char *, int flags, ...);
int pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int pthread_join(pthread_t, void **);
int pthread_mutex_lock(pthread_mutex_t *);
int pthread_mutex_unlock(pthread_mutex_t *);
ssize_t read(int, void *, size_t);
int rename(const char *, const char *);
int sched_getaffinity(int pid, size_t, cpu_set_t *);
int sched_setaffinity(int pid, size_t, const cpu_set_t *);
int setenv(const char *, const char *, int overwrite);
int snprintf(char *, size_t, const char *, ...) __attribute__((format(printf, 3, 4)));
char *strchr(const char *, int);
int strcmp(const char *, const char *);
char *strerror(int);
size_t strlen(const char *);
int strncmp(const char *, const char *, size_t);
char *strstr(const char *, const char *);
double strtod(const char *, char **);
long strtol(const char *, char **, int base);
long long strtoll(const char *, char **, int base);
int vsnprintf(char *, size_t, const char *, va_list) __attribute__((format(printf, 3, 0)));
ssize_t write(int, const void *, size_t);

#endif
