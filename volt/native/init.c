// The init, PID 1 of the container: it performs its section, starts the payload, forwards signals and reaps.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frames.h"
#include "kernel.h"

#define FIRST_INHERITED 3
#define PROGRAM_NUMBER 1 // the program itself is handed on first, and may be sealed too

// ── the payload, up to its exec

// Standard descriptor `n`: the terminal, the caller's own, or /dev/null, which is the init's standard input.
static int place_standard(const struct context *context, const struct step_start_payload *step, unsigned n) {
    int source = STDIN_FILENO;
    if (step->terminal >> n & 1) source = context->terminal;
    else if (n < step->stdio.count && step->stdio.items[n] >= 0) source = step->stdio.items[n];
    return dup2(source, (int)n) < 0 ? -1 : 0;
}

static int prepare(struct context *context, const struct step_start_payload *step) {
    // Standard input last: until then it is the /dev/null for the others.
    for (unsigned n = 3; n-- > 0;)
        if (place_standard(context, step, n) < 0) return explain(context, "standard descriptor %u", n);
    if (setsid() < 0) return -1;
    if (context->terminal >= 0 && ioctl(context->terminal, TIOCSCTTY, 0) < 0) return explain(context, "terminal");
    return 0;
}

static _Noreturn void payload_main(struct context *context, const struct step_start_payload *step) {
    uint32_t own = context->deed->number;
    close_held(&context->control);
    if (prepare(context, step) < 0) {
        context->failure.number = own;
        context->failure.error = errno;
    } else if (perform_section(context, true) == 0) {
        context->failure = (struct failure){.number = own};
        refuse(context, 0, "the payload's steps do not end in an exec");
    }
    send_failure(context->report_pipe, &context->failure);
    _exit(VOLT_FAILED);
}

// ── the init

// Signals that a terminal sends to a whole group go to the payload's; the others are meant for it alone.
void signal_payload(const struct context *context, uint32_t number) {
    // From inside nothing kills process 1: the supervisor ends all of it, as when it is told that it has ended.
    if (context->payload == 1 && number == SIGKILL) send_number(context->control, FRAME_EXITED, SIGKILL);
    bool group = context->payload != 1 && (number == SIGINT || number == SIGQUIT || number == SIGHUP || number == SIGSTOP || number == SIGCONT);
    if (number > 0 && number <= 64 && context->payload > 0)
        kill(group ? -context->payload : context->payload, (int)number);
}

// The socket closes when the exec has succeeded; else a frame says which step failed.
static int await_exec(struct context *context, int socket) {
    struct frame frame;
    int got = receive_frame(socket, &frame);
    if (got == 0) return 0;
    if (got < 0 || frame.type != FRAME_FAILED || !frame_failure(&frame, &context->failure))
        return refuse(context, EPROTO, "the payload's report");
    errno = context->failure.error;
    return -1;
}

int do_start_payload(struct context *context, const struct step_start_payload *step) {
    int pair[2];
    if (frame_pair(pair) < 0) return -1;
    context->report_pipe = pair[1];
    context->payload = fork_child();
    if (context->payload == 0) payload_main(context, step);
    int error = errno;
    close_held(&context->report_pipe);
    errno = error;
    int result = context->payload < 0 ? -1 : await_exec(context, pair[0]);
    error = errno;
    close(pair[0]);
    errno = error;
    return result;
}

// ── the image's init

// Where it is no session's leader yet, it becomes one by itself; the console is not taken for it.
static _Noreturn void become_init(struct context *context, const struct step_start_init *step) {
    const struct step_start_payload standard = {.terminal = step->terminal};
    struct frame frame;
    for (unsigned n = 3; n-- > 0;)
        if (place_standard(context, &standard, n) < 0) explain(context, "standard descriptor %u", n);
    if (!context->failure.text[0] && perform_section(context, true) == 0) {
        context->failure = (struct failure){.number = context->deed->number};
        refuse(context, 0, "the steps of the init do not end in an exec");
    }
    // The child passes it on, and ends: with process 1 it would have ended before.
    send_failure(context->report_pipe, &context->failure);
    receive_frame(context->report_pipe, &frame);
    _exit(VOLT_FAILED);
}

