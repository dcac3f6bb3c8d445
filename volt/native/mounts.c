// Steps that clone, map, make and attach mounts, all of them through descriptors.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"
#include "table.h"

#define WAITING_STACK (16u << 10) // bytes
#define LOOP_TRIES 64             // launches that take a free device at the same moment

static int write_map(pid_t pid, const char *name, const char *map) {
    char path[64];
    format_into(path, sizeof path, "/proc/%d/%s", pid, name);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) return -1;
    // One write(2): the kernel takes a map whole.
    int result = write(file, map, strlen(map)) == (ssize_t)strlen(map) ? 0 : -1;
    close_held(&file);
    return result;
}

static int open_namespace(pid_t pid, const struct step_make_idmap *step) {
    char path[64];
    format_into(path, sizeof path, "/proc/%d/ns/user", pid);
    if (write_map(pid, "uid_map", step->uids) < 0 || write_map(pid, "gid_map", step->gids) < 0) return -1;
    return open(path, O_RDONLY | O_CLOEXEC);
}

// The child that makes a user namespace waits for our end of a pipe to close. It writes to its own stack alone, for
// it shares our memory: a copy would cost more than all else here.
static int wait_at_gate(void *ends) {
    const int *gate = ends;
    char byte;
    close(gate[1]);
    return read(gate[0], &byte, 1) == 0 ? 0 : 1;
}

// The namespace lives on in its descriptor.
int do_make_idmap(struct context *context, const struct step_make_idmap *step) {
    int gate[2];
    char *stack = keep(WAITING_STACK);
    if (pipe2(gate, O_CLOEXEC) < 0) return -1;
    pid_t pid = clone(wait_at_gate, stack + WAITING_STACK, CLONE_VM | CLONE_NEWUSER | SIGCHLD, gate);
    int error = errno, namespace = pid < 0 ? -1 : open_namespace(pid, step);
    if (pid >= 0) error = errno;
    close(gate[0]);
    close(gate[1]);
    if (pid > 0)
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
    errno = error;
    if (namespace < 0) return explain(context, "id map");
    return publish(context, step->to, namespace);
}

// Private, so that nothing mounted below it on one side appears on the other.
static int clone_mount(int folder, const char *path, bool recursive) {
    unsigned below = recursive ? AT_RECURSIVE : 0, empty = path[0] ? 0 : AT_EMPTY_PATH;
    struct mount_attr private = {.propagation = MS_PRIVATE};
    int mount = k_open_tree(folder, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | empty | below);
    if (mount >= 0 && k_mount_setattr(mount, below, &private) < 0) close_held(&mount);
    return mount;
}

int do_clone_mount(struct context *context, const struct step_clone_mount *step) {
    return publish(context, step->to, clone_mount(step->source, "", step->recursive));
}

int do_set_mount(struct context *context, const struct step_set_mount *step) {
    (void)context;
    struct mount_attr attr = {.attr_set = step->attrs};
    if (step->idmap >= 0) {
        attr.attr_set |= MOUNT_ATTR_IDMAP;
        attr.userns_fd = (uint64_t)step->idmap;
    }
    return k_mount_setattr(step->mount, step->recursive ? AT_RECURSIVE : 0, &attr);
}

// What the file system itself says about the failure, in the last message of its log.
static void explain_by_log(struct context *context, int filesystem, const char *type) {
    int error = errno;
    char line[512];
    ssize_t got, last = 0;
    char kept[sizeof line] = "";
    while ((got = read(filesystem, line, sizeof line - 1)) > 0) {
        line[got] = '\0';
        last = got;
        format_into(kept, sizeof kept, "%s", got > 2 ? line + 2 : line); // "e " for an error, "w " a warning
    }
    errno = error;
    explain(context, last ? "%s: %s" : "%s%s", type, kept);
}

static int configure(int filesystem, char *option) {
    char *equals = strchr(option, '=');
    if (!equals) return (int)syscall(SYS_fsconfig, filesystem, FSCONFIG_SET_FLAG, option, NULL, 0);
    *equals = '\0';
    return (int)syscall(SYS_fsconfig, filesystem, FSCONFIG_SET_STRING, option, equals + 1, 0);
}

