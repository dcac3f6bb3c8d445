// The run's cgroup: made, limited, and at the end emptied and removed with what was made below it.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "volt.h"
#include "table.h"

#define CGROUP_ENDS 5000 // milliseconds that killed processes may take to leave
#define FOLDER (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

int do_make_cgroup(struct context *context, const struct step_make_cgroup *step) {
    if (mkdirat(AT_FDCWD, step->path, 0755) < 0) return explain(context, "%s", step->path);
    context->deed->made = true;
    int folder = open(step->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return folder < 0 ? explain(context, "%s", step->path) : publish(context, step->to, folder);
}

// In one write, as the kernel takes it; -1 with errno.
static int write_control(const char *path, const char *value) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    int result = file < 0 ? -1 : write_all(file, value, strlen(value));
    close_held(&file);
    return result;
}

// What the kernel says to a limit is the limit's own affair: the cgroup goes with the run.
int do_set_control(struct context *context, const struct step_set_control *step) {
    if (write_control(step->path, step->value) == 0) return 0;
    return explain(context, "%s: %s", step->path, step->value);
}

int do_join_cgroup(struct context *context, const struct step_join_cgroup *step) {
    if (mkdirat(AT_FDCWD, step->path, 0755) < 0 && errno != EEXIST) return explain(context, "%s", step->path);
    if (write_control(format_text("%s/cgroup.procs", step->path), "0") == 0) return 0;
    return explain(context, "%s", step->path);
}

// We are in it ourselves.
int undo_join_cgroup(struct context *context, const struct step_join_cgroup *step, struct deed *deed,
                     enum ending ending) {
    (void)context, (void)step, (void)deed, (void)ending;
    return 0;
}

// Kernels before 5.14 have no cgroup.kill: then one by one, as they are found.
static void kill_each(const char *path) {
    char list[4096], *next;
    int file = open(format_text("%s/cgroup.procs", path), O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read_up_to(file, list, sizeof list - 1);
    list[length < 0 ? 0 : length] = '\0';
    close_held(&file);
    for (char *at = list; *at; at = next + strspn(next, "\n")) {
        pid_t pid = (pid_t)strtol(at, &next, 10);
        if (next == at) return;
        if (pid > 1) kill(pid, SIGKILL);
    }
}

static void end_all(const char *path) {
    if (write_control(format_text("%s/cgroup.kill", path), "1") < 0) kill_each(path);
}

// Into the first folder below that stays, or up where none does; 0 where none has and nothing has changed below.
static int walk_on(int *here, unsigned *depth, bool *progress) {
    int next = -1, listing = openat(*here, ".", FOLDER);
    DIR *entries = listing < 0 ? NULL : fdopendir(listing);
    struct dirent *entry;
    if (!entries) close_held(&listing);
    while (next < 0 && entries && (entry = readdir(entries))) {
        if (entry->d_type != DT_DIR || strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (unlinkat(*here, entry->d_name, AT_REMOVEDIR) == 0 || errno == ENOENT) *progress = true;
        else next = openat(*here, entry->d_name, FOLDER);
    }
    if (entries) closedir(entries);
    bool down = next >= 0;
    if (!down && *depth > 0 && *progress) next = openat(*here, "..", FOLDER);
    if (next < 0) return 0;
    close(*here);
    *here = next;
    *depth += down ? 1 : -1u;
    *progress = *progress && !down;
    return 1;
}

// The folders below first, from one to the other: an image's init may have made more than a path is long. The result is
// that of the last rmdir(2).
static int remove_cgroups(const char *path, uint64_t deadline) {
    unsigned depth = 0;
    bool progress = false;
    int here = open(path, FOLDER);
    while (here >= 0 && now() < deadline && walk_on(&here, &depth, &progress));
    close_held(&here);
    return rmdir(path) == 0 || errno == ENOENT ? 0 : -1;
}

int undo_make_cgroup(struct context *context, const struct step_make_cgroup *step, struct deed *deed,
                     enum ending ending) {
    const struct timespec moment = {.tv_nsec = 1000000};
    uint64_t deadline = now() + CGROUP_ENDS;
    (void)context, (void)ending;
    if (!deed->made || rmdir(step->path) == 0 || errno == ENOENT) return 0;
    end_all(step->path);
    while (remove_cgroups(step->path, deadline) < 0) {
        if (errno != EBUSY || now() > deadline) return -1;
        nanosleep(&moment, NULL);
    }
    return 0;
}
