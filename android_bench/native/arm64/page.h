/* What the guest (the runner) and the counter (a plugin of its emulator) say to each other.
 *
 * Both have mapped one page. The guest asks by a system call that Linux has on no processor; its
 * only argument is a slot, and the counter writes its totals since the start there.
 */
#ifndef PAGE_H
#define PAGE_H

#define COUNTER_CALL 7777

/* What is counted; the order of the numbers of a slot. */
enum Kind { INSTRUCTIONS, SIMD, LOADS, STORES, MOVED_BYTES, DOT, MMLA, FMLA, BRANCHES, KINDS };
/* When it is asked for: before and after what is counted, so that nothing needs to be copied
 * between; and by whoever reads the clock. */
enum Slot { AT_START, AT_END, AT_CLOCK, SLOTS };

enum { SLOT_NUMBERS = 16, COUNTER_PAGE_BYTES = 4096 }; /* uint64 each */

/* Ask for the totals. Nothing happens on another processor or without the counter. */
static inline void ask_counter(enum Slot slot)
{
#ifdef __aarch64__
    register long number __asm__("x8") = COUNTER_CALL;
    register long argument __asm__("x0") = slot;
    __asm__ volatile("svc #0" : "+r"(argument) : "r"(number) : "memory", "cc");
#else
    (void)slot;
#endif
}

#endif
