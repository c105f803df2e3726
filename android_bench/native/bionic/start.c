/* Where the program begins, in place of the NDK's crtbegin_dynamic.o: hands the raw stack pointer
 * to bionic, which finds argc, argv and the environment there and calls main.
 *
 * The dynamic linker runs constructors; the runner has no destructors. So the arrays of both that
 * bionic is given are empty, in its older layout of three pointers and its newer one of six words.
 * Source: https://android.googlesource.com/platform/bionic, libc/arch-common/bionic/crtbegin.c and
 * libc/bionic/libc_init_dynamic.cpp.
 */
int main(int argc, char **argv);

__attribute__((noreturn)) void __libc_init(void *stack, void (*at_exit)(void),
                                           int (*entry)(int, char **), void *const *structors);

static void *const NO_STRUCTORS[6];

__attribute__((used, noreturn)) static void start_with(void *stack)
{
    __libc_init(stack, 0, main, NO_STRUCTORS);
}

#if defined __aarch64__
__asm__(".globl _start\n"
        ".type _start, %function\n"
        "_start:\n"
        "    mov x29, #0\n"
        "    mov x30, #0\n"
        "    mov x0, sp\n"
        "    b start_with\n");
#elif defined __x86_64__
__asm__(".globl _start\n"
        ".type _start, @function\n"
        "_start:\n"
        "    xorl %ebp, %ebp\n"
        "    movq %rsp, %rdi\n"
        "    andq $-16, %rsp\n"
        "    call start_with\n");
#else
#error "no start for this processor"
#endif
