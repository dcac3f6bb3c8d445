// Registering with systemd-machined: asked once the payload has started, and by nobody waited for. The connection stays
// until the answer has come: who asks is looked up meanwhile, and nobody who has gone is let.
#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus.h"
#include "kernel.h"
#include "log.h"
#include "table.h"

#define FAREWELL 1000   // milliseconds that the end of a run may wait for it
#define ANSWER 2u       // volt/plan/bus.py: the last of the messages sent, either time
#define ANSWERS 2048u   // bytes of one message; those that come take a few hundred
#define CALLS 640u      // … of what is sent at once
#define STAT_PARENT 4   // proc_pid_stat(5)
#define WHY 256u        // bytes
#define MACHINED "systemd-machine" // proc_pid_comm(5): its first 15 bytes

// In this order, where each has to be: a unit's earlier machine is known by the unit, and goes first.
enum stage { REGISTERING, LOOKING, FORGETTING, REGISTERING_AGAIN, LAST };

struct calls {
    size_t length;
    uint8_t bytes[CALLS];
};

struct machine {
    struct sockaddr_un bus;
    struct calls request, stale, farewell; // the plan's own are gone soon
    uint32_t leader_at, link_at;
    enum stage stage;
    int connection; // -1: nothing is being asked
    bool welcome, registered;
    char why[WHY];  // not
    int leader;     // a pidfd of process 1 inside; once the first has been told of
    bool told;
    size_t skip;    // bytes to come that are passed over
    size_t length;  // of what has come and is not read yet
    uint8_t bytes[ANSWERS];
};

static struct machine own; // not written to without the step

// ── a conversation

// A bus that does not read at once is in trouble: a request is shorter than any socket's buffer.
static int speak(struct machine *machine, const struct calls *calls) {
    machine->length = machine->skip = 0;
    machine->welcome = false;
    machine->connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (machine->connection < 0) return -1;
    int result = connect(machine->connection, (const struct sockaddr *)&machine->bus, sizeof machine->bus);
    if (result == 0 && send(machine->connection, calls->bytes, calls->length, MSG_NOSIGNAL) == (ssize_t)calls->length)
        return 0;
    close_held(&machine->connection);
    return -1;
}

static void forget_first(struct machine *machine, size_t length) {
    machine->length -= length;
    memmove(machine->bytes, machine->bytes + length, machine->length);
}

// The bus lets us in with a line.
static bool let_in(struct machine *machine, bool *refused) {
    const uint8_t *end = memchr(machine->bytes, '\n', machine->length);
    if (!end) return false;
    machine->welcome = memcmp(machine->bytes, "OK ", 3) == 0;
    *refused = !machine->welcome;
    forget_first(machine, (size_t)(end + 1 - machine->bytes));
    return machine->welcome;
}

// Whoever is on the bus may send us a signal, of any length and with anything in it: each is passed over, unread.
static bool pass_over_signal(struct machine *machine, size_t length) {
    if (length == 0 || machine->bytes[1] != SIGNAL) return false;
    size_t there = length < machine->length ? length : machine->length;
    machine->skip = length - there;
    forget_first(machine, there);
    return true;
}

// True once the answer is there, with `why` where that is no.
static bool heard(struct machine *machine, char *why) {
    bool refused = false;
    if (!machine->welcome && !let_in(machine, &refused)) {
        if (refused) format_into(why, WHY, "the bus lets nobody in");
        return refused;
    }
    while (machine->length >= BUS_HEADER) {
        size_t length = bus_message_length(machine->bytes);
        struct bus_message message;
        if (pass_over_signal(machine, length)) continue;
        if (length > machine->length && length <= ANSWERS) return false;
        if (length == 0 || length > ANSWERS || !bus_parse((struct bytes){machine->bytes, length}, &message)) {
            format_into(why, WHY, "what the bus says is not understood");
            return true;
        }
        if (message.type == ERROR) harmless(why, WHY, message.strings[0], strlen(message.strings[0]));
        if (message.type == ERROR && !why[0]) format_into(why, WHY, "it says no more");
        if (message.type == ERROR || (message.type == METHOD_RETURN && message.reply_to == ANSWER)) return true;
        forget_first(machine, length);
    }
    return false;
}

static void take_received(struct machine *machine, size_t length) {
    size_t passed = length < machine->skip ? length : machine->skip;
    machine->skip -= passed;
    machine->length += length;
    if (passed) forget_first(machine, passed); // nothing was left before it
}

