// The calls that inject.c logs: those that change something outside the process, or what its payload may do.
#include <fcntl.h>
#include <sys/syscall.h>

#define CREATES (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))
#define CLONES 1 // OPEN_TREE_CLONE

// What the log says of a call: the text that argument `about` points to, the file behind the descriptor, the number,
// the number that it points to, nothing.
enum kind { TEXT, FILE_OF, NUMBER, POINTED, NOTHING };

static const struct call {
    const char *name;
    long number;
    enum kind kind;
    unsigned about, tested; // the arguments; of `tested` some bit of `mask` has to be set, where there is a mask
    unsigned mask;
} calls[] = {
#define SOME(name, kind, about, tested, mask) {#name, SYS_##name, kind, about, tested, mask}
#define CALL(name, kind, about) SOME(name, kind, about, 0, 0)
    CALL(mkdir, TEXT, 0), CALL(mknod, TEXT, 0), CALL(link, TEXT, 1), CALL(symlink, TEXT, 1), CALL(unlink, TEXT, 0),
    CALL(rmdir, TEXT, 0), CALL(rename, TEXT, 1), CALL(renameat, TEXT, 3), CALL(creat, TEXT, 0), CALL(chmod, TEXT, 0),
    CALL(chown, TEXT, 0), CALL(lchown, TEXT, 0), CALL(fork, NOTHING, 0), CALL(vfork, NOTHING, 0),
    CALL(pipe, NOTHING, 0), SOME(open, TEXT, 0, 1, CREATES), CALL(setuid, NUMBER, 0), CALL(setgid, NUMBER, 0),
    CALL(mkdirat, TEXT, 1), CALL(mknodat, TEXT, 1), CALL(linkat, TEXT, 3), CALL(symlinkat, TEXT, 2),
    CALL(unlinkat, TEXT, 1), CALL(renameat2, TEXT, 3), SOME(openat, TEXT, 1, 2, CREATES), CALL(openat2, TEXT, 1),
    CALL(fchmod, FILE_OF, 0), CALL(fchmodat, TEXT, 1), CALL(fchown, FILE_OF, 0), CALL(fchownat, TEXT, 1),
    CALL(truncate, TEXT, 0), CALL(ftruncate, FILE_OF, 0), CALL(setxattr, TEXT, 0), CALL(fsetxattr, FILE_OF, 0),
    CALL(write, FILE_OF, 0), CALL(pwrite64, FILE_OF, 0), CALL(writev, FILE_OF, 0), CALL(mount, TEXT, 1),
    CALL(umount2, TEXT, 0), CALL(move_mount, TEXT, 3), CALL(fsmount, NOTHING, 0), CALL(mount_setattr, TEXT, 1),
    SOME(open_tree, TEXT, 1, 2, CLONES), CALL(pivot_root, TEXT, 0), CALL(clone, NUMBER, 0), CALL(clone3, POINTED, 0),
    CALL(unshare, NUMBER, 0), CALL(setns, NUMBER, 1), CALL(execve, TEXT, 0), CALL(execveat, TEXT, 1),
    CALL(kill, NUMBER, 1), CALL(tkill, NUMBER, 1), CALL(tgkill, NUMBER, 2), CALL(pidfd_send_signal, NUMBER, 1),
    CALL(sethostname, NOTHING, 0), CALL(setdomainname, NOTHING, 0), CALL(bind, FILE_OF, 0), CALL(connect, FILE_OF, 0),
    CALL(sendto, FILE_OF, 0), CALL(sendmsg, FILE_OF, 0), CALL(capset, NOTHING, 0),
    CALL(landlock_create_ruleset, NOTHING, 0), CALL(landlock_add_rule, NOTHING, 0),
    CALL(landlock_restrict_self, NOTHING, 0),
    CALL(prctl, NUMBER, 0), CALL(seccomp, NUMBER, 0), CALL(setgroups, NUMBER, 0), CALL(setresuid, NUMBER, 0),
    CALL(setresgid, NUMBER, 0), SOME(prlimit64, NUMBER, 1, 2, ~0u), // with new limits
    // These change nothing outside, but where they fail something has to be undone as well.
    CALL(memfd_create, TEXT, 0), CALL(socketpair, NOTHING, 0), CALL(pipe2, NOTHING, 0), CALL(fsopen, TEXT, 0),
    CALL(fsconfig, TEXT, 2),
};
