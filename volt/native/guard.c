// Steps that start the guard, the child in new pid and mount namespaces, and those that make it what it is.
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frames.h"
#include "kernel.h"

#define GUARD_ENDS 10000 // milliseconds that a killed pid namespace may take
#define APART_STACK (32u << 10) // bytes

static _Noreturn void guard_main(struct context *context) {
    // Our copy of the supervisor's end would hide its death.
    close_held(&context->control);
    context->deed_count = 0; // the supervisor's deeds are its own to undo
    if (perform_section(context, true) == 0) {
        context->failure = (struct failure){.happened = true};
        refuse(context, 0, "the guard's steps do not end in an exec");
    }
    send_failure(context->control_far, &context->failure);
    _exit(VOLT_FAILED);
}

int do_start_guard(struct context *context, const struct step_start_guard *step) {
    context->guard = start_child(CLONE_NEWPID | CLONE_NEWNS, &context->guard_pidfd, step->cgroup);
    if (context->guard == 0) guard_main(context);
    if (context->guard < 0) return -1;
    context->deed->made = true;
    // What the guard has now is nothing to the supervisor: held on, it would hide the ends of pipes.
    close_all_held(context, context->program.registers + 1, -1);
    context->control_far = -1;
    return 0;
}

// What every /proc and every /sys has, and nspawn does not look into.
static const char *const COVERED[] = {"/proc/driver", "/sys/firmware"};

// In the guard's mount namespace, for a moment: the child shares our memory and not our root, folder and namespaces.
static int cover_all(void *guard_pidfd) {
    if (setns(*(int *)guard_pidfd, CLONE_NEWNS) < 0) return errno;
    for (size_t i = 0; i < sizeof COVERED / sizeof *COVERED; i++)
        if (mount("none", COVERED[i], "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0555") < 0)
            return errno;
    return 0;
}

// In a child that shares our memory, and what else `flags` says, so that it may enter another namespace: `act` returns 0
// or an errno, as this does by errno.
int act_apart(int (*act)(void *), void *about, int flags) {
    struct mark before = mark_memory();
    char *stack = keep(APART_STACK);
    int status = 0;
    pid_t pid = clone(act, stack + APART_STACK, CLONE_VM | CLONE_VFORK | SIGCHLD | flags, about);
    if (pid < 0) return -1;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return -1;
    forget_since(before);
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
    return errno ? -1 : 0;
}

int cover_below(struct context *context) { return act_apart(cover_all, &context->guard_pidfd, 0); }

// SIGKILL, and wait until pid namespace and mounts are gone with it. The guard stays known where it did not end.
void end_guard(struct context *context) {
    if (context->guard <= 0) return;
    struct pollfd ended = {.fd = context->guard_pidfd, .events = POLLIN};
    k_pidfd_send_signal(context->guard_pidfd, SIGKILL);
    int ready;
    do ready = poll(&ended, 1, GUARD_ENDS);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0) return;
    waitpid(context->guard, NULL, 0);
    close_held(&context->guard_pidfd);
    context->guard = -1;
}

int undo_start_guard(struct context *context, const struct step_start_guard *step, struct deed *deed,
                     enum ending ending) {
    (void)step, (void)deed, (void)ending;
    end_guard(context);
    errno = ETIMEDOUT;
    return context->guard < 0 ? 0 : -1;
}

// The parent may have died before the request for its signal: its end of the control socket tells.
int forbid_orphan(struct context *context) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return -1;
    struct pollfd socket = {.fd = context->control_far};
    int ready = socket.fd < 0 ? 0 : poll(&socket, 1, 0);
    if (ready < 0) return -1;
    if (!(socket.revents & POLLHUP)) return 0;
    errno = ESRCH;
    return -1;
}

int do_die_with_parent(struct context *context, const struct step_die_with_parent *step) {
    (void)step;
    return forbid_orphan(context);
}

int do_new_session(struct context *context, const struct step_new_session *step) {
    (void)context, (void)step;
    return setsid() < 0 ? -1 : 0;
}

int do_act_as(struct context *context, const struct step_act_as *step) {
    char *end;
    unsigned long uid = strtoul(step->uid, &end, 10);
    if (end == step->uid || *end || uid >= UINT32_MAX) return refuse(context, EINVAL, "uid %s", step->uid);
    setfsgid((gid_t)uid);
    setfsuid((uid_t)uid);
    // They return the id before, not success: asked for an impossible one they tell the id now.
    if (setfsuid((uid_t)-1) != (int)uid || setfsgid((gid_t)-1) != (int)uid)
        return refuse(context, EPERM, "uid %s", step->uid);
    return raise_capabilities();
}
