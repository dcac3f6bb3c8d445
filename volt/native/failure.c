// A failure in words: the step, the cause, what to do next; nothing that a terminal would obey.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "volt.h"
#define VOLT_TABLE_ERRORS
#include "table.h"

#define NOT_READY "volt logs shows what it wrote; service.ready_timeout is the time that it has"

static const struct {
    unsigned opcode;
    int error; // 0: any
    const char *hint;
} hints[] = {
    {OP_CLAIM_NAME, 0, "wait for its end, or give the workload another name"},
    {OP_CLAIM_UIDS, 0, "every range of uids is in use: end a run first"},
    {OP_CLAIM_PORTS, 0, "publish another port of the host's, or end what holds this one"},
    {OP_ENSURE_RESOLVER, 0,
     "leave port 53 of that address to it, or write dns in [network]; the next launch is planned anew"},
    {OP_LOAD_MODULES, 0, "the kernel's log may say more: dmesg"},
    {OP_SET_MOUNT, EINVAL,
     "this file system cannot be mounted with mapped ids: keep the folder on ext4, xfs, btrfs or tmpfs (kernel 6.3)"},
    {OP_SET_MOUNT, EPERM, "this file system was mounted where its ids cannot be mapped again"},
    {OP_OPEN, ENOENT, "it was there when the launch was planned: start it again"},
    {OP_OPEN, ESTALE, "it was replaced since the launch was planned: start it again"},
    {OP_PIN_FILE, 0, "discard it with --fresh"},
    {OP_SEAL_FILE, ENOENT, "the manifest's env_file is read at each launch"},
    {OP_MAKE_CGROUP, ENOENT, "the cgroup above it is gone: start volt from one that exists"},
    {OP_MAKE_CGROUP, EROFS, "cgroup v2 has to be writable: mount -o remount,rw /sys/fs/cgroup"},
    {OP_START_SCOPE, 0, "systemctl status volt.slice tells more"},
    {OP_SET_CONTROL, EBUSY, "the cgroup above holds processes: move them to one below it"},
    {OP_SET_CONTROL, ENOENT, "the controller went away since the launch was planned: start it again"},
    {OP_CHANGE_FOLDER, ENOENT, "workload.workdir has to exist inside"},
    {OP_CHANGE_FOLDER, EACCES, "workload.user may not enter workload.workdir"},
    {OP_AWAIT_LINE, 0, NOT_READY},
    {OP_AWAIT_NOTICE, 0, NOT_READY},
    {OP_AWAIT_FILE, 0, NOT_READY},
    {OP_AWAIT_PORT, 0, NOT_READY},
    {OP_REPORT, 0, "the outcome has to be writable before anything starts"},
    {OP_ATTACH_INSIDE, EROFS, "the mount point is missing in a read-only root: make it in the image"},
};

