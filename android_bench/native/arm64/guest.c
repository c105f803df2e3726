/* What the runner has besides where it is built for the emulator: functions that take the place of
 * libc's for every library that is loaded. The program exports them (-rdynamic), so they come first.
 *
 * Part of the program beside ort_bench.c; for Linux on aarch64 alone.
 */
#include <errno.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "page.h"

#define INSTRUCTIONS_A_SECOND 1000000 /* a microsecond, the profile's unit, is an instruction */

static const volatile uint64_t *totals; /* those of AT_CLOCK; NULL while the clock is the real one */

/* Let the clock count instructions from here on. Looked up by name: other builds have none. */
void count_on_clock(const volatile uint64_t *of_clock) { totals = of_clock; }

int clock_gettime(clockid_t which, struct timespec *now)
{
    if (totals == NULL)
        return (int)syscall(SYS_clock_gettime, which, now);
    ask_counter(AT_CLOCK);
    uint64_t n = totals[INSTRUCTIONS];
    now->tv_sec = (time_t)(n / INSTRUCTIONS_A_SECOND);
    now->tv_nsec = (long)(n % INSTRUCTIONS_A_SECOND) * 1000;
    return 0;
}

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
