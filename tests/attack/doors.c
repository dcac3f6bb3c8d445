// One system call through one of the kernel's doors, and what comes of it, an error as its negative number:
//     doors native|compat|x32 NUMBER [ARGUMENT…]
// compat enters the kernel as 32-bit programs do, by int $0x80; x32 sets bit 30 of the number (both x86-64 only).
// Instead of a number, `again DOOR NUMBER…` does the same in a program that this one becomes.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define X32 0x40000000

static long compat(unsigned number, const unsigned long *a) {
    long result = -ENOSYS;
#ifdef __x86_64__
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
                     : "memory", "r8", "r9", "r10", "r11");
    result = (int)result;
#else
    (void)number, (void)a;
#endif
    return result;
}

int main(int argc, char **argv) {
    unsigned long a[6] = {0};
    if (argc > 3 && !strcmp(argv[1], "again")) {
        execv("/proc/self/exe", argv + 1);
        return 126;
    }
    if (argc < 3) return 125;
    for (int i = 3; i < argc && i < 9; i++) a[i - 3] = strtoul(argv[i], NULL, 0);
    long number = strtol(argv[2], NULL, 0), result;
    if (!strcmp(argv[1], "compat")) {
        result = compat((unsigned)number, a);
    } else {
        if (!strcmp(argv[1], "x32")) number |= X32;
        result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        if (result == -1) result = -errno;
    }
    printf("%ld\n", result);
    return 0;
}
