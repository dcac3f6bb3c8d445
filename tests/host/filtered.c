// Puts a filter on itself, with no_new_privs, then makes one system call and prints how it ended, or
// becomes another program:
//     filtered FILTER native|compat NUMBER [ARGUMENT…]
//     filtered FILTER exec PROGRAM [ARGUMENT…]
// compat enters the kernel as 32-bit programs do, by int $0x80 (x86-64 only).
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static int install(const char *path) {
    static struct sock_filter code[BPF_MAXINSNS];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(file, code, sizeof code);
    struct sock_fprog program = {.len = (unsigned short)(size / (ssize_t)sizeof *code), .filter = code};
    return size <= 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

int main(int argc, char **argv) {
    unsigned long a[6] = {0};
    if (argc < 4 || install(argv[1])) {
        perror("filtered");
        return 125;
    }
    if (!strcmp(argv[2], "exec")) {
        execvp(argv[3], argv + 3);
        perror(argv[3]);
        return 126;
    }
    for (int i = 4; i < argc && i < 10; i++)
        a[i - 4] = strtoul(argv[i], NULL, 0);
    unsigned long number = strtoul(argv[3], NULL, 0);
    long result;
    if (!strcmp(argv[2], "compat")) {
        result = compat((unsigned)number, a);
    } else {
        result = syscall((long)number, a[0], a[1], a[2], a[3], a[4], a[5]);
        result = result == -1 ? -errno : result;
    }
    printf("%ld\n", result);
    return 0;
}
