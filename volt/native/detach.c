// Detaching: the launch goes on in a child, and its starter waits until the payload has started.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"
#include "table.h"

#define FIRST_FREE 3
#define FEW 8 // descriptors are open before this step

// ── the starter

// Whoever wants the wait ended wants the launch ended: the supervisor is told, and says when it is.
static void pass_signal(const struct context *context, pid_t supervisor) {
    struct signalfd_siginfo info;
    if (read(context->signals, &info, sizeof info) != (ssize_t)sizeof info) return;
    if (info.ssi_signo == SIGINT || info.ssi_signo == SIGTERM || info.ssi_signo == SIGHUP || info.ssi_signo == SIGQUIT)
        kill(supervisor, SIGTERM);
}

// What the supervisor writes when the payload has started: the run's id. Less is no id.
static bool read_id(const struct context *context, int started, pid_t supervisor, char id[RUN_DIGITS + 1]) {
    size_t length = 0;
    for (;;) {
        struct pollfd polls[] = {{started, POLLIN, 0}, {context->signals, POLLIN, 0}};
        if (poll(polls, 2, -1) < 0) continue;
        if (polls[1].revents) pass_signal(context, supervisor);
        if (!polls[0].revents) continue;
        ssize_t got = read(started, id + length, RUN_DIGITS + 1 - length);
        if (got <= 0) return length == RUN_DIGITS + 1;
        length += (size_t)got;
    }
}

// Where nobody takes it the run goes on all the same, and has to be found.
static int print_id(const char id[RUN_DIGITS + 1]) {
    if (write_all(STDOUT_FILENO, id, RUN_DIGITS + 1) == 0) return 0;
    const char *text = format_text("volt: run %.*s has started, but its id cannot be written: %s\nhint: volt ps lists it\n",
                                   RUN_DIGITS, id, strerror(errno));
    write_all(STDERR_FILENO, text, strlen(text));
    return VOLT_FAILED;
}

static _Noreturn void starter_main(const struct context *context, int started, pid_t supervisor) {
    char id[RUN_DIGITS + 1];
    int status = 0;
    if (read_id(context, started, supervisor, id)) _exit(print_id(id));
    if (waitpid(supervisor, &status, __WALL) < 0 || !WIFEXITED(status)) _exit(VOLT_FAILED);
    _exit(WEXITSTATUS(status));
}

// ── the supervisor

// The least of `kept` from `next` on, or `most`.
static unsigned least_from(const int *kept, size_t count, unsigned next, unsigned most) {
    for (size_t i = 0; i < count; i++)
        if (kept[i] >= 0 && (unsigned)kept[i] >= next && (unsigned)kept[i] < most) most = (unsigned)kept[i];
    return most;
}

// Whatever else was open is the caller's: held as long as the run, it would hide the end of a pipe from its reader.
static int close_foreign(const struct context *context) {
    int kept[FEW] = {context->plan, context->signals, context->starter};
    size_t count = 3;
    for (size_t i = 0; i < context->deed_count && count < FEW; i++) kept[count++] = context->deeds[i].descriptor;
    for (unsigned next = FIRST_FREE, end; next != ~0u; next = end == ~0u ? end : end + 1) {
        end = least_from(kept, count, next, ~0u);
        if (end > next && k_close_range(next, end == ~0u ? end : end - 1, 0) < 0) return -1;
    }
    return 0;
}

int do_detach(struct context *context, const struct step_detach *step) {
    (void)step;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -1;
    pid_t supervisor = start_child(0, NULL, -1);
    if (supervisor > 0) {
        close_held(&ends[1]);
        starter_main(context, ends[0], supervisor);
    }
    close_held(&ends[0]);
    context->starter = ends[1];
    if (supervisor < 0) return -1;
    context->slots.pid = (uint64_t)getpid();
    context->slots.clock = start_clock();
    return setsid() < 0 ? -1 : close_foreign(context);
}

static void forget_streams(void) {
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int n = 0; null >= 0 && n <= 2; n++) dup2(null, n);
    close_held(&null);
}

// A report to the starter's own descriptor tells of a launch that failed: the outcome of the run is not its business.
static void close_reports(struct context *context) {
    for (size_t i = 0; i < context->deed_count; i++) {
        struct deed *deed = &context->deeds[i];
        struct found found;
        bool report = find_step(&context->program, deed->number, &found) && found.opcode == OP_REPORT;
        if (report && !deed->path) close_held(&deed->descriptor);
    }
}

// From here on the run is nobody's child. What cannot be told to a starter that has gone needs no telling.
void detached_started(struct context *context) {
    if (context->starter < 0) return;
    const char *id = format_text("%s\n", context->slots.run);
    close_reports(context);
    forget_streams();
    if (chdir("/") < 0 || write_all(context->starter, id, strlen(id)) < 0) errno = 0;
    close_held(&context->starter);
}
