// Steps of the init that mount inside the workload's own root, where every link is the image's to choose.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frames.h"
#include "kernel.h"

#define LINKS 40 // as many as the kernel follows, path_resolution(7)

static int look(int root, const char *path) {
    return k_openat2(root, path, O_PATH | O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

// One missing entry below `parent`: a folder, or the empty file that a mount needs.
static int make_point(int parent, const char *name, bool folder) {
    if (folder) return mkdirat(parent, name, 0755);
    int file = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (file < 0) return -1;
    return close(file);
}

// Where the link `name` leads that lies in the folder called `path`; NULL where it is none.
static char *link_target(int parent, const char *name, const char *path) {
    char target[PATH_MAX];
    ssize_t length = readlinkat(parent, name, target, sizeof target - 1);
    if (length <= 0) return NULL;
    while (length > 1 && target[length - 1] == '/') length--;
    return format_text("%s%s%.*s", target[0] == '/' ? "" : path, target[0] == '/' ? "" : "/", (int)length, target);
}

// `path` opened in `root`; made where it is missing, also behind a link of the image that leads nowhere yet: every
// link is followed inside.
static int open_point(int root, const char *path, bool folder, unsigned links) {
    int point = look(root, path);
    if (point >= 0 || errno != ENOENT) return point;
    const char *name = last_part(path);
    char *above = format_text("%.*s", name - path > 1 ? (int)(name - path) - 1 : 1, path);
    int parent = open_point(root, above, true, links);
    if (parent < 0) return -1;
    int result = make_point(parent, name, folder);
    char *target = result < 0 && errno == EEXIST ? link_target(parent, name, above) : NULL;
    close_held(&parent);
    if (target && links == LINKS) errno = ELOOP;
    if (target && links < LINKS) return open_point(root, target, folder, links + 1);
    return result < 0 ? -1 : look(root, path);
}

// As open_point; the kind of what is there has to fit the mount.
static int mount_point(struct context *context, const char *path, bool folder) {
    struct stat status;
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return -1;
    int point = open_point(root, path, folder, 0);
    close_held(&root);
    if (point < 0) return explain(context, "%s", path);
    if (fstat(point, &status) < 0 || S_ISDIR(status.st_mode) != folder) {
        close_held(&point);
        return refuse(context, folder ? ENOTDIR : EISDIR, "%s", path);
    }
    return point;
}

static int attach(struct context *context, int mount, const char *path, bool folder) {
    int point = mount_point(context, path, folder);
    if (point < 0) return -1;
    int result = k_move_mount(mount, point, "", MOVE_MOUNT_T_EMPTY_PATH);
    close_held(&point);
    return result < 0 ? explain(context, "%s", path) : 0;
}

int do_attach_inside(struct context *context, const struct step_attach_inside *step) {
    return attach(context, step->mount, step->path, step->kind == MAKE_FOLDER);
}

int attach_inside(struct context *context, int folder, const char *path) { return attach(context, folder, path, true); }

int attach_file(struct context *context, int file, const char *path) { return attach(context, file, path, false); }

// The path where it is there: 1 and *point, 0 nothing there, -1 an error.
static int existing(struct context *context, const char *path, int *point) {
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return -1;
    *point = look(root, path);
    close_held(&root);
    if (*point >= 0) return 1;
    return errno == ENOENT || errno == ENOTDIR ? 0 : explain(context, "%s", path);
}

// Moves `mount` onto `point`, and closes both.
static int cover(struct context *context, int mount, int point, const char *path) {
    int result = mount < 0 ? -1 : k_move_mount(mount, point, "", MOVE_MOUNT_T_EMPTY_PATH);
    close_held(&mount);
    close_held(&point);
    return result < 0 ? explain(context, "%s", path) : 0;
}

int do_mask(struct context *context, const struct step_mask *step) {
    char mode[] = "mode=0555";
    char *options[] = {mode, NULL};
    const uint64_t attrs = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    struct stat status;
    int point, found = existing(context, step->path, &point);
    if (found <= 0) return found;
    if (fstat(point, &status) < 0) return explain(context, "%s", step->path);
    int mount = S_ISDIR(status.st_mode) ? make_filesystem(context, "tmpfs", options, attrs)
                                        : k_open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    return cover(context, mount, point, step->path);
}

int do_protect_path(struct context *context, const struct step_protect_path *step) {
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    int point, found = existing(context, step->path, &point);
    if (found <= 0) return found;
    int mount = k_open_tree(point, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
    if (mount >= 0 && k_mount_setattr(mount, AT_RECURSIVE, &attr) < 0) close_held(&mount);
    return cover(context, mount, point, step->path);
}

int do_cover_below(struct context *context, const struct step_cover_below *step) {
    (void)step;
    if (send_number(context->control, FRAME_COVER, context->deed->number) < 0) return -1;
    return await_go_on(context);
}

int do_protect_init(struct context *context, const struct step_protect_init *step) {
    (void)context, (void)step;
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}
