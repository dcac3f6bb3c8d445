// Readiness as the supervisor sees it: what it waits for, what it has heard, whom it tells.
#include "ready.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "json.h"
#include "kernel.h"
#include "log.h"

#define DOCUMENT 4096u    // bytes of ready.json: each byte of a text may take six
#define WATCHER_ENDS 1000 // milliseconds that a watcher may take to end
#define TELLS_AGAIN 100   // … and between two times that a caller is told who has no room for it
#define NEWS_AT_ONCE 16u  // that are looked at before it is too late

// ── how it stands

static int write_state(const struct ready *ready) {
    char text[DOCUMENT];
    struct document document = {.at = text, .left = sizeof text};
    add(&document, "{\"version\": 1, \"since\": ");
    if (ready->since) add(&document, "%lu", (unsigned long)ready->since);
    else add(&document, "null");
    add_field(&document, "waiting", ready->waiting);
    add_field(&document, "reports", ready->said);
    add(&document, "}\n");
    return replace_file(ready->folder, "ready.json", text, document.length);
}

// Once the payload runs, what cannot be written is missing where somebody looks, and no reason to end it.
static void update_state(const struct ready *ready) {
    if (ready->folder >= 0 && write_state(ready) < 0) errno = 0;
}

// ── steps

static struct ready *ready_of(struct context *context) {
    if (context->ready) return context->ready;
    struct ready *ready = mmap(NULL, sizeof *ready, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ready == MAP_FAILED) return NULL;
    ready->folder = ready->shown = ready->news = ready->living = -1;
    return context->ready = ready;
}

static struct ready *await(struct context *context, enum sign sign, const char *folder, uint64_t limit) {
    struct ready *ready = ready_of(context);
    if (!ready) return NULL;
    ready->sign = sign;
    ready->step = context->deed->number;
    ready->limit = limit;
    ready->folder = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (ready->folder >= 0 && write_state(ready) == 0) return ready;
    explain(context, "%s", folder);
    return NULL;
}

static int keep_text(struct context *context, struct ready *ready, const char *text) {
    if (strlen(text) >= READY_TEXT) return refuse(context, ENAMETOOLONG, "what is awaited");
    format_into(ready->text, READY_TEXT, "%s", text);
    return 0;
}

int do_await_line(struct context *context, const struct step_await_line *step) {
    struct ready *ready = await(context, SIGN_LINE, step->folder, step->milliseconds);
    if (!ready) return -1;
    format_into(ready->waiting, sizeof ready->waiting, "no line that it wrote has that in it");
    return search_begin(&ready->search, step->line) ? 0 : refuse(context, EINVAL, "it is no part of a line");
}

int do_await_notice(struct context *context, const struct step_await_notice *step) {
    return await(context, SIGN_NOTICE, step->folder, step->milliseconds) ? 0 : -1;
}

int do_await_file(struct context *context, const struct step_await_file *step) {
    struct ready *ready = await(context, SIGN_FILE, step->folder, step->milliseconds);
    return ready ? keep_text(context, ready, step->path) : -1;
}

int do_await_port(struct context *context, const struct step_await_port *step) {
    struct ready *ready = await(context, SIGN_PORT, step->folder, step->milliseconds);
    if (!ready || keep_text(context, ready, step->request) < 0) return -1;
    ready->port = step->port;
    return 0;
}

int do_tell_ready(struct context *context, const struct step_tell_ready *step) {
    (void)step;
    struct ready *ready = ready_of(context);
    if (ready) ready->tells = true;
    return ready ? 0 : -1;
}

// Before it is awaited anew, by another start of the payload.
void ready_forget(struct context *context) {
    struct ready *ready = context->ready;
    if (!ready) return;
    ready->since = 0;
    ready->said[0] = '\0';
    update_state(ready);
    close_held(&ready->folder);
    close_held(&ready->shown);
    context->ready = NULL;
    munmap(ready, sizeof *ready);
}

// ── who is told

