// The kernel's interfaces that musl's headers lack, under the kernel's own names, and calls without a wrapper.
#ifndef VOLT_KERNEL_H
#define VOLT_KERNEL_H

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

// linux/fcntl.h, linux/mount.h, linux/openat2.h, linux/sched.h
#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#endif
#ifndef MOVE_MOUNT_F_EMPTY_PATH
#define MOVE_MOUNT_F_EMPTY_PATH 0x4
#endif
#ifndef MOVE_MOUNT_T_EMPTY_PATH
#define MOVE_MOUNT_T_EMPTY_PATH 0x40
#endif
#ifndef FSOPEN_CLOEXEC
#define FSOPEN_CLOEXEC 1
#endif
#ifndef FSMOUNT_CLOEXEC
#define FSMOUNT_CLOEXEC 1
#endif
#ifndef FSCONFIG_SET_FLAG
#define FSCONFIG_SET_FLAG 0
#define FSCONFIG_SET_STRING 1
#define FSCONFIG_CMD_CREATE 6
#endif
#ifndef MOUNT_ATTR_SIZE_VER0
#define MOUNT_ATTR_SIZE_VER0 32
struct mount_attr {
    uint64_t attr_set;
    uint64_t attr_clr;
    uint64_t propagation;
    uint64_t userns_fd;
};
#endif
#ifndef MOUNT_ATTR_RDONLY
#define MOUNT_ATTR_RDONLY 0x1
#define MOUNT_ATTR_NOSUID 0x2
#define MOUNT_ATTR_NODEV 0x4
#define MOUNT_ATTR_NOEXEC 0x8
#endif
#ifndef MOUNT_ATTR_IDMAP
#define MOUNT_ATTR_IDMAP 0x00100000
#endif
#ifndef RESOLVE_IN_ROOT
#define RESOLVE_NO_MAGICLINKS 0x02
#define RESOLVE_NO_SYMLINKS 0x04
#define RESOLVE_IN_ROOT 0x10
struct open_how {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};
#endif
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif
#ifndef CLONE_NEWUSER
#define CLONE_NEWUSER 0x10000000
#endif
#ifndef CLONE_NEWPID
#define CLONE_NEWPID 0x20000000
#endif
#ifndef CLONE_NEWNS
#define CLONE_NEWNS 0x00020000
#endif
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#ifndef CLONE_ARGS_SIZE_VER2
#define CLONE_ARGS_SIZE_VER2 88
struct clone_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
    uint64_t set_tid, set_tid_size, cgroup;
};
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4u
#endif
#ifndef TIOCGPTPEER
#define TIOCGPTPEER 0x5441
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u
#endif

// linux/capability.h
#define CAPABILITY_VERSION 0x20080522u // _LINUX_CAPABILITY_VERSION_3
struct capability_sets {
    uint32_t effective, permitted, inheritable;
};
struct capability_header {
    uint32_t version;
    int pid;
};

// linux/seccomp.h, linux/filter.h
#ifndef SECCOMP_SET_MODE_FILTER
#define SECCOMP_SET_MODE_FILTER 1u
#endif
struct filter_program {
    unsigned short length;
    const void *instructions;
};
struct instruction {
    uint16_t code;
    uint8_t equal, other; // what is jumped over
    uint32_t value;
};
#define LOAD_WORD 0x20u  // BPF_LD | BPF_W | BPF_ABS: of struct seccomp_data
#define JUMP_EQUAL 0x15u // BPF_JMP | BPF_JEQ | BPF_K
#define RETURN 0x06u     // BPF_RET | BPF_K
#define PERMIT 0x7fff0000u       // SECCOMP_RET_ALLOW
#define KILL_PROCESS 0x80000000u // SECCOMP_RET_KILL_PROCESS
#ifdef __x86_64__
#define OWN_ARCHITECTURE 0xc000003eu // AUDIT_ARCH_X86_64
#else
#define OWN_ARCHITECTURE 0xc00000b7u // AUDIT_ARCH_AARCH64
#endif
#define FILTER_INSTRUCTION 8u // bytes of a struct sock_filter
#define FILTER_LONGEST 4096u  // BPF_MAXINSNS

// linux/landlock.h, which may be older than the kernel that is running
struct landlock_ruleset {
    uint64_t files, ports, scopes;
};
struct landlock_beneath {
    uint64_t access;
    int32_t parent;
} __attribute__((packed));
struct landlock_port {
    uint64_t access, port;
};
#define LANDLOCK_BENEATH 1u // LANDLOCK_RULE_PATH_BENEATH
#define LANDLOCK_PORT 2u    // LANDLOCK_RULE_NET_PORT

// linux/loop.h
struct loop_info {
    uint64_t device, inode, other_device, offset, size_limit;
    uint32_t number, encryption, key_size, flags;
    uint8_t names[128], key[32];
    uint64_t init[2];
};
struct loop_config {
    uint32_t file, block_size;
    struct loop_info info;
    uint64_t reserved[8];
};
#define LOOP_CONFIGURE 0x4c0a
#define LOOP_GET_FREE 0x4c82 // LOOP_CTL_GET_FREE
#define LOOP_READ_ONLY 1u    // LO_FLAGS_READ_ONLY
#define LOOP_AUTOCLEAR 4u    // LO_FLAGS_AUTOCLEAR

// linux/netlink.h
struct netlink_address {
    uint16_t family, pad;
    uint32_t port, groups;
};
struct netlink_header {
    uint32_t length;
    uint16_t type, flags;
    uint32_t number, port;
};
struct netlink_answer {
    struct netlink_header header;
    int32_t error;
    struct netlink_header about;
};
#define ROUTE 0            // NETLINK_ROUTE
#define NETFILTER 12       // NETLINK_NETFILTER
#define NETLINK_ERROR 2    // NLMSG_ERROR: an answer, also where the error is 0
#define NETLINK_DONE 3     // NLMSG_DONE: the end of a list
#define NETLINK_REQUEST 1u // NLM_F_REQUEST
#define NETLINK_ACK 0x4    // NLM_F_ACK

// signal(7): up to 64. sigfillset(3) leaves out what the C library keeps for itself, of which musl has 34 too: SIGRTMIN
// to everybody else.
#define FIRST_REAL_TIME 32u
static inline sigset_t every_signal(void) {
    sigset_t all;
    memset(&all, 0xff, sizeof all);
    return all;
}

static inline int k_open_tree(int folder, const char *path, unsigned flags) {
    return (int)syscall(SYS_open_tree, folder, path, flags);
}

static inline int k_move_mount(int mount, int folder, const char *path, unsigned flags) {
    return (int)syscall(SYS_move_mount, mount, "", folder, path, MOVE_MOUNT_F_EMPTY_PATH | flags);
}

static inline int k_mount_setattr(int mount, unsigned flags, const struct mount_attr *attr) {
    return (int)syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | flags, attr, sizeof *attr);
}

static inline int k_openat2(int folder, const char *path, uint64_t flags, uint64_t resolve) {
    struct open_how how = {.flags = flags, .resolve = resolve};
    return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
}

static inline int k_close_range(unsigned first, unsigned last, unsigned flags) {
    return (int)syscall(SYS_close_range, first, last, flags);
}

static inline int k_pidfd_open(pid_t process) { return (int)syscall(SYS_pidfd_open, process, 0u); }

static inline int k_pidfd_send_signal(int pidfd, int number) {
    return (int)syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0u);
}

#endif
