// The outcome as JSON (volt/model/run.py, version 1), and the step that opens and writes its file.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "json.h"
#include "restart.h"
#include "volt.h"
#include "table.h"

// Bytes: each byte of a message may take six.
#define DOCUMENT_LIMIT (16 * FAILURE_TEXT)

static void add_failure(struct document *to, const struct context *context) {
    struct found found;
    char message[2 * FAILURE_TEXT], over[256];
    bool happened = context->failure.happened;
    bool known = happened && find_step(&context->program, context->failure.number, &found);
    message[0] = '\0';
    if (happened) failure_message(context, message, sizeof message);
    else events_message(context, message, sizeof message);
    if (!message[0]) ready_message(context, message, sizeof message);
    restart_message(context, over, sizeof over);
    size_t told = strlen(message);
    if (over[0]) format_into(message + told, sizeof message - told, "%s%s", told ? "; " : "", over);
    add_field(to, "step", known ? operation_name(found.opcode) : NULL);
    if (known) add(to, ", \"number\": %u", context->failure.number);
    else add(to, ", \"number\": null");
    add_field(to, "error", happened && context->failure.error ? error_name(context->failure.error) : NULL);
    if (!context->undone) {
        size_t used = strlen(message);
        format_into(message + used, sizeof message - used, "%snot undone: %s", used ? "; " : "", context->left);
    }
    add_field(to, "message", message);
    add_field(to, "hint", failure_hint(context));
}

static void add_events(struct document *to, const struct events *events) {
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
        {"oom_kills", events->oom_kills},       {"memory_throttled", events->throttled},
        {"pids_refused", events->refused},      {"memory_stall", events->memory_stall},
        {"cpu_stall", events->cpu_stall},       {"io_stall", events->io_stall},
    };
    add(to, ", \"events\": ");
    if (!events->known) {
        add(to, "null");
        return;
    }
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        add(to, "%s\"%s\": %lu", i ? ", " : "{", fields[i].name, (unsigned long)fields[i].value);
    add(to, "}");
}

// Paths of the ruleset that were passed over.
static void add_skipped(struct document *to, const char *text) {
    add(to, ", \"skipped\": [");
    for (size_t length; text && *text; text += length + (text[length] == '\n')) {
        length = strcspn(text, "\n");
        add_string(to, format_text("%.*s", (int)length, text));
        if (text[length]) add(to, ", ");
    }
    add(to, "]");
}

size_t outcome_document(const struct context *context, char *to, size_t size) {
    struct document document = {.at = to, .left = size};
    int signal = context->failure.happened ? 0 : context->result.wait_status & 0x7f;
    add(&document, "{\"version\": 1, \"by\": \"%s\", \"status\": %d", context->failure.happened ? "volt" : "payload",
        exit_status(context));
    if (signal) add(&document, ", \"signal\": %d", signal);
    else add(&document, ", \"signal\": null");
    add_failure(&document, context);
    add(&document, ", \"undone\": %s", context->undone ? "true" : "false");
    add_field(&document, "ended", context->result.ended);
    add_events(&document, &context->events);
    add_skipped(&document, context->skipped);
    add(&document, "}\n");
    return document.length;
}

// A device, a pipe or a link is written to as it is: only a file of its own is replaced whole.
static bool replaceable(const char *path) {
    struct stat status;
    return lstat(path, &status) < 0 ? errno == ENOENT : S_ISREG(status.st_mode);
}

static bool asked_to_end(void) {
    static const int ends[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    sigset_t waiting;
    sigpending(&waiting);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (sigismember(&waiting, ends[i])) return true;
    return false;
}

// A pipe opens when somebody reads it. Until then whoever wants the launch ended may.
static int open_pipe(const char *path) {
    const struct timespec moment = {.tv_nsec = 20000000};
    for (;;) {
        int file = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
        if (file >= 0 && fcntl(file, F_SETFL, O_WRONLY) < 0) close_held(&file);
        if (file >= 0 || errno != ENXIO) return file;
        errno = EINTR;
        if (asked_to_end()) return -1;
        nanosleep(&moment, NULL);
    }
}

// /dev/stdout and the like: written to through our own descriptor, for opened again a file would be cut short.
static int open_special(const char *path) {
    struct stat named, own;
    for (int n = STDOUT_FILENO; stat(path, &named) == 0 && n <= STDERR_FILENO; n++)
        if (fstat(n, &own) == 0 && own.st_ino == named.st_ino && own.st_dev == named.st_dev)
            return fcntl(n, F_DUPFD_CLOEXEC, 3);
    if (stat(path, &named) == 0 && S_ISFIFO(named.st_mode)) return open_pipe(path);
    return open(path, O_WRONLY | O_TRUNC | O_NOCTTY | O_CLOEXEC);
}

int do_report(struct context *context, const struct step_report *step) {
    struct deed *deed = context->deed;
    mode_t mode = 0666 & ~context->callers_umask;
    if (!step->path[0]) {
        if (fcntl((int)step->descriptor, F_SETFD, FD_CLOEXEC) < 0) return -1;
        deed->descriptor = (int)step->descriptor;
    } else if (replaceable(step->path)) {
        deed->path = format_text("%s.volt-%d", step->path, getpid());
        deed->descriptor = open(deed->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    } else {
        deed->descriptor = open_special(step->path);
    }
    if (deed->descriptor < 0) return explain(context, "%s", step->path);
    deed->made = true;
    return 0;
}

int write_outcome(const struct context *context, int descriptor) {
    char *document = keep(DOCUMENT_LIMIT);
    return write_all(descriptor, document, outcome_document(context, document, DOCUMENT_LIMIT));
}

int undo_report(struct context *context, const struct step_report *step, struct deed *deed, enum ending ending) {
    (void)ending;
    if (deed->descriptor < 0) return 0;
    int result = write_outcome(context, deed->descriptor);
    if (deed->path && result == 0) result = fsync(deed->descriptor);
    if (deed->path && result == 0) result = rename(deed->path, step->path);
    if (deed->path && result < 0) unlink(deed->path);
    close_held(&deed->descriptor);
    return result;
}