// sd_notify(3). False where the caller has not read what was sent before: it may yet, a service manager that is busy.
static bool tell_caller(const char *message) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("NOTIFY_SOCKET");
    size_t length = path ? strlen(path) : 0;
    if (length < 2 || length >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) return true;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') address.sun_path[0] = '\0'; // unix(7): abstract
    int one = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (one < 0) return true;
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    ssize_t sent = sendto(one, message, strlen(message), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&address, size);
    bool full = sent < 0 && (errno == EAGAIN || errno == ENOBUFS);
    close_held(&one);
    return !full;
}

// Once is enough, and needed: a service manager ends what it has not heard to be ready.
static void tell_ready(struct ready *ready) {
    if (ready->tells) ready->tell_at = tell_caller("READY=1") ? 0 : now() + TELLS_AGAIN;
}

void ready_tell(struct context *context, uint64_t time) {
    struct ready *ready = context->ready;
    if (ready && ready->tell_at && time >= ready->tell_at) tell_ready(ready);
}

bool ready_awaited(const struct context *context) {
    const struct ready *ready = context->ready;
    return ready && ready->sign != SIGN_START && !ready->since;
}

static void become_ready(struct context *context) {
    struct ready *ready = context->ready;
    if (ready->since || ready->given_up || !context->result.started) return;
    ready->since = (uint64_t)time(NULL);
    ready->by = 0;
    ready->waiting[0] = '\0';
    if (context->log) context->log->search = NULL;
    update_state(ready);
    tell_ready(ready);
    detached_started(context);
}

// ── the watcher

// What the init shows before the payload starts: once, and only where it was asked to.
bool ready_takes(struct context *context, const struct frame *frame) {
    struct ready *ready = context->ready;
    bool wanted = ready && ready->sign > SIGN_LINE && ready->shown < 0 && !context->result.started &&
                  frame->descriptor >= 0 && frame->length == (ready->sign == SIGN_FILE ? sizeof ready->before : 0);
    if (!wanted) return false;
    if (frame->length) memcpy(&ready->before, frame->body, sizeof ready->before);
    ready->shown = frame->descriptor;
    return true;
}

