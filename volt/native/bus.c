// Asking systemd for a scope over D-Bus: the request comes with the plan, the answer is waited for here.
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus.h"
#include "table.h"

#define BUS_ANSWERS 10000 // milliseconds: systemd answers within a few, or is in trouble
#define BUS_MOST (1u << 16) // bytes of one message that is read; those that we wait for take a few hundred
#define BUS_LONGEST (1u << 27) // … of any, D-Bus Specification, "Message Format"
#define START_NUMBER 3u // volt/plan/bus.py: the last of the messages sent

enum { FIELD_MEMBER = 3, FIELD_REPLY = 5 };

struct cursor {
    const uint8_t *start;
    size_t at, length;
    bool damaged;
};

static const uint8_t *take(struct cursor *in, size_t align, size_t length) {
    size_t at = (in->at + align - 1) & ~(align - 1);
    if (in->damaged || at > in->length || length > in->length - at) {
        in->damaged = true;
        return NULL;
    }
    in->at = at + length;
    return in->start + at;
}

static uint32_t take_u32(struct cursor *in) {
    const uint8_t *bytes = take(in, 4, 4);
    return bytes ? bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24 : 0;
}

// A string or an object path: its length, its bytes, NUL.
static const char *take_string(struct cursor *in) {
    uint32_t length = take_u32(in);
    const uint8_t *text = length < BUS_MOST ? take(in, 1, (size_t)length + 1) : NULL;
    if (!text || text[length] != 0) in->damaged = true;
    return in->damaged ? "" : (const char *)text;
}

// One field of the header: its code, the signature of its value, the value.
static void take_field(struct cursor *in, struct bus_message *message) {
    const uint8_t *code = take(in, 8, 1), *length = take(in, 1, 1);
    const uint8_t *signature = length ? take(in, 1, (size_t)*length + 1) : NULL;
    if (!signature || *length != 1) {
        in->damaged = true;
        return;
    }
    if (*signature == 'u') {
        uint32_t number = take_u32(in);
        if (*code == FIELD_REPLY) message->reply_to = number;
    } else if (*signature == 's' || *signature == 'o') {
        const char *text = take_string(in);
        if (*code == FIELD_MEMBER) message->member = text;
    } else if (*signature == 'g') {
        const uint8_t *size = take(in, 1, 1);
        if (size) take(in, 1, (size_t)*size + 1);
    } else {
        in->damaged = true;
    }
}

// An error's words, where it has any; JobRemoved's u number, o job, s unit, s result. Others are none of ours.
static void take_body(struct cursor *in, struct bus_message *message) {
    if (message->type == ERROR && in->at < in->length) message->strings[0] = take_string(in);
    if (message->type != SIGNAL || strcmp(message->member, "JobRemoved") != 0) return;
    take_u32(in);
    for (size_t i = 0; i < BUS_STRINGS; i++) message->strings[i] = take_string(in);
}

size_t bus_message_length(const uint8_t *header) {
    struct cursor in = {header, 4, BUS_HEADER, false};
    uint64_t body = take_u32(&in);
    in.at = 12;
    uint64_t fields = ((uint64_t)take_u32(&in) + 7) & ~(uint64_t)7, whole = BUS_HEADER + fields + body;
    return header[0] == 'l' && header[3] == 1 && whole <= BUS_LONGEST ? (size_t)whole : 0;
}

bool bus_parse(struct bytes whole, struct bus_message *message) {
    struct cursor in = {whole.start, 12, whole.length, false};
    uint32_t fields = take_u32(&in);
    *message = (struct bus_message){.type = whole.start[1], .member = "", .strings = {"", "", ""}};
    if (in.damaged || fields > whole.length - BUS_HEADER) return false;
    while (!in.damaged && in.at < BUS_HEADER + fields) take_field(&in, message);
    take(&in, 8, 0);
    take_body(&in, message);
    return !in.damaged;
}

// Reads exactly `length` bytes by the deadline.
static int receive(int bus, void *to, size_t length, uint64_t deadline) {
    char *at = to;
    while (length) {
        struct pollfd ready = {.fd = bus, .events = POLLIN};
        uint64_t time = now();
        int count = time < deadline ? poll(&ready, 1, (int)(deadline - time)) : 0;
        if (count < 0 && errno == EINTR) continue;
        if (count == 0) errno = ETIMEDOUT;
        if (count <= 0) return -1;
        ssize_t got = recv(bus, at, length, 0);
        if (got == 0) errno = ECONNRESET;
        if (got <= 0) return -1;
        at += got;
        length -= (size_t)got;
    }
    return 0;
}