int do_start_init(struct context *context, const struct step_start_init *step) {
    int pair[2];
    sigset_t ending;
    if (frame_pair(pair) < 0) return -1;
    pid_t child = fork_child();
    if (child < 0) return -1;
    close_held(&pair[child == 0]);
    if (child > 0) {
        context->report_pipe = pair[1];
        become_init(context, step);
    }
    // An init that ends everything waits for us too.
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigprocmask(SIG_UNBLOCK, &ending, NULL);
    context->payload = 1;
    int result = await_exec(context, pair[0]), error = errno;
    close(pair[0]);
    errno = error;
    return result;
}

// Every child that has ended; true when the payload is among them.
static bool reap(const struct context *context, int *payload_status) {
    bool ended = false;
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0;)
        if (pid == context->payload) {
            *payload_status = status;
            ended = true;
        }
    return ended;
}

// Nothing of the program is needed any more: memory is what the init costs from here on.
static void rest(void) {
    forget_all();
    drop_stack();
    drop_program();
}

// Until the payload has ended, or the supervisor has.
static int tend(struct context *context) {
    struct signalfd_siginfo info;
    struct frame frame;
    uint32_t number;
    for (int status = 0;;) {
        struct pollfd polls[] = {{context->control, POLLIN, 0}, {context->signals, POLLIN, 0}};
        if (poll(polls, 2, -1) < 0) continue;
        if (polls[1].revents && read(context->signals, &info, sizeof info) > 0 && reap(context, &status))
            return send_number(context->control, FRAME_EXITED, (uint32_t)status);
        if (!polls[0].revents) continue;
        if (receive_frame(context->control, &frame) <= 0) return -1;
        if (!frame_number(&frame, &number)) return -1;
        if (frame.type == FRAME_SIGNAL) signal_payload(context, number);
        else if (frame.type == FRAME_SESSION && frame.descriptor >= 0) start_session(context, frame.descriptor, number);
        else return -1;
    }
}

// The descriptor that is inherited under a number.
static int inherited_as(unsigned number) { return FIRST_INHERITED + (int)number - 1; }

// Of what is handed on from the plan, env files alone are sealed; the caller's own have been closed, or do no harm.
static bool is_env_file(unsigned number, int descriptor) {
    int seals = fcntl(descriptor, F_GET_SEALS);
    return number != PROGRAM_NUMBER && seals >= 0 && seals & F_SEAL_WRITE;
}

// For a session, which has forgotten what the init held.
void hold_env_files(struct context *context) {
    for (unsigned i = 1; i <= context->program.registers; i++)
        if (is_env_file(i, inherited_as(i))) hold(context, i, inherited_as(i));
}

static int prepare_init(struct context *context, int program) {
    const sigset_t all = every_signal();
    sigset_t ending;
    sigprocmask(SIG_SETMASK, &all, NULL);
    umask(022);
    if (k_close_range(FIRST_INHERITED, ~0u, CLOSE_RANGE_CLOEXEC) < 0) return -1;
    sigemptyset(&ending);
    sigaddset(&ending, SIGCHLD);
    context->signals = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
    if (context->signals < 0 || load_program(context, program, true) < 0) return -1;
    for (unsigned i = 1; i <= context->program.registers; i++) hold(context, i, inherited_as(i));
    // Kept for sessions, which do what the payload has done: sealed, and in nobody's reach inside.
    context->inside = program;
    hold(context, (unsigned)(program - FIRST_INHERITED) + 1, -1);
    return 0;
}

// The payload has its own copies: held here they would hide the end of a pipe from its other end. Env files are for
// sessions, which need what they say again.
static void close_but_env_files(struct context *context) {
    for (unsigned number = 1; number < context->held_end; number++) {
        int descriptor = held(context, number);
        if (descriptor < 0 || descriptor == context->control || is_env_file(number, descriptor)) continue;
        close_held(&descriptor);
        hold(context, number, -1);
    }
}

int init_main(struct context *context, int control, int program) {
    context_init(context);
    context->control = control;
    int result = prepare_init(context, program);
    if (result < 0) context->failure.error = errno;
    else result = perform_section(context, false);
    if (result < 0) {
        send_failure(control, &context->failure);
        return VOLT_FAILED;
    }
    close_but_env_files(context);
    send_frame(control, FRAME_STARTED, context->left, (uint32_t)strlen(context->left), -1);
    for (uint32_t number = 1; number <= 64; number++)
        if (context->early_signals >> (number - 1) & 1) signal_payload(context, number);
    rest();
    return tend(context) < 0 ? VOLT_FAILED : 0;
}
