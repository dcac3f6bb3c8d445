// The watcher: a process without capabilities, but for one to look for a file, that waits for one sign of the payload's readiness, outside of its reach.
#include "watcher.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"

enum { SHOWN, NEWS, LIVING, FIRST_FREE }; // its descriptors

#define PAUSE 50u       // milliseconds between two looks
#define CONNECT 1000u   // … that a connection may take
#define ANSWER 5000u    // … that an answer may take, however it comes
#define QUIET 250u      // … between two news of what the payload says
#define BURST 64        // messages that are read at once, before a pause
#define LAST 4096 // … and when it is over: more than a socket keeps, unix(7), max_dgram_qlen
#define MESSAGE 4096u   // bytes of the longest that is read
#define STATUS_LINE 13u // bytes: "HTTP/1.1 200" and what ends the number, RFC 9112
#define DAC_READ_SEARCH 2 // linux/capability.h

// ── news

static void tell(uint32_t kind, const char *text, size_t length) {
    struct news news = {.kind = kind};
    // Cut where a character ends.
    for (size_t used = 0, step; used < length; used += step) {
        step = utf8_sequence(text + used, length - used);
        if (step == 0) step = 1;
        if (used + step >= NEWS_TEXT) length = used;
        else memcpy(news.text + used, text + used, step);
    }
    if (write(NEWS, &news, sizeof news) != (ssize_t)sizeof news) _exit(VOLT_FAILED);
}

// Why not yet, where that has changed.
static void tell_waiting(const char *why) {
    static char last[NEWS_TEXT];
    if (strcmp(last, why) == 0) return;
    format_into(last, sizeof last, "%s", why);
    tell(NEWS_WAITING, last, strlen(last));
}

static _Noreturn void tell_ready(void) {
    tell(NEWS_READY, "", 0);
    _exit(0);
}

// Until `until`, or a descriptor has what `events` asks for: then true. Nobody waits any more: the end.
static bool await(int descriptor, short events, uint64_t until) {
    for (;;) {
        struct pollfd polls[] = {{LIVING, 0, 0}, {descriptor, events, 0}};
        uint64_t time = now();
        int found = poll(polls, 2, until > time ? (int)(until - time) : 0);
        if (found < 0 && errno != EINTR) _exit(VOLT_FAILED);
        if (polls[0].revents) _exit(0);
        if (found > 0) return true;
        if (found == 0 && now() >= until) return false;
    }
}

static void pause_for(uint64_t milliseconds) { await(-1, 0, now() + milliseconds); }

// ── a file