// A detached mount of a new file system; -1 with the failure explained.
int make_filesystem(struct context *context, const char *type, char *const *options, uint64_t attrs) {
    int filesystem = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC), result = 0, mount = -1;
    if (filesystem < 0) return explain(context, "%s", type);
    for (; result == 0 && *options; options++) result = configure(filesystem, *options);
    if (result == 0) result = (int)syscall(SYS_fsconfig, filesystem, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    if (result == 0) mount = (int)syscall(SYS_fsmount, filesystem, FSMOUNT_CLOEXEC, (unsigned)attrs);
    if (mount < 0) explain_by_log(context, filesystem, type);
    close_held(&filesystem);
    return mount;
}

int do_make_filesystem(struct context *context, const struct step_make_filesystem *step) {
    return publish(context, step->to, make_filesystem(context, step->type, step->options.items, step->attrs));
}

static int configured(int loop, int file) {
    struct loop_config config = {.file = (uint32_t)file, .info.flags = LOOP_READ_ONLY | LOOP_AUTOCLEAR};
    return ioctl(loop, LOOP_CONFIGURE, &config);
}

// A loop device with the file behind it, and its path. Another may have taken the one that was free: loop(4).
static int open_loop(int file, char *path, size_t size) {
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), loop = -1;
    if (control < 0) return -1;
    for (int tries = 0; loop < 0 && tries < LOOP_TRIES; tries++) {
        int number = ioctl(control, LOOP_GET_FREE);
        if (number < 0) break;
        format_into(path, size, "/dev/loop%d", number);
        loop = open(path, O_RDONLY | O_CLOEXEC);
        if (loop < 0) break;
        if (configured(loop, file) == 0) continue;
        close_held(&loop);
        if (errno != EBUSY) break;
    }
    close_held(&control);
    return loop;
}

// The mount holds the device from then on, and closing its last user takes the file from it again.
int do_mount_loop(struct context *context, const struct step_mount_loop *step) {
    static const char prefix[] = "source=";
    char source[64] = "source=";
    size_t before = sizeof prefix - 1;
    int file = open(step->file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0) return explain(context, "%s", step->file);
    int loop = open_loop(file, source + before, sizeof source - before), mount = -1;
    char *const options[] = {source, "ro", NULL}; // or the device would be opened for writing
    if (loop < 0) explain(context, "%s through a loop device", step->file);
    else mount = make_filesystem(context, step->type, options, step->attrs);
    close_held(&loop);
    close_held(&file);
    return publish(context, step->to, mount);
}

int do_attach(struct context *context, const struct step_attach *step) {
    return k_move_mount(step->mount, AT_FDCWD, step->path, 0) < 0 ? explain(context, "%s", step->path) : 0;
}

struct locked {
    const char *path;
    int descriptor;
};

// A mount namespace of another user namespace has what it was copied from as it was: mount_namespaces(7), "Restrictions
// on mount namespaces", which a copy of a mount in there takes along.
static int copy_locked(void *about) {
    struct locked *locked = about;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) return errno;
    locked->descriptor = k_open_tree(AT_FDCWD, locked->path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    return locked->descriptor < 0 ? errno : 0;
}

int do_lock_mount(struct context *context, const struct step_lock_mount *step) {
    struct locked locked = {.path = step->path, .descriptor = -1};
    if (k_move_mount(step->mount, AT_FDCWD, step->path, 0) < 0 || act_apart(copy_locked, &locked, CLONE_FILES) < 0 ||
        umount2(step->path, MNT_DETACH) < 0)
        return explain(context, "%s", step->path);
    return publish(context, step->to, locked.descriptor);
}

int do_share_mount(struct context *context, const struct step_share_mount *step) {
    return mount(NULL, step->path, NULL, MS_SHARED, NULL) < 0 ? explain(context, "%s", step->path) : 0;
}

int do_private_mounts(struct context *context, const struct step_private_mounts *step) {
    (void)context, (void)step;
    return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
}
