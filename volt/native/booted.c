// An image's init as its supervisor sees it: the child of systemd-nspawn, which ends as that says.
#include "volt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "kernel.h"
#include "table.h"

#define GUARD_ENDS 5000 // milliseconds that systemd-nspawn may take to end behind its init
#define CHILDREN 64u    // bytes: the first of them is enough
#define STATUS 4096u    // bytes of proc_pid_status(5)
#define STAT_PARENT 4   // proc_pid_stat(5)

int do_expect_init(struct context *context, const struct step_expect_init *step) {
    (void)step;
    context->boots = true;
    return 0;
}

// Its number here, 0 where it is not seen. Of the children it is the oldest: proc_tid_children(5).
static pid_t find_init(const struct context *context) {
    char list[CHILDREN];
    int file = open(format_text("/proc/%d/task/%d/children", context->guard, context->guard), O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read_up_to(file, list, sizeof list - 1);
    close_held(&file);
    list[length < 0 ? 0 : length] = '\0';
    return (pid_t)strtol(list, NULL, 10);
}

static bool is_in(const char *status, const char *set, int number) {
    const char *at = strstr(status, set);
    return at && strtoull(at + strlen(set), NULL, 16) >> (number - 1) & 1;
}

// Whether it has a handler for a signal, or waits for it: any other one it never gets, pid_namespaces(7).
bool init_takes(const struct context *context, int number) {
    struct mark before = mark_memory();
    char *status = keep(STATUS);
    int file = open(format_text("/proc/%d/status", find_init(context)), O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? 0 : read_up_to(file, status, STATUS - 1);
    close_held(&file);
    status[length < 0 ? 0 : length] = '\0';
    bool takes = is_in(status, "SigCgt:", number) || is_in(status, "SigBlk:", number);
    forget_since(before);
    errno = 0;
    return takes;
}

// A signal to it from outside. systemd-nspawn would pass on one alone, and kills at the second SIGTERM that it gets, which
// may be its first from us: systemd sends one to each process of a scope that it stops.
bool signal_init(const struct context *context, int number) {
    struct mark before = mark_memory();
    pid_t init = find_init(context);
    int pidfd = init > 1 ? k_pidfd_open(init) : -1;
    // It is a child still, so that the number has not gone to another process.
    bool same = process_number(format_text("/proc/%d/stat", init), STAT_PARENT) == (uint64_t)context->guard;
    bool sent = pidfd >= 0 && same && k_pidfd_send_signal(pidfd, number) == 0;
    close_held(&pidfd);
    forget_since(before);
    errno = 0;
    return sent;
}

// It has ended as systemd-nspawn says, which then has ended too. One that is done at once takes with it who would have
// told that it has started; what cannot be started never ends well. Where only that one is gone nothing has ended.
bool init_ended(struct context *context) {
    struct pollfd guard = {context->guard_pidfd, POLLIN, 0};
    siginfo_t info = {0};
    if (!context->boots || poll(&guard, 1, GUARD_ENDS) != 1) return false;
    if (waitid(P_PID, (id_t)context->guard, &info, WEXITED | WNOWAIT | WNOHANG) < 0) return false;
    if (info.si_code != CLD_EXITED || (!context->result.started && info.si_status != 0)) return false;
    context->result.started = context->result.exited = true;
    context->result.wait_status = info.si_status << 8;
    return true;
}
