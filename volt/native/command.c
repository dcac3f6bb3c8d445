// A session that runs one command in the place of the payload's: behind the same steps, for as long as its asker is
// there.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frames.h"
#include "kernel.h"
#include "read.h"

#define STANDARD 3
#define WORDS_LIMIT (8u << 20) // bytes of a command with its environment; execve(2) itself takes 6 MiB at most
#define WORDS_TIME 60u         // seconds in which the asker has to say what it wants
#define ENDING_TIME 10u        // seconds in which what was killed has to be gone

// ── what is asked for

static bool read_asked(struct context *context, int file, struct asked *asked) {
    struct stat status;
    if (fstat(file, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size > (off_t)WORDS_LIMIT) return false;
    uint8_t *words = keep((size_t)status.st_size + 1);
    ssize_t length = pread(file, words, (size_t)status.st_size, 0);
    if (length != (ssize_t)status.st_size) return false;
    struct reader in = reader_of(context, (struct bytes){words, (size_t)length});
    asked->argv = read_texts(&in);
    asked->defaults = read_texts(&in);
    asked->env = read_texts(&in);
    asked->folder = read_text(&in);
    asked->other = read_switch(&in);
    asked->uid = read_u32(&in);
    asked->gid = read_u32(&in);
    asked->groups = read_texts(&in);
    return reader_ended(&in);
}

// ── the command, up to its exec

static int take_places(struct context *context, const struct frame *frame, bool terminal) {
    for (int n = 0; n < STANDARD; n++)
        if (dup2(frame->others[n], n) < 0) return explain(context, "standard descriptor %d", n);
    if (setsid() < 0) return -1;
    return terminal && ioctl(STDIN_FILENO, TIOCSCTTY, 0) < 0 ? explain(context, "terminal") : 0;
}

static _Noreturn void command_main(struct context *context, const struct frame *frame, bool terminal, int report) {
    context->report_pipe = report;
    context->session = false;
    if (take_places(context, frame, terminal) < 0) context->failure.error = errno;
    else if (perform_section(context, true) == 0) refuse(context, 0, "the payload's steps do not end in an exec");
    send_failure(report, &context->failure);
    _exit(VOLT_FAILED);
}

// Why there is no command, as one message with the exit status that says so.
static int send_refusal(struct context *context, int socket) {
    char message[2 * FAILURE_TEXT];
    struct failure *failure = &context->failure;
    struct found found;
    failure->happened = true;
    bool step = find_step(&context->program, failure->number, &found);
    if (step && found.opcode == OP_CHANGE_FOLDER) // its note speaks of the manifest, which did not name this one
        format_into(message, sizeof message, "cannot enter '%s': %s", failure->text, strerror(failure->error));
    else failure_message(context, message, sizeof message);
    struct failure told = {.number = (uint32_t)exit_status(context), .error = failure->error};
    format_into(told.text, sizeof told.text, "%s", message);
    return send_failure(socket, &told);
}

// What is no step's failure.
static int fail(struct context *context, int error, const char *text) {
    context->failure = (struct failure){.error = error};
    return refuse(context, error, "%s", text);
}

// The report closes when the exec has succeeded. 0 then, -1 where something failed.
static int await_command(struct context *context, int report) {
    struct frame frame;
    int got = receive_frame(report, &frame);
    if (got == 0) return 0;
    context->failure = (struct failure){0};
    if (got < 0 || frame.type != FRAME_FAILED || !frame_failure(&frame, &context->failure))
        return fail(context, EPROTO, "the command's report");
    return -1;
}

static int start_command(struct context *context, struct frame *frame, bool terminal) {
    int pair[2];
    if (frame_pair(pair) < 0) return fail(context, errno, "its report");
    context->payload = fork_child();
    if (context->payload == 0) {
        close_held(&pair[0]);
        command_main(context, frame, terminal, pair[1]);
    }
    int error = errno;
    close_held(&pair[1]);
    close_descriptors(frame); // their other ends see the command's alone
    int result = context->payload < 0 ? fail(context, error, "no process can be started in it")
                                      : await_command(context, pair[0]);
    close_held(&pair[0]);
    return result;
}

// ── while it runs

// All that the command has started: what is left without a parent becomes a child of this process.
static void kill_children(void) {
    char path[64], list[4096];
    format_into(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read_up_to(file, list, sizeof list - 1);
    close_held(&file);
    if (length <= 0) return;
    list[length] = '\0';
    for (char *at = list, *end; *at; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at) break;
        if (pid > 1 && (*end == ' ' || *end == '\0')) kill((pid_t)pid, SIGKILL);
    }
}

static _Noreturn void kill_command(const struct context *context) {
    end_after(ENDING_TIME);
    // Its streams have ended too: it leaves nothing that is not whole. It dies with this process, at the latest.
    if (context->asked->copies) waitpid(context->payload, NULL, __WALL);
    kill(-context->payload, SIGKILL);
    kill(context->payload, SIGKILL);
    do kill_children();
    while (waitpid(-1, NULL, __WALL) > 0);
    _exit(0);
}

static bool has_ended(const struct context *context, int *status) {
    bool ended = false;
    int one;
    for (pid_t pid; (pid = waitpid(-1, &one, WNOHANG | __WALL)) > 0;)
        if (pid == context->payload) {
            *status = one;
            ended = true;
        }
    return ended;
}

static _Noreturn void tend_command(struct context *context, int socket, int signals) {
    struct signalfd_siginfo info;
    struct frame frame;
    uint32_t number;
    for (int status = 0;;) {
        struct pollfd polls[] = {{socket, POLLIN, 0}, {signals, POLLIN, 0}};
        if (poll(polls, 2, -1) < 0) continue;
        if (polls[1].revents && read(signals, &info, sizeof info) > 0 && has_ended(context, &status))
            _exit(send_number(socket, FRAME_EXITED, (uint32_t)status) < 0 ? VOLT_FAILED : 0);
        if (!polls[0].revents) continue;
        if (receive_frame(socket, &frame) <= 0) kill_command(context);
        close_descriptors(&frame);
        if (frame.type == FRAME_SIGNAL && frame_number(&frame, &number)) signal_payload(context, number);
    }
}

static int child_signals(void) {
    sigset_t ended;
    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    return signalfd(-1, &ended, SFD_CLOEXEC | SFD_NONBLOCK);
}

_Noreturn void command_session(struct context *context, int socket, bool copies) {
    struct asked asked = {.copies = copies};
    struct frame frame;
    uint32_t flags;
    end_after(WORDS_TIME);
    if (receive_frame(socket, &frame) <= 0 || frame.type != FRAME_EXECUTE || !frame_number(&frame, &flags) ||
        frame.others[STANDARD - 1] < 0)
        _exit(VOLT_FAILED);
    hold_env_files(context);
    context->asked = &asked;
    int signals = child_signals();
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    int result = signals < 0 ? fail(context, errno, "its signals") : 0;
    if (result == 0 && !read_asked(context, frame.descriptor, &asked))
        result = fail(context, EBADMSG, "what was asked for");
    if (result == 0) result = start_command(context, &frame, flags & ON_TERMINAL);
    if (result < 0) _exit(send_refusal(context, socket) < 0 ? VOLT_FAILED : 0);
    end_after(0);
    if (send_frame(socket, FRAME_STARTED, NULL, 0, -1) < 0) kill_command(context);
    forget_all();
    drop_stack();
    drop_program();
    tend_command(context, socket, signals);
}
