// The supervisor: it passes signals and bytes between its caller and the payload until the payload has ended.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frames.h"
#include "kernel.h"
#include "log.h"
#include "machine.h"
#include "ready.h"
#include "relay.h"
#include "restart.h"
#include "terminal.h"
#include "table.h"

#define START_LIMIT 60000 // milliseconds from the guard's start to the payload's
#define ASK_AGAIN 1000    // … and an image's init has until it is asked once more to end
#define KILL_AFTER 10000  // … and that a start may still take which is not wanted any more

enum { CONTROL, SIGNALS, GUARD, LIFELINE, READY, RELAY, MACHINE, TERMINAL, LOG = TERMINAL + TERMINAL_POLLS, POLLS = LOG + LOG_STREAMS };

struct watch {
    struct context *context;
    struct terminal terminal;
    uint64_t start_by, end_at, ask_at, kill_at; // 0: not set
    uint32_t early;                     // the signal that asked for the end before the payload had started; 0: none
    bool killed, over, resting, hurried;
    bool passed_on;                     // systemd-nspawn was asked to, once, where the init is not seen
};

int do_stop_by(struct context *context, const struct step_stop_by *step) {
    context->stop_signal = step->signal;
    context->stop_timeout = step->milliseconds;
    context->stop_asked = step->asked;
    return 0;
}

static void fail(struct watch *watch, int error, const char *text) {
    struct context *context = watch->context;
    if (!context->failure.happened) {
        context->failure.happened = true;
        context->failure.error = error;
        // What no frame explains is the doing of the guard's last step: systemd-nspawn.
        context->failure.number = context->program.number + context->program.first + context->program.second - 1;
        format_into(context->failure.text, sizeof context->failure.text, "%s", text);
    }
    watch->over = true;
}

// Where what takes signals inside was ended there, seen to be or not yet, an init gets them from here.
static void forward(struct watch *watch, uint32_t number) {
    const struct context *context = watch->context;
    if (context->control >= 0 && send_number(context->control, FRAME_SIGNAL, number) == 0) return;
    if (!context->boots || signal_init(context, (int)number)) return;
    if (number == context->stop_signal && !watch->passed_on)
        watch->passed_on = k_pidfd_send_signal(context->guard_pidfd, SIGTERM) == 0;
}

// An init hears nothing before it has said what it takes: it is asked again until it has. What it has heard it may not
// hear twice: a shell would begin its trap anew.
static void ask(struct watch *watch) {
    const int number = (int)watch->context->stop_signal;
    bool again = watch->context->boots && !init_takes(watch->context, number);
    watch->ask_at = again ? now() + ASK_AGAIN : 0;
    forward(watch, (uint32_t)number);
}

// A signal to the payload, and a while later SIGKILL to everything.
static void end_payload(struct watch *watch, const char *why) {
    if (watch->kill_at) return;
    watch->context->result.ended = why;
    if (watch->context->ready) watch->context->ready->by = 0;
    watch->kill_at = now() + watch->context->stop_timeout;
    ask(watch);
}

// What systemd-nspawn wrote last, on one line.
static void last_messages(struct context *context, char *to, size_t size) {
    struct stat status;
    to[0] = '\0';
    if (context->messages < 0 || fstat(context->messages, &status) < 0) return;
    off_t from = status.st_size > (off_t)size / 2 ? status.st_size - (off_t)size / 2 : 0;
    char *raw = keep(size);
    ssize_t got = pread(context->messages, raw, size / 2, from);
    size_t length = 0;
    while (got > 0 && (raw[got - 1] == '\n' || raw[got - 1] == '\r')) got--;
    for (ssize_t i = 0; i < got; i++) {
        if (raw[i] == '\n') to[length++] = ';';
        to[length++] = raw[i] == '\n' ? ' ' : raw[i];
    }
    to[length] = '\0';
}

