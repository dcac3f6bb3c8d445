// The state of a performance, the memory it keeps, and the few calls that everything else is made of.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"

#define STOP_TIMEOUT 10000 // milliseconds
#define STAT_START_TIME 22 // proc(5), /proc/PID/stat: the field's number

// Of one in static memory: what is zero there from the start is not written, for a written page stays in memory.
void context_init(struct context *context) {
    memset(context, 0, offsetof(struct context, failure.text));
    context->failure.text[0] = '\0';
    if (context->left[0]) context->left[0] = '\0';
    context->control = context->control_far = context->messages = context->signals = -1;
    context->lifeline = context->guard_pidfd = context->report_pipe = context->terminal = context->inside = -1;
    context->plan = context->starter = context->input = context->address_claim = -1;
    context->guard = context->payload = -1;
    context->undone = true;
    context->begun = now();
    context->stop_signal = SIGTERM;
    context->stop_timeout = STOP_TIMEOUT;
}

// The descriptor under a number, -1 where there is none.
int held(const struct context *context, unsigned number) { return context->held ? context->held[number] - 1 : -1; }

void hold(struct context *context, unsigned number, int descriptor) {
    if (!context->held) context->held = keep(REGISTERS * sizeof *context->held);
    context->held[number] = descriptor + 1;
    if (number >= context->held_end) context->held_end = number + 1;
}

// Closes what is held under the numbers from `first` on, except `kept`.
void close_all_held(struct context *context, unsigned first, int kept) {
    for (unsigned number = first; number < context->held_end; number++) {
        int descriptor = held(context, number);
        if (descriptor < 0 || descriptor == kept) continue;
        close_held(&descriptor);
        hold(context, number, -1);
    }
}

// The descriptor under the number that later steps know it by; -1 passes through with its errno.
int publish(struct context *context, uint16_t to, int descriptor) {
    if (descriptor < 0) return -1;
    int before = held(context, to);
    close_held(&before);
    hold(context, to, descriptor);
    return 0;
}

// The cause of the failure stays what it is when an undo fails too.
static void describe_failure(struct context *context, const char *format, va_list arguments) {
    if (!context->undoing) format_list(context->failure.text, sizeof context->failure.text, format, arguments);
}

// Add to errno what the failure is about. Returns -1.
int explain(struct context *context, const char *format, ...) {
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    describe_failure(context, format, arguments);
    va_end(arguments);
    errno = error;
    return -1;
}

// Fail with a text; `error` 0 where the text says all. Returns -1.
int refuse(struct context *context, int error, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    describe_failure(context, format, arguments);
    va_end(arguments);
    errno = error;
    return -1;
}

// Milliseconds of CLOCK_MONOTONIC.
uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

// A field of proc_pid_stat(5), 0 where it cannot be read: they are counted behind the name, which may hold anything.
uint64_t process_number(const char *path, int wanted) {
    char line[1024];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read_up_to(file, line, sizeof line - 1);
    close_held(&file);
    if (length <= 0) return 0;
    line[length] = '\0';
    char *at = strrchr(line, ')');
    for (int field = 2; at && field < wanted; field++) at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

// Our start in clock ticks since boot.
uint64_t start_clock(void) { return process_number("/proc/self/stat", STAT_START_TIME); }

char *format_text(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t length = format_list(NULL, 0, format, arguments);
    char *text = keep(length + 1);
    format_list(text, length + 1, format, arguments);
    va_end(arguments);
    return text;
}

int write_all(int descriptor, const void *data, size_t length) {
    const char *at = data;
    while (length) {
        ssize_t written = write(descriptor, at, length);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return -1;
        at += written;
        length -= (size_t)written;
    }
    return 0;
}

// As much as there is, up to `length`; -1 on error.
ssize_t read_up_to(int descriptor, void *data, size_t length) {
    size_t done = 0;
    while (done < length) {
        ssize_t got = read(descriptor, (char *)data + done, length - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        if (got == 0) break;
        done += (size_t)got;
    }
    return (ssize_t)done;
}

// The same from the beginning, wherever others of this open file stand in it. ESPIPE for what has no beginning.
ssize_t read_from_start(int descriptor, void *data, size_t length) {
    size_t done = 0;
    for (;;) {
        ssize_t got = pread(descriptor, (char *)data + done, length - done, (off_t)done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -1;
        done += (size_t)got;
        if (got == 0 || done == length) return (ssize_t)done;
    }
}

void close_held(int *descriptor) {
    int error = errno;
    if (*descriptor >= 0) close(*descriptor);
    *descriptor = -1;
    errno = error;
}

const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// fork(2) by clone3(2), with `flags`; the child born in `cgroup` where that is a descriptor.
pid_t start_child(uint64_t flags, int *pidfd, int cgroup) {
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
    if (pidfd) {
        args.flags |= CLONE_PIDFD;
        args.pidfd = (uintptr_t)pidfd;
    }
    if (cgroup >= 0) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)cgroup;
    }
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

// fork(2), which the C library would do more for. Not by clone3(2): what that makes no filter sees, so none lets it through.
pid_t fork_child(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }

// capset(2): effective is what is permitted. A change of ids takes the effective set away.
int raise_capabilities(void) {
    struct capability_header header = {.version = CAPABILITY_VERSION};
    struct capability_sets sets[2];
    if (syscall(SYS_capget, &header, sets) < 0) return -1;
    for (int i = 0; i < 2; i++) sets[i].effective = sets[i].permitted;
    return (int)syscall(SYS_capset, &header, sets);
}
