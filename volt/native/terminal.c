// Terminals: the container's own is opened by the init; the supervisor copies between its master and the caller's.
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frames.h"
#include "kernel.h"

// ── inside, as the init

// The slave of `master`, without going by a path that the image could have laid out.
static int open_slave(int master, bool input) {
    int unlock = 0;
    if (ioctl(master, TIOCSPTLCK, &unlock) < 0) return -1;
    int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios mode;
    // For output alone no byte may change: the caller's input does not come from a terminal.
    if (slave >= 0 && !input && tcgetattr(slave, &mode) == 0) {
        mode.c_oflag &= ~(tcflag_t)OPOST;
        tcsetattr(slave, TCSANOW, &mode);
    }
    return slave;
}

// Wait until the supervisor has done its part; signals that come before are kept for the payload.
int await_go_on(struct context *context) {
    for (;;) {
        struct frame frame;
        uint32_t number;
        int got = receive_frame(context->control, &frame);
        if (got <= 0) return got < 0 ? -1 : refuse(context, EPIPE, "the supervisor is gone");
        if (frame.type == FRAME_SESSION) { // asked for too early: that ends its socket, and nothing else
            close_held(&frame.descriptor);
            continue;
        }
        if (frame.type != FRAME_SIGNAL || !frame_number(&frame, &number) || number > 64)
            return refuse(context, EPROTO, "the supervisor's answer");
        if (number == GO_ON) return 0;
        context->early_signals |= 1ull << (number - 1);
    }
}

// What an init says goes to /dev/console, whatever it has been handed.
static int show_console(struct context *context, int slave) {
    int mount = k_open_tree(slave, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
    int result = mount < 0 ? explain(context, "/dev/console") : attach_file(context, mount, "/dev/console");
    close_held(&mount);
    return result;
}

// A terminal of the container's own devpts: its master goes to the supervisor, its slave stays open here.
int do_open_terminal(struct context *context, const struct step_open_terminal *step) {
    int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0) master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0) return explain(context, "/dev/ptmx");
    context->terminal = open_slave(master, step->input);
    int result = context->terminal;
    if (result >= 0 && step->console && show_console(context, context->terminal) < 0) result = -1;
    if (result >= 0) result = send_frame(context->control, FRAME_TERMINAL, NULL, 0, master);
    close_held(&master);
    if (result < 0) return context->failure.text[0] ? -1 : explain(context, "terminal");
    return await_go_on(context);
}

// ── outside, as the supervisor

// A signal that the kernel sends a job may do to us what it does to any, or not.
static void let_through(int number, bool through) {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    sigprocmask(through ? SIG_UNBLOCK : SIG_BLOCK, &one, NULL);
}

void raise_now(int number) {
    kill(getpid(), number);
    let_through(number, true);
    let_through(number, false);
}

// Raw: what the keys mean is for the payload's own terminal to say. In the background this stops us, as it should.
int take_mode(struct context *context, int descriptor) {
    struct termios raw;
    if (tcgetattr(descriptor, &context->saved_mode) < 0) return -1;
    raw = context->saved_mode;
    cfmakeraw(&raw);
    let_through(SIGTTOU, true);
    int result = tcsetattr(descriptor, TCSADRAIN, &raw);
    let_through(SIGTTOU, false);
    context->terminal_taken = result == 0;
    return result;
}

void restore_mode(struct context *context) {
    if (context->terminal_taken) tcsetattr(STDIN_FILENO, TCSADRAIN, &context->saved_mode);
    context->terminal_taken = false;
}

int do_take_terminal(struct context *context, const struct step_take_terminal *step) {
    if (step->descriptor != STDIN_FILENO) return refuse(context, EINVAL, "only standard input is typed into");
    context->deed->made = true;
    return take_mode(context, STDIN_FILENO);
}

int undo_take_terminal(struct context *context, const struct step_take_terminal *step, struct deed *deed,
                       enum ending ending) {
    (void)step, (void)deed, (void)ending;
    restore_mode(context);
    return 0;
}

void terminal_init(struct terminal *terminal) {
    static char typed[FLOW_SIZE], shown[FLOW_SIZE];
    *terminal = (struct terminal){.input.data = typed, .output.data = shown};
    terminal->master = terminal->outer = -1;
    terminal->input.from = terminal->input.to = terminal->output.from = terminal->output.to = -1;
}

// The caller's terminal opened anew: a description of our own, so that O_NONBLOCK does not become the caller's. A file's
// is kept, with the place where the caller goes on writing: no write to it waits.
static int open_again(int descriptor, int flags) {
    char path[32];
    struct stat status;
    if (fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode)) return fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
    format_into(path, sizeof path, "/proc/self/fd/%d", descriptor);
    int again = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return again >= 0 ? again : fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
}

static int outer_terminal(void) {
    static const int order[] = {STDOUT_FILENO, STDERR_FILENO, STDIN_FILENO};
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        if (isatty(order[i])) return order[i];
    return -1;
}

void terminal_resize(struct terminal *terminal) {
    struct winsize size;
    if (terminal->master < 0 || terminal->outer < 0) return;
    if (ioctl(terminal->outer, TIOCGWINSZ, &size) == 0) ioctl(terminal->master, TIOCSWINSZ, &size);
}