// What has come since. True once all is said, with `why` where that is no yes.
static bool hear(struct machine *machine, char *why) {
    size_t room = ANSWERS - machine->length;
    ssize_t got = recv(machine->connection, machine->bytes + machine->length, room, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return false;
    if (got > 0) take_received(machine, (size_t)got);
    else format_into(why, WHY, "the bus: %s", got < 0 ? strerror(errno) : "it has closed the connection");
    return got <= 0 || heard(machine, why);
}

// ── the registration

static bool take_calls(struct calls *to, struct bytes from) {
    to->length = from.length;
    if (from.length > CALLS) return false;
    if (from.length) memcpy(to->bytes, from.start, from.length);
    return true;
}

int do_register_machine(struct context *context, const struct step_register_machine *step) {
    const int yes = 1;
    size_t length = step->request.length;
    bool whole = take_calls(&own.request, step->request) && take_calls(&own.farewell, step->farewell);
    if (!take_calls(&own.stale, step->stale) || !whole) return refuse(context, E2BIG, "the request");
    if (length < 4 || step->leader_at > length - 4 || step->link_at > length - 4)
        return refuse(context, EBADMSG, "the request is damaged");
    if (strlen(step->bus) >= sizeof own.bus.sun_path) return refuse(context, ENAMETOOLONG, "%s", step->bus);
    own.bus.sun_family = AF_UNIX;
    format_into(own.bus.sun_path, sizeof own.bus.sun_path, "%s", step->bus);
    own.leader_at = step->leader_at;
    own.link_at = step->link_at;
    if (own.told) close_held(&own.leader);
    own.stage = REGISTERING;
    own.connection = own.leader = -1;
    own.told = true;
    own.registered = false;
    context->machine = &own;
    // By the one who says that the payload has started, process 1 inside is known.
    return setsockopt(context->control, SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes);
}

static void say_why(const struct context *context, const char *why) {
    char line[2 * WHY];
    format_into(line, sizeof line, "systemd-machined does not list it: %s", why);
    log_say(context->log, line);
}

static void put_number(uint8_t *to, uint32_t number) {
    for (unsigned i = 0; i < 4; i++) to[i] = (uint8_t)(number >> (8 * i));
}

// Who says that an image's init has started is a child of it.
void machine_begin(struct context *context, pid_t sender) {
    struct machine *machine = context->machine;
    struct mark before = mark_memory();
    uint64_t leader = (uint64_t)sender;
    if (context->boots) leader = process_number(format_text("/proc/%d/stat", (int)sender), STAT_PARENT);
    machine->leader = leader > 1 ? k_pidfd_open((pid_t)leader) : -1;
    put_number(machine->request.bytes + machine->leader_at, (uint32_t)leader);
    if (machine->link_at) {
        find_link(context); // 0 where there is none, which is refused
        put_number(machine->request.bytes + machine->link_at, context->slots.link);
    }
    if (leader <= 1) say_why(context, "its process 1 is not seen");
    else if (speak(machine, &machine->request) < 0) say_why(context, strerror(errno));
    errno = 0;
    forget_since(before);
}

// From systemd 258 on a machine whose leader is gone is stopped by SIGTERM to who has registered it. That asks for no end:
// it has come, and what is started anew by policy would not be. machinectl(1) terminate sends it while the leader lives.
bool machine_sends(const struct signalfd_siginfo *signal) {
    struct pollfd leader = {own.leader, POLLIN, 0};
    if (!own.told || signal->ssi_signo != SIGTERM || signal->ssi_code != SI_USER || poll(&leader, 1, 0) != 1) return false;
    char name[sizeof MACHINED] = "";
    struct mark before = mark_memory();
    int file = open(format_text("/proc/%u/comm", signal->ssi_pid), O_RDONLY | O_CLOEXEC);
    if (file >= 0) read_up_to(file, name, sizeof name - 1);
    close_held(&file);
    forget_since(before);
    return strcmp(name, MACHINED) == 0;
}

// What is being asked, -1 where nothing is.
int machine_connection(const struct context *context) { return context->machine->connection; }

// What is said to the answer; NULL for nothing more.
static const struct calls *next_calls(struct machine *machine, bool refused) {
    switch (machine->stage++) {
    case REGISTERING: return refused && machine->stale.length ? &machine->stale : NULL;
    case LOOKING:
        if (!refused) return &machine->farewell;
        machine->stage = REGISTERING_AGAIN; // it has gone meanwhile, and its name is free; or it is somebody else's
        return &machine->request;
    case FORGETTING: return &machine->request;
    default: return NULL;
    }
}

void machine_take(struct context *context) {
    struct machine *machine = context->machine;
    const enum stage stage = machine->stage;
    char why[WHY] = "";
    if (!hear(machine, why)) return;
    close_held(&machine->connection);
    if (stage == REGISTERING || stage == REGISTERING_AGAIN) {
        machine->registered = !why[0];
        memcpy(machine->why, why, WHY);
    }
    const struct calls *next = next_calls(machine, why[0] != 0);
    bool given_up = (!next || speak(machine, next) < 0) && !machine->registered && stage != LAST;
    if (given_up && !context->undoing) say_why(context, machine->why); // a short run is gone when it is looked for
    errno = 0;
}

// ── its end

static void await_answer(struct context *context, uint64_t deadline) {
    struct machine *machine = context->machine;
    while (machine->connection >= 0) {
        struct pollfd one = {machine->connection, POLLIN, 0};
        uint64_t time = now();
        if (time >= deadline || poll(&one, 1, (int)(deadline - time)) == 0) close_held(&machine->connection);
        else machine_take(context);
    }
}

// The name is free for the next start at once. A machine that stays all the same goes with its unit.
int undo_register_machine(struct context *context, const struct step_register_machine *step, struct deed *deed,
                          enum ending ending) {
    (void)step, (void)deed, (void)ending;
    struct machine *machine = context->machine;
    const uint64_t deadline = now() + FAREWELL;
    machine->stale.length = 0; // nothing is registered any more
    await_answer(context, deadline);
    machine->stage = LAST;
    if (machine->registered && speak(machine, &machine->farewell) == 0) await_answer(context, deadline);
    close_held(&machine->connection);
    machine->registered = false;
    context->machine = NULL;
    errno = 0;
    return 0;
}