static int start_watcher(struct ready *ready) {
    int news[2], living[2], pidfd;
    if (pipe2(news, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(living, O_CLOEXEC) < 0) return -1;
    fcntl(news[1], F_SETFL, O_WRONLY); // the watcher has the time
    // With a pidfd, by which it is told from the supervisor's other children.
    ready->watcher = start_child(0, &pidfd, -1);
    if (ready->watcher == 0)
        watcher_main((struct watched){.sign = ready->sign, .shown = ready->shown, .news = news[1], .living = living[0],
                                      .port = ready->port, .text = ready->text, .before = ready->before});
    close_held(&news[1]);
    close_held(&living[0]);
    close_held(&ready->shown);
    ready->news = news[0];
    ready->living = living[1];
    if (ready->watcher < 0) return -1;
    close_held(&pidfd);
    return 0;
}

// Before the payload writes anything: a line is looked for in all of it.
void ready_expect(struct context *context) {
    if (context->ready && context->ready->sign == SIGN_LINE && context->log) context->log->search = &context->ready->search;
}

// The payload's exec has succeeded. -1 with errno.
int ready_begin(struct context *context) {
    struct ready *ready = context->ready;
    if (!ready || ready->sign == SIGN_START) {
        if (ready) tell_ready(ready);
        detached_started(context);
        return 0;
    }
    if (ready->limit) ready->by = now() + ready->limit;
    if (ready->sign == SIGN_LINE) return 0;
    if (ready->shown < 0) {
        errno = EPROTO;
        return -1;
    }
    return start_watcher(ready);
}

void ready_reap(struct context *context) {
    struct ready *ready = context->ready;
    if (ready && ready->watcher > 0 && waitpid(ready->watcher, NULL, WNOHANG) == ready->watcher) ready->watcher = 0;
}

static void take_news(struct context *context, const struct news *news) {
    struct ready *ready = context->ready;
    char *to = news->kind == NEWS_SAID ? ready->said : ready->waiting;
    if (news->kind == NEWS_ALIVE && ready->tells) tell_caller("WATCHDOG=1");
    if (news->kind == NEWS_READY) become_ready(context);
    if (news->kind == NEWS_READY || news->kind == NEWS_ALIVE) return;
    memcpy(to, news->text, NEWS_TEXT);
    to[NEWS_TEXT - 1] = '\0';
    update_state(ready);
}

void ready_watch(const struct context *context, struct pollfd *one) {
    *one = (struct pollfd){context->ready ? context->ready->news : -1, POLLIN, 0};
}

// One news at a time: whoever makes much of it waits for the others.
void ready_take(struct context *context, const struct pollfd *one) {
    struct ready *ready = context->ready;
    struct news news;
    if (!ready) return;
    if (ready->search.found) become_ready(context);
    if (ready->news < 0 || !one->revents) return;
    ssize_t got = read(ready->news, &news, sizeof news);
    if (got == (ssize_t)sizeof news) take_news(context, &news);
    else if (got >= 0) close_held(&ready->news);
}

// ── the end

static void limit_text(char *to, size_t size, uint64_t limit) {
    bool whole = limit % 1000 == 0;
    format_into(to, size, "%lu %s", (unsigned long)(whole ? limit / 1000 : limit), whole ? "s" : "ms");
}

// Whether the time is over; then the launch has failed, whatever is heard from now on.
bool ready_is_late(struct context *context, uint64_t time) {
    struct ready *ready = context->ready;
    char limit[32];
    if (!ready || !ready->by || time < ready->by) return false;
    // Where we are late ourselves, what was told in time is still in the pipe.
    const struct pollfd there = {ready->news, POLLIN, POLLIN};
    for (unsigned i = 0; i < NEWS_AT_ONCE && ready->by; i++) ready_take(context, &there);
    if (!ready->by) return false;
    ready->by = 0;
    ready->given_up = true;
    limit_text(limit, sizeof limit, ready->limit);
    context->failure = (struct failure){.happened = true, .number = ready->step};
    format_into(context->failure.text, FAILURE_TEXT, "not ready in %s%s%s", limit, ready->waiting[0] ? ": " : "",
                ready->waiting);
    return true;
}

// What was sent before the payload ended is still in the socket.
static void hear_the_rest(struct context *context) {
    struct ready *ready = context->ready;
    uint64_t end = now() + WATCHER_ENDS;
    for (uint64_t time; ready->news >= 0 && (time = now()) < end;) {
        struct pollfd one;
        ready_watch(context, &one);
        if (poll(&one, 1, (int)(end - time)) > 0) ready_take(context, &one);
    }
}

static void end_watcher(struct context *context) {
    struct ready *ready = context->ready;
    close_held(&ready->living);
    if (ready->watcher > 0) hear_the_rest(context);
    if (ready->watcher > 0) kill(ready->watcher, SIGKILL);
    // One that the kernel holds up is nobody's to wait for.
    const struct timespec pause = {.tv_nsec = 1000000};
    for (unsigned i = 0; ready->watcher > 0 && i < WATCHER_ENDS; i++) {
        ready_reap(context);
        if (ready->watcher > 0) nanosleep(&pause, NULL);
    }
    close_held(&ready->news);
}

// All of the payload is gone, and what it wrote has been read.
void ready_end(struct context *context) {
    struct ready *ready = context->ready;
    if (!ready) return;
    end_watcher(context);
    if (ready->search.found) become_ready(context);
    context->result.unready = ready_awaited(context) && context->starter >= 0;
    if (!context->result.unready || context->failure.happened || exit_status(context) != 0) return;
    ready_message(context, context->failure.text, FAILURE_TEXT);
    context->failure.happened = true;
    context->failure.number = ready->step;
    context->failure.error = 0;
}

// Of a payload that has ended by itself: that it did so before it was ready. "" for any other.
void ready_message(const struct context *context, char *to, size_t size) {
    to[0] = '\0';
    if (context->result.unready && !context->failure.happened)
        format_into(to, size, "it ended with status %d before it was ready", exit_status(context));
}
