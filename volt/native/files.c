// Steps that make, write and move files and folders by path.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"
#include "table.h"

#define NEW_FILE (O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC)

static int rename_new(const char *from, const char *to) {
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

int do_make_folder(struct context *context, const struct step_make_folder *step) {
    context->deed->exclusive = context->claimed;
    if (mkdirat(AT_FDCWD, step->path, step->mode) == 0) {
        context->deed->made = true;
        return 0;
    }
    if (errno != EEXIST) return explain(context, "%s", step->path);
    int folder = open(step->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0) return explain(context, "%s is no folder", step->path);
    close(folder);
    return 0;
}

// A kept folder made under the name's claim is this run's alone and goes with what is in it. One made before
// is shared by now: another run may have begun to use it, so it goes only when it is empty.
int undo_make_folder(struct context *context, const struct step_make_folder *step, struct deed *deed,
                     enum ending ending) {
    (void)context;
    if (deed->made && step->ended[0] && ending == FINISHED) return rename_new(step->path, step->ended);
    if (!deed->made || (step->keep && ending == FINISHED)) return 0;
    if (!step->keep || deed->exclusive) return remove_tree(step->path);
    return rmdir(step->path) == 0 || errno == ENOTEMPTY || errno == ENOENT ? 0 : -1;
}

// A new file with `content` at `path`; with `sync` it is on disk when this returns.
static int write_new(const char *path, const char *content, mode_t mode, bool sync) {
    int file = open(path, NEW_FILE, mode);
    if (file < 0) return -1;
    int result = write_all(file, content, strlen(content));
    if (result == 0 && sync) result = fsync(file);
    close_held(&file);
    if (result < 0) {
        int error = errno;
        unlink(path);
        errno = error;
    }
    return result;
}

int do_write_file(struct context *context, const struct step_write_file *step) {
    char *temporary = format_text("%s.new-%d", step->path, getpid());
    if (write_new(temporary, step->content, step->mode, false) < 0) return explain(context, "%s", step->path);
    if (rename(temporary, step->path) < 0) {
        explain(context, "%s", step->path);
        int error = errno;
        unlink(temporary);
        errno = error;
        return -1;
    }
    context->deed->made = true;
    return 0;
}

int undo_write_file(struct context *context, const struct step_write_file *step, struct deed *deed,
                    enum ending ending) {
    (void)context, (void)deed;
    if (step->keep && ending == FINISHED) return 0;
    return unlink(step->path) == 0 || errno == ENOENT ? 0 : -1;
}

// A file of that name with `data`, whole, whatever was there.
int replace_file(int folder, const char *name, const void *data, size_t length) {
    char temporary[64];
    format_into(temporary, sizeof temporary, "%s.new", name);
    int file = openat(folder, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0) return -1;
    int result = write_all(file, data, length);
    close_held(&file);
    return result < 0 ? -1 : (int)syscall(SYS_renameat2, folder, temporary, folder, name, 0u);
}

// 1 the same, 0 another content, -1 an error.
static int same_content(const char *path, const char *content) {
    size_t length = strlen(content);
    char *found = keep(length + 1);
    int file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) return -1;
    ssize_t got = read_up_to(file, found, length + 1);
    close_held(&file);
    if (got < 0) return -1;
    return (size_t)got == length && memcmp(found, content, length) == 0;
}

// A new file with `content`, whole or not at all.
static int place_new(struct context *context, const char *path, const char *content, mode_t mode) {
    char *temporary = format_text("%s.new-%d", path, getpid());
    if (write_new(temporary, content, mode, true) < 0) return explain(context, "%s", path);
    // Renamed and not linked: there is no second name that could be left behind.
    if (rename_new(temporary, path) < 0) {
        explain(context, "%s", path);
        int error = errno;
        unlink(temporary);
        errno = error;
        return -1;
    }
    context->deed->made = true;
    return 0;
}

// What this run made goes with a launch that fails.
static int remove_made(const char *path, const struct deed *deed, enum ending ending) {
    if (ending == FINISHED || !deed->made) return 0;
    return unlink(path) == 0 || errno == ENOENT ? 0 : -1;
}

int do_pin_file(struct context *context, const struct step_pin_file *step) {
    int same = same_content(step->path, step->content);
    if (same == 0) return refuse(context, 0, "%s", step->otherwise);
    if (same == 1) return 0;
    if (errno != ENOENT) return explain(context, "%s", step->path);
    return place_new(context, step->path, step->content, 0600);
}

int undo_pin_file(struct context *context, const struct step_pin_file *step, struct deed *deed,
                  enum ending ending) {
    (void)context;
    return remove_made(step->path, deed, ending);
}

int do_make_machine_id(struct context *context, const struct step_make_machine_id *step) {
    char content[MACHINE_DIGITS + 2] = "";
    struct stat status;
    if (lstat(step->path, &status) == 0) return 0;
    if (errno != ENOENT || draw_digits(content, MACHINE_DIGITS) < 0) return explain(context, "%s", step->path);
    content[MACHINE_DIGITS] = '\n';
    return place_new(context, step->path, content, 0444);
}

int undo_make_machine_id(struct context *context, const struct step_make_machine_id *step, struct deed *deed,
                         enum ending ending) {
    (void)context;
    return remove_made(step->path, deed, ending);
}

int do_set_aside(struct context *context, const struct step_set_aside *step) {
    if (rename_new(step->path, step->to) < 0)
        return errno == ENOENT ? 0 : explain(context, "%s", step->path);
    context->deed->made = true;
    return 0;
}

int undo_set_aside(struct context *context, const struct step_set_aside *step, struct deed *deed,
                   enum ending ending) {
    (void)context;
    if (!deed->made) return 0;
    return ending == FINISHED ? remove_tree(step->to) : rename_new(step->to, step->path);
}

int do_open(struct context *context, const struct step_open *step) {
    struct stat status;
    int file = k_openat2(AT_FDCWD, step->path, O_PATH | O_CLOEXEC, RESOLVE_NO_MAGICLINKS);
    if (file < 0) return explain(context, "%s", step->path);
    if (step->inode != 0) {
        bool known = fstat(file, &status) == 0;
        if (!known || (uint64_t)status.st_dev != step->device || (uint64_t)status.st_ino != step->inode) {
            close_held(&file);
            return refuse(context, ESTALE, "%s is not what it was when the launch was planned", step->path);
        }
    }
    return publish(context, step->to, file);
}

int do_open_null(struct context *context, const struct step_open_null *step) {
    return publish(context, step->to, open("/dev/null", O_RDWR | O_CLOEXEC));
}

int do_make_file(struct context *context, const struct step_make_file *step) {
    return write_new(step->path, step->content, step->mode, false) < 0 ? explain(context, "%s", step->path) : 0;
}

int do_make_link(struct context *context, const struct step_make_link *step) {
    return symlinkat(step->target, AT_FDCWD, step->path) < 0 ? explain(context, "%s", step->path) : 0;
}
