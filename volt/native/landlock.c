// Steps of Landlock, landlock(7): a ruleset, what it allows, and entering it; once, for the init and all that it forks.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"
#include "table.h"

#define SKIPPED_TEXT 2048 // bytes of the paths that are told, of the FRAME_LIMIT of a frame
#define LINKS 40 // as many as the kernel follows, path_resolution(7)

int do_make_ruleset(struct context *context, const struct step_make_ruleset *step) {
    // An older kernel takes the longer structure as long as what it does not know is zero.
    const struct landlock_ruleset attributes = {step->files, step->ports, step->scopes};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0u);
    return publish(context, step->to, ruleset);
}

// ── paths of the workload's own root

static int look(int root, const char *path, uint64_t flags) {
    return k_openat2(root, path, O_PATH | O_CLOEXEC | flags,
                     RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
}

// The end of the first component of `path` that is a link, and the link itself, opened; NULL where there is none.
static const char *first_link(int root, const char *path, int *link) {
    struct stat status;
    for (const char *end = path; *end;) {
        while (*end == '/') end++;
        end += strcspn(end, "/");
        *link = look(root, format_text("%.*s", (int)(end - path), path), O_NOFOLLOW);
        if (*link < 0) return NULL;
        if (fstat(*link, &status) == 0 && S_ISLNK(status.st_mode)) return end;
        close_held(link);
    }
    return NULL;
}

// What a rule's path is resolved by: the root, and what says of its links that they are the image's.
struct trust {
    int root, image;
    bool links;
};

// Whether the image has this link too, leading to the same place.
static bool has_link(int image, const char *path, const char *target) {
    char other[PATH_MAX];
    int link = look(image, path, O_NOFOLLOW);
    ssize_t length = link < 0 ? -1 : readlinkat(link, "", other, sizeof other - 1);
    close_held(&link);
    return length > 0 && strncmp(other, target, (size_t)length) == 0 && !target[length];
}

// Whether no payload can have made the link at `path`, or none to somewhere else; it lies in the folder called `above`.
static bool is_trusted(const struct trust *by, int link, const char *path, const char *above, const char *target) {
    struct statvfs mount;
    struct stat own, folder;
    if (fstatvfs(link, &mount) == 0 && mount.f_flag & ST_RDONLY) return true;
    // Of a link in an overlay the device may be that of a layer: of a folder it is the overlay's.
    int parent = look(by->root, above, O_DIRECTORY);
    bool same = parent >= 0 && fstat(by->root, &own) == 0 && fstat(parent, &folder) == 0 && folder.st_dev == own.st_dev;
    close_held(&parent);
    return same && (by->links || (by->image >= 0 && has_link(by->image, path, target)));
}

// The path with its first link replaced by where that leads; NULL, with ELOOP, for a link that is not to be followed.
static const char *behind_link(const struct trust *by, const char *path) {
    char target[PATH_MAX];
    int link = -1;
    const char *end = first_link(by->root, path, &link);
    if (!end) return NULL;
    const char *name = end;
    while (name > path && name[-1] != '/') name--;
    const char *above = format_text("%.*s", (int)(name - path), path);
    ssize_t length = readlinkat(link, "", target, sizeof target - 1);
    target[length > 0 ? length : 0] = '\0';
    bool follow = length > 0 && is_trusted(by, link, format_text("%.*s", (int)(end - path), path), above, target);
    close_held(&link);
    errno = ELOOP;
    return follow ? format_text("%s%s%s", target[0] == '/' ? "" : above, target, end) : NULL;
}

// A descriptor of `path`, through links that can be trusted alone.
static int open_trusted(const struct trust *by, const char *path) {
    for (unsigned followed = 0; followed <= LINKS; followed++) {
        int point = look(by->root, path, 0);
        if (point >= 0 || errno != ELOOP) return point;
        path = behind_link(by, path);
        if (!path) return -1;
    }
    errno = ELOOP;
    return -1;
}

// ── rules

static int add_beneath(int ruleset, int point, uint64_t access) {
    struct stat status;
    if (fstat(point, &status) < 0) return -1;
    if (!S_ISDIR(status.st_mode)) access &= FILE_RIGHTS;
    if (!access) return 0; // a rule that gives nothing is an error to the kernel
    const struct landlock_beneath rule = {access, point};
    return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_BENEATH, &rule, 0u);
}

static bool can_pass_over(int error) { return error == ENOENT || error == ENOTDIR || error == ELOOP; }

// Told to the supervisor when the payload has started; where there is no room left, dots stand for the others.
static void pass_over(struct context *context, const char *path) {
    char *text = context->left;
    size_t used = strlen(text), room = SKIPPED_TEXT - sizeof "\n...";
    if (used >= sizeof "\n..." - 1 && strcmp(text + used - (sizeof "\n..." - 1), "\n...") == 0) return;
    const char *shown = used + strlen(path) + 1 > room ? "..." : path;
    format_into(text + used, SKIPPED_TEXT - used, "%s%s", used ? "\n" : "", shown);
}

int do_allow_beneath(struct context *context, const struct step_allow_beneath *step) {
    struct trust by = {open("/", O_PATH | O_DIRECTORY | O_CLOEXEC), step->image, step->links};
    if (by.root < 0) return -1;
    int point = open_trusted(&by, step->path);
    close_held(&by.root);
    if (point < 0 && !step->required && can_pass_over(errno)) {
        pass_over(context, step->path);
        return 0;
    }
    if (point < 0 && errno == ELOOP)
        return refuse(context, 0, "%s: a link on the way may be a payload's: write the path that it leads to", step->path);
    if (point < 0) return explain(context, "%s", step->path);
    int result = add_beneath(step->ruleset, point, step->access);
    close_held(&point);
    return result < 0 ? explain(context, "%s", step->path) : 0;
}

int do_allow_opened(struct context *context, const struct step_allow_opened *step) {
    (void)context;
    for (size_t i = 0; i < step->descriptors.count; i++) {
        int descriptor = step->descriptors.items[i];
        struct stat status;
        // All beneath a folder is more than what has been opened.
        if (descriptor < 0 || fstat(descriptor, &status) < 0 || S_ISDIR(status.st_mode)) continue;
        // EBADFD: a pipe, a socket, a memory file. No rule says anything about these.
        if (add_beneath(step->ruleset, descriptor, step->access) < 0 && errno != EBADFD) return -1;
    }
    return 0;
}

int do_allow_ports(struct context *context, const struct step_allow_ports *step) {
    if (step->last > UINT16_MAX) return refuse(context, EINVAL, "port %u", step->last);
    for (uint32_t port = step->first; port <= step->last; port++) {
        const struct landlock_port rule = {step->access, port};
        if (syscall(SYS_landlock_add_rule, step->ruleset, LANDLOCK_PORT, &rule, 0u) < 0) return -1;
    }
    return 0;
}

int do_restrict_self(struct context *context, const struct step_restrict_self *step) {
    (void)context;
    return (int)syscall(SYS_landlock_restrict_self, step->ruleset, 0u);
}
