// Steps that make memory files, sealed ones above all: what they hold can no longer be changed by anyone.
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"
#include "table.h"

#define ENV_FILE_LIMIT (1 << 20) // bytes, as of every input file
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

// memfd_create(2); kernels before 6.3 know neither MFD_EXEC nor MFD_NOEXEC_SEAL.
static int memory_file(const char *name, unsigned kind) {
    int file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | kind);
    if (file < 0 && errno == EINVAL) file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return file;
}

static int seal_it(int file, int result) {
    if (result == 0) result = fcntl(file, F_ADD_SEALS, SEALS);
    if (result < 0) close_held(&file);
    return file;
}

int sealed_copy(const char *name, const void *data, size_t length, unsigned flags) {
    int file = memory_file(name, flags ? flags : MFD_NOEXEC_SEAL);
    if (file < 0) return -1;
    return seal_it(file, write_all(file, data, length));
}

int do_seal(struct context *context, const struct step_seal *step) {
    return publish(context, step->to, sealed_copy("volt-data", step->content.start, step->content.length, 0));
}

// The inner program, and behind it the slots: the init knows them from here alone.
int do_seal_inside(struct context *context, const struct step_seal_inside *step) {
    struct bytes inner = context->program.inner;
    int file = memory_file("volt-inside", MFD_NOEXEC_SEAL);
    if (file < 0) return -1;
    int result = write_all(file, inner.start, inner.length);
    if (result == 0) result = write_all(file, &context->slots, sizeof context->slots);
    return publish(context, step->to, seal_it(file, result));
}

static int copy_file(int from, int to, off_t length) {
    while (length > 0) {
        ssize_t copied = sendfile(to, from, NULL, (size_t)length);
        if (copied <= 0) return -1;
        length -= copied;
    }
    return 0;
}

static int copy_of_program(int self, off_t length, mode_t mode) {
    int file = memory_file("volt", MFD_EXEC);
    int result = file < 0 ? -1 : copy_file(self, file, length);
    // Execute for all: inside nobody is the host's root.
    if (result == 0) result = fchmod(file, mode);
    return file < 0 ? -1 : seal_it(file, result);
}

// Whether any uid may run this file, root alone may write to it, and its file system treats all of them so.
static bool for_everyone(int self, const struct stat *status) {
    // linux/magic.h: ext4, xfs, btrfs, tmpfs, overlay, f2fs, erofs, squashfs; and zfs
    static const uint32_t local[] = {0xef53,     0x58465342, 0x9123683e, 0x01021994, 0x794c7630,
                                     0xf2f52010, 0xe0f5e1e2, 0x73717368, 0x2fc12fc1};
    struct statfs filesystem;
    if (status->st_uid != 0 || status->st_mode & (S_IWGRP | S_IWOTH) || (status->st_mode & 0555) != 0555) return false;
    if (fstatfs(self, &filesystem) < 0) return false;
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        if ((uint32_t)filesystem.f_type == local[i]) return true;
    return false;
}

// The file itself, in a mount that is nowhere attached and read-only: inside nobody can write to it, and all inits
// of this machine share its pages.
static int mount_of_program(int self) {
    const struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    int mount = k_open_tree(self, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    if (mount >= 0 && k_mount_setattr(mount, 0, &attr) < 0) close_held(&mount);
    return mount;
}

int do_seal_program(struct context *context, const struct step_seal_program *step) {
    struct stat status;
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), file = -1;
    if (self < 0 || fstat(self, &status) < 0) return -1;
    bool shared = !step->unreadable && for_everyone(self, &status);
    if (shared) file = mount_of_program(self);
    // EINVAL: where it lies cannot be mounted elsewhere, for we have come from another mount namespace.
    if (!shared || (file < 0 && errno == EINVAL))
        file = copy_of_program(self, status.st_size, step->unreadable ? 0511 : 0555);
    close_held(&self);
    return publish(context, step->to, file);
}

int do_seal_file(struct context *context, const struct step_seal_file *step) {
    struct stat status;
    int from = open(step->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (from < 0 || fstat(from, &status) < 0) return explain(context, "%s", step->path);
    bool other = (uint64_t)status.st_dev != step->device || (uint64_t)status.st_ino != step->inode;
    if (step->inode != 0 && other) {
        close_held(&from);
        return refuse(context, ESTALE, "%s is not what it was when the launch was planned", step->path);
    }
    if (!S_ISREG(status.st_mode) || status.st_size > ENV_FILE_LIMIT) {
        close_held(&from);
        return refuse(context, 0, "%s has to be a regular file of at most 1 MiB", step->path);
    }
    int file = memory_file("volt-file", MFD_NOEXEC_SEAL);
    int result = file < 0 ? -1 : copy_file(from, file, status.st_size);
    close_held(&from);
    if (result < 0) explain(context, "%s", step->path);
    return file < 0 ? -1 : publish(context, step->to, seal_it(file, result));
}

int do_memory_file(struct context *context, const struct step_memory_file *step) {
    int file = memory_file("volt-messages", MFD_NOEXEC_SEAL);
    if (file >= 0 && (context->messages = fcntl(file, F_DUPFD_CLOEXEC, 3)) < 0) close_held(&file);
    return publish(context, step->to, file);
}

int do_make_socket(struct context *context, const struct step_make_socket *step) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return -1;
    context->control = pair[0];
    context->control_far = pair[1];
    // The supervisor waits for many things at once, and for none of them here.
    if (fcntl(pair[0], F_SETFL, O_RDWR | O_NONBLOCK) < 0) return -1;
    return publish(context, step->to, pair[1]);
}
