// What the limits of a run have done: read from its cgroup when it is over, told in words and in the outcome.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "volt.h"
#include "table.h"

#define EVENTS_TEXT 1024 // bytes of one of these files

// A file of the cgroup as text; false, and "", where the controller is not there, or nothing is set.
static bool read_control(const char *path, const char *name, char *to, size_t size) {
    int file = open(format_text("%s/%s", path, name), O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read_up_to(file, to, size - 1);
    close_held(&file);
    to[length < 0 ? 0 : length] = '\0';
    return length > 0;
}

// The number behind `key` at the start of a line, or behind total= of the line "some" of a pressure.
static uint64_t number_of(const char *text, const char *key) {
    size_t length = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, key, length) == 0 && line[length] == ' ') {
            const char *end = strchr(line, '\n'), *total = strstr(line, "total=");
            bool within = total && (!end || total < end);
            return strtoull(within ? total + 6 : line + length, NULL, 10);
        }
    return 0;
}

static uint64_t event(const char *path, const char *file, const char *key) {
    char text[EVENTS_TEXT];
    return read_control(path, file, text, sizeof text) ? number_of(text, key) : 0;
}

// 0 for none: "max".
static uint64_t limit(const char *path, const char *file) {
    char text[EVENTS_TEXT];
    return read_control(path, file, text, sizeof text) ? strtoull(text, NULL, 10) : 0;
}

int do_watch_limits(struct context *context, const struct step_watch_limits *step) {
    context->deed->path = format_text("%s", step->path);
    context->limited = context->deed_count + 1;
    return 0;
}

void read_events(struct context *context) {
    if (!context->limited) return;
    const char *path = context->deeds[context->limited - 1].path;
    char memory[EVENTS_TEXT];
    read_control(path, "memory.events", memory, sizeof memory);
    context->events = (struct events){
        .known = true,
        .memory_limit = limit(path, "memory.max"),
        .oom_kills = number_of(memory, "oom_kill"),
        .oom = number_of(memory, "oom"),
        .throttled = number_of(memory, "high"),
        .refused = event(path, "pids.events", "max"),
        .memory_stall = event(path, "memory.pressure", "some"),
        .cpu_stall = event(path, "cpu.pressure", "some"),
        .io_stall = event(path, "io.pressure", "some"),
    };
}

// "512 MiB": the largest unit that leaves nothing over.
static void size_text(char *to, size_t size, uint64_t bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (unit + 1 < sizeof units / sizeof *units && bytes && bytes % 1024 == 0) bytes /= 1024, unit++;
    format_into(to, size, "%lu %s", (unsigned long)bytes, units[unit]);
}

// Why the payload, or a part of it, was ended by a limit; "" where none was.
void events_message(const struct context *context, char *to, size_t size) {
    const struct events *events = &context->events;
    char most[64], where[96] = " on this machine";
    to[0] = '\0';
    if (!events->oom_kills || context->failure.happened) return;
    if (events->memory_limit && events->oom) {
        size_text(most, sizeof most, events->memory_limit);
        format_into(where, sizeof where, " at %s", most);
    }
    bool payload = context->result.exited && (context->result.wait_status & 0x7f) == SIGKILL && !context->result.ended;
    if (payload) format_into(to, size, "killed: out of memory%s", where);
    else format_into(to, size, "%lu of its processes %s killed: out of memory%s", (unsigned long)events->oom_kills,
                     events->oom_kills == 1 ? "was" : "were", where);
}

void print_events(const struct context *context) {
    char text[256], line[320];
    const struct events *events = &context->events;
    if (context->failure.happened) return;
    events_message(context, text, sizeof text);
    if (!text[0]) ready_message(context, text, sizeof text);
    if (text[0]) write_all(STDERR_FILENO, line, format_into(line, sizeof line, "volt: %s\n", text));
    if (!events->known || !events->refused) return;
    write_all(STDERR_FILENO, line,
              format_into(line, sizeof line, "volt: pids_max was hit: %lu times no process or thread was started\n",
                          (unsigned long)events->refused));
}