static void lost(struct watch *watch) {
    struct context *context = watch->context;
    char text[FAILURE_TEXT];
    if (!watch->killed && init_ended(context)) {
        watch->over = true;
        return;
    }
    if (context->result.started && watch->killed) {
        context->result.exited = true;
        context->result.wait_status = SIGKILL;
        watch->over = true;
        return;
    }
    if (watch->killed) {
        bool wanted = context->result.ended || watch->early || watch->hurried;
        fail(watch, 0, wanted ? "ended before the payload had started" : "the payload had not started after 60 seconds");
        return;
    }
    last_messages(context, text, sizeof text);
    if (context->result.started) fail(watch, 0, "the container was ended from outside");
    else fail(watch, 0, text[0] ? text : "it ended before the payload had started, and said nothing");
}

// A detached payload's terminal: what is written to it goes to the log, and its input stays open.
static int log_terminal(struct context *context, int master) {
    static const struct winsize size = {.ws_row = 24, .ws_col = 80};
    ioctl(master, TIOCSWINSZ, &size);
    context->log->streams[LOG_OUTPUT].from = master;
    context->log->console = context->boots;
    return fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
}

static void begin_terminal(struct watch *watch, struct frame *frame) {
    // A console is nobody's for moments: without a slave that stays open the master would be at its end.
    if (watch->context->boots && frame->descriptor >= 0)
        watch->context->terminal = ioctl(frame->descriptor, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (frame->descriptor >= 0 && watch->context->log) {
        if (log_terminal(watch->context, frame->descriptor) < 0) fail(watch, errno, "the payload's terminal");
        else forward(watch, GO_ON);
        return;
    }
    if (frame->descriptor < 0 || terminal_begin(&watch->terminal, watch->context, frame->descriptor) < 0)
        fail(watch, EPROTO, "the payload's terminal");
    else forward(watch, GO_ON);
}

static void cover(struct watch *watch, uint32_t step) {
    if (cover_below(watch->context) == 0) {
        forward(watch, GO_ON);
        return;
    }
    fail(watch, errno, "what systemd-nspawn left below the root");
    watch->context->failure.number = step;
}

static void join(struct watch *watch, int network, uint32_t step) {
    int result = connect_network(watch->context, network);
    int error = errno;
    close(network);
    if (result == 0) {
        forward(watch, GO_ON);
        return;
    }
    char *text = format_text("%s", watch->context->failure.text);
    fail(watch, error, text);
    watch->context->failure.number = step;
}

// As `volt stop` ends it: a unit of systemd, by SIGTERM; an init, to which these mean other things, a new start among
// them, and which hears none of them in its first moments; and a detached run that nobody else knows of yet, whose end
// is the end of the wait for it.
bool asks_to_end(const struct context *context, uint32_t number) {
    if (number == SIGTERM && (context->stop_asked || context->starter >= 0 || context->restart)) return true;
    return context->boots && (number == SIGTERM || number == SIGINT || number == SIGHUP);
}

static void ask_to_end(struct watch *watch, uint32_t number) {
    restart_unwanted(watch->context);
    if (!watch->context->result.started) watch->early = watch->early == SIGTERM ? SIGTERM : number;
    else end_payload(watch, number == SIGTERM && watch->context->starter >= 0 ? "cancelled" : NULL);
}

static void take_start(struct watch *watch, const struct frame *frame) {
    struct context *context = watch->context;
    if (frame->length) context->skipped = format_text("%.*s", (int)frame->length, frame->body);
    context->result.started = true;
    watch->start_by = 0;
    restart_started(context);
    if (ready_begin(context) < 0) {
        fail(watch, errno, "it cannot be watched");
        context->failure.number = context->ready->step;
        return;
    }
    if (context->machine) machine_begin(context, frame->sender);
    if (watch->early) ask_to_end(watch, watch->early);
}

static void take_frame(struct watch *watch, struct frame *frame) {
    struct result *result = &watch->context->result;
    uint32_t number;
    switch (frame->type) {
    case FRAME_STARTED:
        if (result->started) break;
        take_start(watch, frame);
        return;
    case FRAME_FAILED:
        if (!frame_failure(frame, &watch->context->failure)) break;
        watch->over = true;
        return;
    case FRAME_EXITED:
        if (!frame_number(frame, &number)) break;
        result->exited = watch->over = true;
        result->wait_status = (int)number;
        return;
    case FRAME_TERMINAL:
        begin_terminal(watch, frame);
        return;
    case FRAME_WATCH:
        if (ready_takes(watch->context, frame)) return;
        break;
    case FRAME_COVER:
        if (!frame_number(frame, &number)) break;
        cover(watch, number);
        return;
    case FRAME_NETWORK:
        // Once: what the messages were made from is gone when the payload has started.
        if (watch->context->result.started || frame->descriptor < 0 || !frame_number(frame, &number)) break;
        join(watch, frame->descriptor, number);
        return;
    default:
        break;
    }
    fail(watch, EPROTO, "a frame of the init");
}

static void take_frames(struct watch *watch, bool guard_ended) {
    struct context *context = watch->context;
    while (!watch->over) {
        struct frame frame;
        int got = context->control < 0 ? 0 : receive_frame(context->control, &frame);
        if (got > 0) take_frame(watch, &frame);
        else if (got == 0 && context->boots && context->result.started && !guard_ended) {
            close_held(&context->control); // an init goes on without it
            return;
        } else if (got == 0) lost(watch);
        else if (errno != EAGAIN) fail(watch, errno, "the control socket");
        else if (guard_ended) lost(watch);
        else return;
    }
}

// As a shell's job: the payload stops, the terminal is the caller's, then we stop, until someone continues us.
static void stop_with_payload(struct watch *watch) {
    struct context *context = watch->context;
    bool taken = context->terminal_taken;
    forward(watch, SIGSTOP);
    restore_mode(context);
    raise_now(SIGTSTP); // which the kernel drops where no shell could continue us
    if (taken) take_mode(context, STDIN_FILENO);
    terminal_resize(&watch->terminal);
    forward(watch, SIGCONT);
}

// A start that hangs must not hold up whoever wants it ended.
static void hurry(struct watch *watch) {
    if (watch->context->result.started || watch->start_by <= now() + KILL_AFTER) return;
    watch->start_by = now() + KILL_AFTER;
    watch->hurried = true;
}

static void take_signal(struct watch *watch, uint32_t number) {
    switch (number) {
    case SIGWINCH:
        terminal_resize(&watch->terminal);
        return;
    case SIGTSTP:
        stop_with_payload(watch);
        return;
    case SIGINT: case SIGTERM: case SIGHUP: case SIGQUIT: case SIGUSR1: case SIGUSR2: case SIGCONT:
        if (number != SIGUSR1 && number != SIGUSR2 && number != SIGCONT) hurry(watch);
        if (asks_to_end(watch->context, number)) ask_to_end(watch, number);
        else forward(watch, number);
        return;
    case SIGCHLD:
        ready_reap(watch->context);
        relay_reap(watch->context);
        return;
    default:
        if (number >= FIRST_REAL_TIME) forward(watch, number);
    }
}

uint32_t next_signal(const struct context *context) {
    struct signalfd_siginfo info;
    if (read(context->signals, &info, sizeof info) != (ssize_t)sizeof info || machine_sends(&info)) return 0;
    return info.ssi_signo;
}

static void meet_deadlines(struct watch *watch) {
    uint64_t time = now();
    if (watch->end_at && time >= watch->end_at) {
        watch->end_at = 0;
        restart_unwanted(watch->context);
        end_payload(watch, "time-limit");
    }
    if (ready_is_late(watch->context, time)) end_payload(watch, "not-ready");
    if (watch->ask_at && time >= watch->ask_at) ask(watch);
    ready_tell(watch->context, time);
    bool late = watch->start_by && time >= watch->start_by;
    if (!late && !(watch->kill_at && time >= watch->kill_at)) return;
    watch->killed = true;
    lost(watch);
}

static int until_deadline(const struct watch *watch) {
    const struct ready *ready = watch->context->ready;
    const uint64_t deadlines[] = {watch->start_by, watch->end_at, watch->ask_at, watch->kill_at, ready ? ready->by : 0,
                                  ready ? ready->tell_at : 0, relay_due(watch->context)};
    uint64_t time = now(), least = UINT64_MAX;
    for (size_t i = 0; i < sizeof deadlines / sizeof *deadlines; i++)
        if (deadlines[i] && deadlines[i] < least) least = deadlines[i];
    if (least == UINT64_MAX) return -1;
    return least <= time ? 0 : least - time > INT32_MAX ? INT32_MAX : (int)(least - time);
}

static void rest(struct watch *watch) {
    watch->resting = true;
    keep_for_undo(watch->context);
    drop_stack();
    drop_program();
}

static void watch_once(struct watch *watch) {
    struct context *context = watch->context;
    struct pollfd polls[POLLS] = {
        [CONTROL] = {context->control, POLLIN, 0},
        [SIGNALS] = {context->signals, POLLIN, 0},
        [GUARD] = {context->guard_pidfd, POLLIN, 0},
        [LIFELINE] = {context->lifeline, 0, 0}, // its other end closes: POLLHUP, which needs no asking for
    };
    terminal_watch(&watch->terminal, polls + TERMINAL);
    log_watch(context->log, polls + LOG);
    ready_watch(context, polls + READY);
    relay_watch(context, polls + RELAY);
    polls[MACHINE] = (struct pollfd){context->machine ? machine_connection(context) : -1, POLLIN, 0};
    if (poll(polls, POLLS, until_deadline(watch)) < 0) return;
    if (polls[SIGNALS].revents) {
        uint32_t number = next_signal(context);
        if (number) take_signal(watch, number);
    }
    if (polls[CONTROL].revents || polls[GUARD].revents) take_frames(watch, polls[GUARD].revents != 0);
    if (polls[LIFELINE].revents & (POLLHUP | POLLERR | POLLNVAL)) {
        close_held(&context->lifeline);
        end_payload(watch, "cancelled");
    }
    terminal_copy(&watch->terminal, polls + TERMINAL);
    log_copy(context->log, polls + LOG);
    ready_take(context, polls + READY);
    relay_take(context, polls + RELAY);
    if (polls[MACHINE].revents) {
        machine_take(context);
        watch->resting = false; // what that took is given back too
    }
    if (!watch->over) meet_deadlines(watch);
    if (!watch->over && !watch->resting && context->result.started) rest(watch);
}

// What the payload wrote last is still in its terminal. A signal says that the reader will not take it.
static void drain_terminal(struct watch *watch) {
    struct pollfd polls[1 + TERMINAL_POLLS];
    while (watch->terminal.master >= 0 && !terminal_drained(&watch->terminal)) {
        polls[0] = (struct pollfd){watch->context->signals, POLLIN, 0};
        terminal_watch(&watch->terminal, polls + 1);
        polls[1 + TERMINAL_INPUT].fd = -1;
        if (poll(polls, 1 + TERMINAL_POLLS, -1) < 0) continue;
        uint32_t number = polls[0].revents ? next_signal(watch->context) : 0;
        if (number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT) return;
        terminal_copy(&watch->terminal, polls + 1);
    }
}

void supervise(struct context *context) {
    struct watch watch = {.context = context, .start_by = now() + START_LIMIT};
    terminal_init(&watch.terminal);
    if (context->time_limit) watch.end_at = context->begun + context->time_limit;
    ready_expect(context);
    while (!watch.over) watch_once(&watch);
    end_guard(context);
    close_held(&context->terminal);
    drain_terminal(&watch);
    log_finish(context->log);
    ready_end(context);
}

