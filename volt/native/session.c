// Sessions: processes that the init forks behind the payload's wall, for whoever holds the control socket.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frames.h"
#include "kernel.h"
#include "read.h"

#define SESSION_LIMIT 60u // seconds; the asker hears of its end by its socket
#define ATTEMPT_LIMIT 5u  // seconds for the calls of one attempt
#define CALLS 8u          // in one attempt
#define ARGUMENTS 6

// One system call: which of its arguments are places in the attempt's data, and which what the call before gave.
struct call {
    uint64_t number, arguments[ARGUMENTS];
    uint32_t places, previous;
};

// The signal ends this process: a session is no handler's business.
void end_after(unsigned seconds) {
    sigset_t clock;
    sigemptyset(&clock);
    sigaddset(&clock, SIGALRM);
    sigprocmask(SIG_UNBLOCK, &clock, NULL);
    alarm(seconds);
}

static bool read_call(struct reader *in, struct call *call) {
    call->number = read_u64(in);
    for (int n = 0; n < ARGUMENTS; n++) call->arguments[n] = read_u64(in);
    call->places = read_u32(in);
    call->previous = read_u32(in);
    return !in->damaged;
}

static long perform_call(const struct call *call, uint8_t *data, size_t length, long before) {
    long values[ARGUMENTS];
    for (int n = 0; n < ARGUMENTS; n++) {
        values[n] = (long)call->arguments[n];
        if (call->previous >> n & 1) values[n] = before;
        if (!(call->places >> n & 1)) continue;
        if (call->arguments[n] >= length) return -EFAULT;
        values[n] = (long)(data + call->arguments[n]);
    }
    long number = (long)call->number; // the asker's to choose, and the filter's to refuse
    long result = syscall(number, values[0], values[1], values[2], values[3], values[4], values[5]);
    return result < 0 ? -errno : result;
}

// What the last call returned, or the first that failed.
static long perform_calls(const struct call *calls, uint32_t count, uint8_t *data, size_t length) {
    long result = 0;
    for (uint32_t i = 0; i < count && result >= 0; i++) result = perform_call(&calls[i], data, length, result);
    return result;
}

static _Noreturn void attempt_main(struct context *context, struct frame *frame, int report) {
    struct call calls[CALLS];
    struct reader in = reader_of(context, (struct bytes){frame->body, frame->length});
    uint32_t count = read_u32(&in);
    if (in.damaged || count > CALLS) _exit(VOLT_FAILED);
    for (uint32_t i = 0; i < count; i++)
        if (!read_call(&in, &calls[i])) _exit(VOLT_FAILED);
    size_t length = (size_t)(in.end - in.at);
    uint8_t *data = keep(length + 1); // what is text in it ends, whatever was sent
    memcpy(data, in.at, length);
    end_after(ATTEMPT_LIMIT);
    if (perform_section(context, true) < 0 || install_filter(context->filter) < 0) _exit(VOLT_FAILED);
    int32_t result = (int32_t)perform_calls(calls, count, data, length);
    _exit(write(report, &result, sizeof result) == (ssize_t)sizeof result ? 0 : VOLT_FAILED);
}

int send_answer(int socket, int status, int32_t result) {
    const uint32_t numbers[] = {(uint32_t)status, (uint32_t)result};
    uint8_t body[sizeof numbers];
    for (unsigned i = 0; i < sizeof body; i++) body[i] = (uint8_t)(numbers[i / 4] >> 8 * (i % 4));
    return send_frame(socket, FRAME_ANSWER, body, sizeof body, -1);
}

// By a process of its own: a filter may kill it for what it tries.
static int answer(struct context *context, int socket, struct frame *frame) {
    int ends[2], status = VOLT_FAILED << 8;
    int32_t result = 0;
    if (pipe2(ends, O_CLOEXEC) < 0) return -1;
    pid_t child = fork_child();
    if (child == 0) attempt_main(context, frame, ends[1]);
    close_held(&ends[1]);
    if (child > 0) {
        read_up_to(ends[0], &result, sizeof result);
        waitpid(child, &status, __WALL);
    } else result = -errno;
    close_held(&ends[0]);
    return send_answer(socket, status, result);
}

static _Noreturn void session_main(struct context *context, int socket, uint32_t kind) {
    struct frame frame;
    end_after(SESSION_LIMIT);
    // Of an image's init we are a child that it may end, and nothing waits for what is left then.
    if (context->payload == 1 && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) _exit(VOLT_FAILED);
    close_held(&context->control);
    close_held(&context->signals);
    context->held = NULL; // forgotten with all other memory
    context->held_end = 0;
    context->terminal = -1; // the payload's, and given to it already
    context->filter = (struct bytes){0};
    context->deed_count = 0;
    context->session = true;
    bool loaded = load_program(context, context->inside, true) == 0;
    int32_t greeting = loaded ? prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) : -errno;
    if (send_answer(socket, 0, greeting) < 0 || !loaded) _exit(VOLT_FAILED);
    if (kind != SESSION_ATTEMPTS) command_session(context, socket, kind == SESSION_COPY);
    while (receive_frame(socket, &frame) > 0 && frame.type == FRAME_ATTEMPT)
        if (answer(context, socket, &frame) < 0) break;
    _exit(0);
}

// The asker hears of a failure by the end of its socket: no session may harm the payload.
void start_session(struct context *context, int socket, uint32_t kind) {
    bool known = kind == SESSION_ATTEMPTS || kind == SESSION_COMMAND || kind == SESSION_COPY;
    pid_t child = known ? fork_child() : -1;
    if (child == 0) session_main(context, socket, kind);
    if (child < 0 && known && kind != SESSION_ATTEMPTS) send_answer(socket, 0, -errno);
    close_held(&socket);
}