// What lies at `path` of a root, its links followed inside: 1 a regular file, 0 none, -1 something else.
int look_at(int root, const char *path, struct before *found) {
    struct stat status;
    *found = (struct before){0};
    int file = k_openat2(root, path, O_PATH | O_CLOEXEC, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    if (file < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    int result = fstat(file, &status);
    close_held(&file);
    if (result < 0 || !S_ISREG(status.st_mode)) return -1;
    *found = (struct before){status.st_dev, status.st_ino, (uint64_t)status.st_ctim.tv_sec,
                             (uint64_t)status.st_ctim.tv_nsec};
    return 1;
}

static _Noreturn void watch_file(const struct watched *watched) {
    struct before found;
    char why[NEWS_TEXT];
    for (;; pause_for(PAUSE)) {
        int kind = look_at(SHOWN, watched->text, &found);
        bool old = kind > 0 && memcmp(&found, &watched->before, sizeof found) == 0;
        if (kind > 0 && !old) tell_ready();
        const char *state = old ? "was there before the start, and has not been written since"
                                : kind == 0 ? "does not exist yet" : "is no regular file";
        format_into(why, sizeof why, "%.*s %s", (int)(NEWS_TEXT / 2), watched->text, state);
        tell_waiting(why);
    }
}

// ── a port

static int connect_to(const struct sockaddr *address, socklen_t size) {
    int one = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), error = 0;
    socklen_t length = sizeof error;
    if (one < 0) return -1;
    if (connect(one, address, size) == 0) return one;
    error = errno;
    if (error == EINPROGRESS) {
        error = ETIMEDOUT;
        if (await(one, POLLOUT, now() + CONNECT) && getsockopt(one, SOL_SOCKET, SO_ERROR, &error, &length) < 0) error = errno;
    }
    if (error == 0) return one;
    close_held(&one);
    errno = error;
    return -1;
}

static int connect_inside(uint32_t port) {
    const struct sockaddr_in four = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int one = connect_to((const struct sockaddr *)&four, sizeof four), error = errno;
    if (one >= 0) return one;
    one = connect_to((const struct sockaddr *)&six, sizeof six);
    if (one < 0) errno = error;
    return one;
}

// All of it, or as much as is sent and had within `until`: each wait is for one piece, the time for all of them.
static bool exchange(int one, const char *request, char *answer, size_t size, uint64_t until) {
    for (size_t left = strlen(request); left;) {
        ssize_t sent = send(one, request, left, MSG_NOSIGNAL);
        if (sent < 0 && (errno != EAGAIN || !await(one, POLLOUT, until))) return false;
        if (sent > 0) request += sent, left -= (size_t)sent;
    }
    for (size_t had = 0; had < size;) {
        if (now() >= until) return false;
        ssize_t got = recv(one, answer + had, size - had, 0);
        if (got == 0 || (got < 0 && (errno != EAGAIN || !await(one, POLLIN, until)))) return false;
        if (got > 0) had += (size_t)got;
    }
    return true;
}

// The status of an answer of HTTP/1, 0 for none.
static unsigned status_of(const char *answer) {
    if (memcmp(answer, "HTTP/1.", 7) != 0 || answer[8] != ' ') return 0;
    unsigned status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (answer[i] < '0' || answer[i] > '9') return 0;
        status = status * 10 + (unsigned)(answer[i] - '0');
    }
    return answer[12] == ' ' || answer[12] == '\r' || answer[12] == '\n' ? status : 0;
}

// "" where the port is as it should be.
static void try_port(const struct watched *watched, char why[NEWS_TEXT]) {
    char answer[STATUS_LINE] = "";
    int one = connect_inside(watched->port);
    why[0] = '\0';
    if (one < 0) {
        const char *text = errno == ECONNREFUSED ? "nothing listens on port %u yet" : "port %u: %s";
        format_into(why, NEWS_TEXT, text, watched->port, strerror(errno));
    } else if (watched->text[0]) {
        bool whole = exchange(one, watched->text, answer, sizeof answer, now() + ANSWER);
        unsigned status = whole ? status_of(answer) : 0;
        if (!whole) format_into(why, NEWS_TEXT, "port %u gives no answer of HTTP within %u s", watched->port, ANSWER / 1000);
        else if (!status) format_into(why, NEWS_TEXT, "what port %u answers is no HTTP", watched->port);
        else if (status < 200 || status > 399) format_into(why, NEWS_TEXT, "port %u answers with %u", watched->port, status);
    }
    close_held(&one);
}

static _Noreturn void watch_port(const struct watched *watched) {
    char why[NEWS_TEXT];
    for (;; pause_for(PAUSE)) {
        try_port(watched, why);
        if (!why[0]) tell_ready();
        tell_waiting(why);
    }
}

// ── a notice

struct notices {
    bool ready, told, changed, alive;
    size_t length;
    char said[NEWS_TEXT];
};

static void take_line(struct notices *notices, const char *line, size_t length) {
    static const char ready[] = "READY=1", alive[] = "WATCHDOG=1", status[] = "STATUS=";
    if (length == sizeof ready - 1 && memcmp(line, ready, length) == 0) notices->ready = true;
    if (length == sizeof alive - 1 && memcmp(line, alive, length) == 0) notices->alive = true;
    if (length < sizeof status - 1 || memcmp(line, status, sizeof status - 1) != 0) return;
    line += sizeof status - 1;
    length -= sizeof status - 1;
    if (length > NEWS_TEXT) length = NEWS_TEXT;
    notices->changed |= notices->length != length || memcmp(notices->said, line, length) != 0;
    memcpy(notices->said, line, length);
    notices->length = length;
}