// The bus lets us in with a line "OK" and its id; anything else is its refusal.
static int log_in(struct context *context, int bus, uint64_t deadline) {
    char line[512];
    size_t length = 0;
    while (length < 2 || line[length - 1] != '\n') {
        if (length == sizeof line - 1) return refuse(context, EPROTO, "the bus");
        if (receive(bus, line + length++, 1, deadline) < 0) return explain(context, "the bus");
    }
    line[length - 2] = '\0';
    return strncmp(line, "OK ", 3) == 0 ? 0 : refuse(context, EACCES, "the bus answers: %s", line);
}

// What is too long to be read.
static int pass_over(int bus, uint8_t *buffer, size_t length, uint64_t deadline) {
    for (size_t part; length; length -= part) {
        part = length < BUS_MOST ? length : BUS_MOST;
        if (receive(bus, buffer, part, deadline) < 0) return -1;
    }
    return 0;
}

// Whoever is on the bus may send us a signal, of any length and with anything in it: what is not understood of one says
// nothing, and is no failure.
static int next_message(struct context *context, int bus, uint8_t *buffer, struct bus_message *message,
                        uint64_t deadline) {
    if (receive(bus, buffer, BUS_HEADER, deadline) < 0) return explain(context, "systemd, over the bus");
    size_t length = bus_message_length(buffer), rest = length - BUS_HEADER;
    bool tells = buffer[1] == SIGNAL;
    if (length == 0 || (length > BUS_MOST && !tells)) return refuse(context, EPROTO, "the bus");
    int got = length > BUS_MOST ? pass_over(bus, buffer, rest, deadline) : receive(bus, buffer + BUS_HEADER, rest, deadline);
    if (got < 0) return explain(context, "the bus");
    if (length <= BUS_MOST && bus_parse((struct bytes){buffer, length}, message)) return 0;
    *message = (struct bus_message){.type = SIGNAL, .member = "", .strings = {"", "", ""}};
    return tells ? 0 : refuse(context, EPROTO, "the bus");
}

// Until the job that makes the unit is done, or has failed.
static int await_job(struct context *context, int bus, const char *unit, uint64_t deadline) {
    struct bus_message message;
    uint8_t *buffer = keep(BUS_MOST);
    for (;;) {
        if (next_message(context, bus, buffer, &message, deadline) < 0) return -1;
        if (message.type == ERROR) return refuse(context, 0, "%s: %s", unit, message.strings[0]);
        if (message.type != SIGNAL || strcmp(message.strings[1], unit) != 0) continue;
        if (strcmp(message.strings[2], "done") == 0) return 0;
        return refuse(context, 0, "%s: systemd says '%s'", unit, message.strings[2]);
    }
}

static int connect_bus(struct context *context, const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) return refuse(context, ENAMETOOLONG, "%s", path);
    memcpy(address.sun_path, path, strlen(path));
    int bus = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bus >= 0 && connect(bus, (struct sockaddr *)&address, sizeof address) == 0) return bus;
    explain(context, "%s", path);
    close_held(&bus);
    return -1;
}

// The request with what only the launch knows in its place; NULL where it has no room for that.
static uint8_t *filled(struct context *context, const struct step_start_scope *step) {
    size_t length = step->request.length;
    if (length < RUN_DIGITS || step->run_at > length - RUN_DIGITS || step->pid_at > length - 4) return NULL;
    uint8_t *request = keep(length);
    memcpy(request, step->request.start, length);
    memcpy(request + step->run_at, context->slots.run, RUN_DIGITS);
    for (unsigned i = 0; i < 4; i++) request[step->pid_at + i] = (uint8_t)(context->slots.pid >> (8 * i));
    return request;
}

static int ask(struct context *context, int bus, const struct step_start_scope *step, uint64_t deadline) {
    const uint8_t *request = filled(context, step);
    if (!request) return refuse(context, EBADMSG, "the request is damaged");
    // A bus that does not read blocks nobody: the request is shorter than any socket's buffer.
    ssize_t sent = send(bus, request, step->request.length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != (ssize_t)step->request.length) return explain(context, "%s", step->bus);
    if (log_in(context, bus, deadline) < 0) return -1;
    return await_job(context, bus, step->unit, deadline);
}

int do_start_scope(struct context *context, const struct step_start_scope *step) {
    uint64_t deadline = now() + BUS_ANSWERS;
    int bus = connect_bus(context, step->bus);
    if (bus < 0) return -1;
    int result = ask(context, bus, step, deadline);
    close_held(&bus);
    return result;
}

// It cannot be left without another cgroup to go to; systemd removes it when we end.
int undo_start_scope(struct context *context, const struct step_start_scope *step, struct deed *deed,
                     enum ending ending) {
    (void)context, (void)step, (void)deed, (void)ending;
    return 0;
}
