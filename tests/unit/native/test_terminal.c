// The supervisor's copying for a terminal: nothing is lost, nothing blocks, an end that is gone is noticed.
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "terminal.h"

static struct terminal terminal;
static int slave, keyboard, screen; // what the payload has; what is typed into; what is read from

static int flags_of(int descriptor) { return fcntl(descriptor, F_GETFL) | O_NONBLOCK; }

// A pseudo terminal inside; pipes in the place of the caller's terminal.
static void begin(void) {
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), in[2], out[2];
    struct termios mode;
    CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
    CHECK(slave >= 0 && tcgetattr(slave, &mode) == 0);
    cfmakeraw(&mode);
    CHECK(tcsetattr(slave, TCSANOW, &mode) == 0);
    CHECK(pipe(in) == 0 && pipe(out) == 0);
    terminal_init(&terminal);
    terminal.master = terminal.input.to = terminal.output.from = master;
    terminal.input.from = in[0];
    terminal.output.to = out[1];
    keyboard = in[1];
    screen = out[0];
    const int ours[] = {master, in[0], out[1], out[0], slave};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) CHECK(fcntl(ours[i], F_SETFL, flags_of(ours[i])) == 0);
}

// As the supervisor does it, until there is nothing to do.
static void copy(void) {
    struct pollfd polls[TERMINAL_POLLS];
    for (;;) {
        terminal_watch(&terminal, polls);
        if (poll(polls, TERMINAL_POLLS, 50) <= 0) return;
        terminal_copy(&terminal, polls);
        if (terminal_drained(&terminal)) return;
    }
}

static size_t read_all(int from, char *to, size_t size) {
    ssize_t got = read(from, to, size);
    return got > 0 ? (size_t)got : 0;
}

TEST(what_is_typed_reaches_the_payload) {
    char got[16];
    begin();
    CHECK(write(keyboard, "typed", 5) == 5);
    copy();
    CHECK(read_all(slave, got, sizeof got) == 5);
    CHECK(memcmp(got, "typed", 5) == 0);
}

TEST(what_is_written_reaches_the_screen) {
    char got[16];
    begin();
    CHECK(write(slave, "shown", 5) == 5);
    copy();
    CHECK(read_all(screen, got, sizeof got) == 5);
    CHECK(memcmp(got, "shown", 5) == 0);
}

TEST(a_screen_that_is_not_read_from_stops_the_payload_and_loses_nothing) {
    static char piece[4096], got[65536];
    size_t written = 0, read_back = 0;
    begin();
    for (;;) {
        ssize_t put = write(slave, piece, sizeof piece);
        if (put > 0) written += (size_t)put;
        size_t before = terminal.output.filled - terminal.output.at;
        copy();
        if (put < 0 && before == terminal.output.filled - terminal.output.at) break;
    }
    CHECK(written > 65536); // more than the pipe alone takes
    for (size_t length; (length = read_all(screen, got, sizeof got)) > 0; copy()) read_back += length;
    CHECK(read_back == written);
}

TEST(what_is_taken_in_part_is_carried_on_with) {
    static char got[FLOW_SIZE];
    size_t length = 0;
    begin();
    CHECK(fcntl(terminal.output.to, F_SETPIPE_SZ, 4096) >= 4096);
    for (size_t i = 0; i < FLOW_SIZE; i++) terminal.output.data[i] = (char)(i / 7);
    terminal.output.filled = FLOW_SIZE;
    for (int turn = 0; turn < 100 && length < FLOW_SIZE; turn++) {
        copy();
        length += read_all(screen, got + length, sizeof got - length);
    }
    CHECK(memcmp(got, terminal.output.data, FLOW_SIZE) == 0);
}

TEST(a_full_buffer_is_not_read_into) {
    struct pollfd polls[TERMINAL_POLLS];
    begin();
    terminal.input.filled = 1;
    terminal.output.filled = 1;
    terminal_watch(&terminal, polls);
    CHECK(polls[TERMINAL_INPUT].fd == -1);
    CHECK(polls[TERMINAL_OUTPUT].events == POLLOUT);
    CHECK(polls[TERMINAL_MASTER].events == POLLOUT);
}

TEST(the_end_of_what_is_typed_is_noticed) {
    struct pollfd polls[TERMINAL_POLLS];
    begin();
    close(keyboard);
    copy();
    CHECK(terminal.input.from == -1);
    terminal_watch(&terminal, polls);
    CHECK(polls[TERMINAL_INPUT].fd == -1);
}

TEST(the_last_words_of_a_payload_are_shown_before_it_is_drained) {
    char got[16];
    begin();
    CHECK(write(slave, "last", 4) == 4);
    CHECK(!terminal_drained(&terminal));
    close(slave);
    copy();
    CHECK(terminal_drained(&terminal));
    CHECK(read_all(screen, got, sizeof got) == 4);
}

TEST(a_screen_that_is_gone_holds_nothing_up) {
    begin();
    signal(SIGPIPE, SIG_IGN);
    close(screen);
    CHECK(write(slave, "unseen", 6) == 6);
    copy();
    CHECK(terminal.output.at == terminal.output.filled);
    close(slave);
    copy();
    CHECK(terminal_drained(&terminal));
}

TEST(without_a_terminal_nothing_is_watched) {
    struct pollfd polls[TERMINAL_POLLS];
    terminal_init(&terminal);
    terminal_watch(&terminal, polls);
    for (int i = 0; i < TERMINAL_POLLS; i++) CHECK(polls[i].fd == -1);
    terminal_resize(&terminal);
    CHECK(terminal_drained(&terminal));
}