// The next message; false where there is none. Descriptors that come along are closed: nobody asked for them.
static bool take_message(struct notices *notices) {
    char message[MESSAGE];
    ssize_t got = recv(SHOWN, message, sizeof message, MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0) return false;
    if (got > (ssize_t)sizeof message) return true; // its end is missing: none of it counts
    for (const char *at = message, *end = message + got; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        take_line(notices, at, (size_t)(stop - at));
        at = stop + 1;
    }
    return true;
}

static void take_messages(struct notices *notices, int most) {
    for (int i = 0; i < most && take_message(notices); i++) continue;
}

// What may be told again and again is so when it is `due`; that it is ready once, and before that it lives.
static void tell_notices(struct notices *notices, bool due) {
    if (notices->changed && due) tell(NEWS_SAID, notices->said, notices->length);
    if (notices->ready && !notices->told) tell(NEWS_READY, "", 0);
    if (notices->alive && due) tell(NEWS_ALIVE, "", 0);
    notices->told = notices->ready;
    if (due) notices->changed = notices->alive = false;
}

// Until nobody wants to hear more; what has been sent by then is told first.
static _Noreturn void watch_notices(void) {
    struct notices notices = {0};
    tell_waiting("it has not sent READY=1 yet");
    for (uint64_t next = 0;;) {
        struct pollfd polls[] = {{LIVING, 0, 0}, {SHOWN, POLLIN, 0}};
        uint64_t time = now();
        bool untold = notices.changed || notices.alive;
        int wait = !untold ? -1 : next > time ? (int)(next - time) : 0;
        if (poll(polls, 2, wait) < 0 && errno != EINTR) _exit(VOLT_FAILED);
        bool last = polls[0].revents != 0;
        take_messages(&notices, last ? LAST : BURST);
        time = now();
        untold = notices.changed || notices.alive;
        tell_notices(&notices, last || time >= next);
        if (untold && time >= next) next = time + QUIET;
        if (last) _exit(0);
        // A flood waits for us, and not the machine for a flood.
        poll(polls, 1, 1);
    }
}

// ── the process

// Its descriptors in their places, and no others: what the caller has handed in would never come to its end.
static int take_descriptors(const struct watched *watched) {
    if (dup2(watched->shown, SHOWN) < 0 || dup2(watched->news, NEWS) < 0 || dup2(watched->living, LIVING) < 0) return -1;
    return k_close_range(FIRST_FREE, ~0u, 0);
}

// In the network that was shown; and without capabilities, but for looking for a file.
static int give_up_powers(enum sign sign) {
    struct capability_header header = {.version = CAPABILITY_VERSION};
    struct capability_sets sets[2] = {0};
    if (sign == SIGN_PORT && setns(SHOWN, CLONE_NEWNET) < 0) return -1;
    if (sign == SIGN_FILE) sets[0].effective = sets[0].permitted = 1u << DAC_READ_SEARCH;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -1;
    return (int)syscall(SYS_capset, &header, sets);
}

_Noreturn void watcher_main(struct watched watched) {
    static struct watched kept;
    kept = watched;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || take_descriptors(&kept) < 0) _exit(VOLT_FAILED);
    if (chdir("/") < 0 || give_up_powers(kept.sign) < 0) {
        char why[NEWS_TEXT];
        format_into(why, sizeof why, "it cannot be watched: %s", strerror(errno));
        tell_waiting(why);
        _exit(VOLT_FAILED);
    }
    forget_all();
    drop_stack();
    drop_program();
    if (kept.sign == SIGN_NOTICE) watch_notices();
    if (kept.sign == SIGN_FILE) watch_file(&kept);
    watch_port(&kept);
}