// Bytes of the UTF-8 sequence that begins here, 0 where it is none.
size_t utf8_sequence(const char *from, size_t length) {
    const unsigned char *text = (const unsigned char *)from;
    size_t needed = text[0] < 0x80 ? 1 : text[0] < 0xc2 ? 0 : text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : text[0] < 0xf5 ? 4 : 0;
    if (needed > length) return 0;
    for (size_t i = 1; i < needed; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    if (text[0] == 0xe0 && text[1] < 0xa0) return 0; // overlong
    if (text[0] == 0xed && text[1] > 0x9f) return 0; // a surrogate
    if (text[0] == 0xf0 && text[1] < 0x90) return 0; // overlong
    if (text[0] == 0xf4 && text[1] > 0x8f) return 0; // beyond U+10FFFF
    return needed;
}

// Whether a terminal may show this sequence. Bytes that are no UTF-8 it may take for C1 control characters.
static bool shown(const char *from, size_t sequence) {
    unsigned char first = (unsigned char)from[0];
    if (sequence == 2 && first == 0xc2) return (unsigned char)from[1] >= 0xa0;
    return sequence > 0 && first >= 0x20 && first != 0x7f;
}

// Copies text so that no terminal obeys it: what it must not see becomes \xNN, byte by byte. Always ends it.
void harmless(char *to, size_t size, const char *from, size_t length) {
    size_t used = 0;
    for (size_t i = 0, step; i < length; i += step) {
        size_t sequence = utf8_sequence(from + i, length - i);
        bool as_it_is = shown(from + i, sequence);
        step = sequence ? sequence : 1;
        if (used + (as_it_is ? step : 4 * step) >= size) break;
        for (size_t n = i; n < i + step; n++)
            used += format_into(to + used, size - used, as_it_is ? "%c" : "\\x%02x", (unsigned char)from[n]);
    }
    if (size) to[used] = '\0';
}

const char *error_name(int number) {
    for (size_t i = 0; i < sizeof error_names / sizeof *error_names; i++)
        if (error_names[i].number == number) return error_names[i].name;
    return NULL;
}

// The command itself could not be run: everything up to its exec went well.
static bool cannot_run(const struct context *context, const struct found *found) {
    return found->opcode == OP_EXECUTE && found->payload && context->failure.error != 0;
}

int exit_status(const struct context *context) {
    struct found found;
    if (context->failure.happened) {
        if (!find_step(&context->program, context->failure.number, &found) || !cannot_run(context, &found))
            return VOLT_FAILED;
        return context->failure.error == ENOENT ? COMMAND_NOT_FOUND : CANNOT_EXECUTE;
    }
    int status = context->result.wait_status;
    return (status & 0x7f) ? 128 + (status & 0x7f) : (status >> 8) & 0xff;
}

// "step 12, set-mount (volume /data): Invalid argument", without the program's name.
void failure_message(const struct context *context, char *to, size_t size) {
    const struct failure *failure = &context->failure;
    struct found found;
    char text[FAILURE_TEXT], step[400] = "";
    harmless(text, sizeof text, failure->text, strlen(failure->text));
    bool known = find_step(&context->program, failure->number, &found);
    const char *error = failure->error ? strerror(failure->error) : "", *between = "";
    if (known && cannot_run(context, &found)) {
        format_into(to, size, "cannot run '%s': %s", text, error);
        return;
    }
    if (known)
        format_into(step, sizeof step, found.note[0] ? "step %u, %s (%s): " : "step %u, %s: %s", failure->number,
                 operation_name(found.opcode), found.note);
    if (text[0] && error[0]) between = ": ";
    format_into(to, size, "%s%s%s%s", step, text, between, error);
}

const char *failure_hint(const struct context *context) {
    const struct failure *failure = &context->failure;
    struct found found;
    if (!failure->happened || !find_step(&context->program, failure->number, &found)) return "";
    if (cannot_run(context, &found)) return "";
    if (context->events.oom_kills && found.opcode == OP_EXECUTE)
        return "memory_limit is too small: systemd-nspawn and the init take some 5 MiB of it while they start";
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (hints[i].opcode == found.opcode && (hints[i].error == 0 || hints[i].error == failure->error))
            return hints[i].hint;
    return "";
}

void print_failure(const struct context *context) {
    char message[2 * FAILURE_TEXT], lines[4 * FAILURE_TEXT];
    if (!context->failure.happened && context->undone) return;
    size_t length = 0;
    if (context->failure.happened) {
        const char *hint = failure_hint(context);
        failure_message(context, message, sizeof message);
        length = format_into(lines, sizeof lines, "volt: %s\n%s%s%s", message, hint[0] ? "hint: " : "", hint,
                          hint[0] ? "\n" : "");
    }
    if (!context->undone)
        length += format_into(lines + length, sizeof lines - length,
                           "volt: not undone: %s\nhint: the next volt command tries again\n", context->left);
    write_all(STDERR_FILENO, lines, length);
}