// What the caller's terminal is used to: which key erases, whether characters are UTF-8.
static void copy_habits(const struct termios *outer, int master) {
    struct termios inner;
    if (tcgetattr(master, &inner) < 0) return;
    inner.c_cc[VERASE] = outer->c_cc[VERASE];
    inner.c_iflag = (inner.c_iflag & ~(tcflag_t)IUTF8) | (outer->c_iflag & IUTF8);
    tcsetattr(master, TCSANOW, &inner);
}

int terminal_begin(struct terminal *terminal, struct context *context, int master) {
    int outer = outer_terminal(), shown = outer >= 0 ? outer : STDOUT_FILENO; // -t where the caller has none
    if (terminal->master >= 0) {
        close_held(&master);
        return refuse(context, EPROTO, "a second terminal");
    }
    terminal->master = master;
    terminal->outer = outer;
    terminal->console = context->boots && !context->terminal_taken;
    // The description came from the init alone: no one else sees this flag.
    if (fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK) < 0) return -1;
    terminal->output.from = master;
    terminal->output.to = open_again(shown, O_WRONLY);
    if (context->terminal_taken) {
        copy_habits(&context->saved_mode, master);
        terminal->input.from = open_again(STDIN_FILENO, O_RDONLY);
        terminal->input.to = master;
    }
    terminal_resize(terminal);
    return 0;
}

// What ends a line on an init's console, ONLCR of termios(3), as it was written; the new length. Cut apart, it stays.
size_t as_lines(char *data, size_t length) {
    size_t used = 0;
    for (size_t i = 0; i < length; i++)
        if (data[i] != '\r' || i + 1 == length || data[i + 1] != '\n') data[used++] = data[i];
    return used;
}

static bool empty(const struct flow *flow) { return flow->at == flow->filled; }

// A full buffer is not read into: so the side that is too fast waits for the one that is slow.
void terminal_watch(struct terminal *terminal, struct pollfd polls[TERMINAL_POLLS]) {
    const struct flow *input = &terminal->input, *output = &terminal->output;
    for (int i = 0; i < TERMINAL_POLLS; i++) polls[i] = (struct pollfd){.fd = -1};
    if (empty(input)) polls[TERMINAL_INPUT] = (struct pollfd){input->from, POLLIN, 0};
    if (!empty(output)) polls[TERMINAL_OUTPUT] = (struct pollfd){output->to, POLLOUT, 0};
    short events = (short)((empty(output) && output->from >= 0 ? POLLIN : 0) | (empty(input) ? 0 : POLLOUT));
    if (events) polls[TERMINAL_MASTER] = (struct pollfd){terminal->master, events, 0};
}

static bool only_later(void) { return errno == EAGAIN || errno == EINTR; }

static void fill(struct flow *flow) {
    if (flow->from < 0 || !empty(flow)) return;
    ssize_t got = read(flow->from, flow->data, FLOW_SIZE);
    flow->at = flow->filled = 0;
    if (got > 0) flow->filled = (size_t)got;
    else if (got == 0 || !only_later()) flow->from = -1; // hung up; EIO of a master without a slave
}

// A key that is pressed while we are in the background stops us, as any job; held, the signal would be an error, and
// look like the end of what is typed.
static void fill_typed(struct flow *input) {
    let_through(SIGTTIN, true);
    fill(input);
    let_through(SIGTTIN, false);
}

// A socket, as the journal's, cannot be opened anew, and stays one on which a write would wait.
static ssize_t put_some(const struct flow *flow) {
    const char *data = flow->data + flow->at;
    ssize_t put = send(flow->to, data, flow->filled - flow->at, MSG_DONTWAIT | MSG_NOSIGNAL);
    return put < 0 && errno == ENOTSOCK ? write(flow->to, data, flow->filled - flow->at) : put;
}

static void drain(struct flow *flow) {
    if (empty(flow)) return;
    ssize_t put = flow->to < 0 ? -1 : put_some(flow);
    if (put >= 0) flow->at += (size_t)put;
    else if (flow->to < 0 || !only_later()) flow->at = flow->filled; // nobody is there to see it
}

void terminal_copy(struct terminal *terminal, const struct pollfd polls[TERMINAL_POLLS]) {
    short master = polls[TERMINAL_MASTER].revents;
    if (polls[TERMINAL_INPUT].revents) fill_typed(&terminal->input);
    if (master & (POLLOUT | POLLERR)) drain(&terminal->input);
    bool taken = master & (POLLIN | POLLHUP | POLLERR) && empty(&terminal->output);
    if (taken) fill(&terminal->output);
    if (taken && terminal->console) terminal->output.filled = as_lines(terminal->output.data, terminal->output.filled);
    if (polls[TERMINAL_OUTPUT].revents || !empty(&terminal->output)) drain(&terminal->output);
}

// Nothing more will come, and all that came has been written.
bool terminal_drained(const struct terminal *terminal) {
    return terminal->output.from < 0 && empty(&terminal->output);
}
