// Steps that take power away from the payload, in the order that security needs: limits, ids, capabilities, filter.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"
#include "table.h"

#define CAPABILITY_LAST 63
#define GROUPS 65536 // NGROUPS_MAX

int do_set_limit(struct context *context, const struct step_set_limit *step) {
    (void)context;
    const struct rlimit limit = {.rlim_cur = step->soft, .rlim_max = step->hard};
    return setrlimit((int)step->resource, &limit);
}

static int set_capabilities(uint64_t caps, uint64_t inheritable) {
    struct capability_header header = {.version = CAPABILITY_VERSION};
    struct capability_sets sets[2];
    for (int i = 0; i < 2; i++) {
        uint32_t half = (uint32_t)(caps >> (32 * i));
        sets[i] = (struct capability_sets){half, half, (uint32_t)(inheritable >> (32 * i))};
    }
    return (int)syscall(SYS_capset, &header, sets);
}

int do_keep_capabilities(struct context *context, const struct step_keep_capabilities *step) {
    (void)context;
    return set_capabilities(step->caps, 0);
}

int do_bound_capabilities(struct context *context, const struct step_bound_capabilities *step) {
    if (context->asked) context->asked->bounding = step->caps;
    for (unsigned cap = 0; cap <= CAPABILITY_LAST; cap++) {
        int bounded = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
        if (bounded < 0) return errno == EINVAL ? 0 : -1; // beyond the last that the kernel knows
        if (bounded && !(step->caps >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) return -1;
    }
    return 0;
}

static int set_groups(struct context *context, const struct texts *groups) {
    if (groups->count > GROUPS) return refuse(context, EINVAL, "too many groups");
    gid_t *list = keep((groups->count + 1) * sizeof *list);
    for (size_t i = 0; i < groups->count; i++) {
        char *end;
        unsigned long gid = strtoul(groups->items[i], &end, 10);
        if (end == groups->items[i] || *end || gid >= UINT32_MAX)
            return refuse(context, EINVAL, "group %s", groups->items[i]);
        list[i] = (gid_t)gid;
    }
    return (int)syscall(SYS_setgroups, groups->count, list);
}

static int become(struct context *context, uint32_t uid, uint32_t gid, const struct texts *groups) {
    if (set_groups(context, groups) < 0) return -1;
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0) return -1;
    if (syscall(SYS_setresgid, gid, gid, gid) < 0) return -1;
    return (int)syscall(SYS_setresuid, uid, uid, uid);
}

int do_set_identity(struct context *context, const struct step_set_identity *step) {
    const struct asked *asked = context->asked;
    if (asked && asked->other) return become(context, asked->uid, asked->gid, &asked->groups);
    // The terminal is the payload's, so that it can be opened again as /dev/tty or /proc/self/fd/1.
    if (context->terminal >= 0 && fchown(context->terminal, step->uid, (gid_t)-1) < 0)
        return explain(context, "the terminal");
    return become(context, step->uid, step->gid, &step->groups);
}

int do_set_capabilities(struct context *context, const struct step_set_capabilities *step) {
    const struct asked *asked = context->asked;
    uint64_t caps = step->caps, ambient = step->ambient;
    // Another user has what the manifest's would have: root all that the bounding set leaves, anyone else what is
    // passed on over an exec alone.
    if (asked && asked->other) caps = asked->uid == 0 ? asked->bounding : ambient;
    if (asked && asked->other && asked->uid == 0) ambient = 0;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0) return -1;
    if (set_capabilities(caps, ambient) < 0) return -1;
    for (unsigned cap = 0; cap <= CAPABILITY_LAST; cap++)
        if (ambient >> cap & 1 && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0) return -1;
    return 0;
}

int do_no_new_privileges(struct context *context, const struct step_no_new_privileges *step) {
    (void)context, (void)step;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

// A link of the image to /proc/self/fd leads to what the init has open, from where `..` leads out of the root.
int do_change_folder(struct context *context, const struct step_change_folder *step) {
    const char *path = context->asked && context->asked->folder[0] ? context->asked->folder : step->path;
    int folder = k_openat2(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, RESOLVE_NO_MAGICLINKS);
    int result = folder < 0 ? -1 : fchdir(folder);
    close_held(&folder);
    return result < 0 ? explain(context, "%s", path) : 0;
}

// A copy of the plan's filter that is aligned as the kernel wants instructions.
static int take_filter(struct context *context, struct bytes filter, struct bytes *to) {
    if (filter.length == 0 || filter.length % FILTER_INSTRUCTION || filter.length / FILTER_INSTRUCTION > FILTER_LONGEST)
        return refuse(context, EINVAL, "the filter is no array of instructions");
    uint8_t *aligned = keep(filter.length);
    memcpy(aligned, filter.start, filter.length);
    *to = (struct bytes){aligned, filter.length};
    return 0;
}

// Kept for the exec: a filter that allows what a payload needs need not allow what is left to do here.
int do_filter_calls(struct context *context, const struct step_filter_calls *step) {
    return take_filter(context, step->filter, &context->filter);
}

int do_filter_init(struct context *context, const struct step_filter_init *step) {
    struct bytes filter;
    return take_filter(context, step->filter, &filter) < 0 ? -1 : install_filter(filter);
}

int install_filter(struct bytes filter) {
    if (!filter.length) return 0;
    struct filter_program program = {
        .length = (unsigned short)(filter.length / FILTER_INSTRUCTION),
        .instructions = filter.start,
    };
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0u, &program);
}
