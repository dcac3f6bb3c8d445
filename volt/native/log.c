// The log writer: lines are stamped and told apart; a flood is discarded and counted, and never waited for.
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "terminal.h"
#include "table.h"

#define PIPE_SIZE (1 << 20)   // bytes that a payload may be ahead of us
#define STAMP 30u             // 2026-11-24T20:46:00.123456789Z
#define HEAD (STAMP + 10u)    // … and " stdout F "
#define DRAIN_LIMIT 1024      // pieces: what a pipe can hold, and more
#define RATE_LIMIT (1ull << 40) // bytes a second, which nothing reaches: sums stay within 64 bits

static const char *const names[LOG_STREAMS] = {[LOG_OUTPUT] = "stdout", [LOG_ERRORS] = "stderr"};

// Memory of its own: only a detached run has it, and longer than its launch. NULL with errno.
static struct log *log_of(struct context *context) {
    if (context->log) return context->log;
    struct log *log = mmap(NULL, sizeof *log, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (log == MAP_FAILED) return NULL;
    log->folder = log->file = log->null = -1;
    for (int n = 0; n < LOG_STREAMS; n++) log->streams[n].from = -1;
    return context->log = log;
}

// ── steps

static int keep_end(struct context *context, uint32_t stream, int end) {
    if (stream == STDIN_FILENO) {
        context->input = end;
        return 0;
    }
    struct log *log = log_of(context);
    if (!log) return -1;
    log->streams[stream - STDOUT_FILENO].from = end;
    return fcntl(end, F_SETFL, O_RDONLY | O_NONBLOCK);
}

int do_make_pipe(struct context *context, const struct step_make_pipe *step) {
    int ends[2];
    if (step->stream > STDERR_FILENO) return refuse(context, EINVAL, "there are three standard descriptors");
    if (pipe2(ends, O_CLOEXEC) < 0) return -1;
    bool input = step->stream == STDIN_FILENO;
    if (!input) fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE); // refused: the payload waits for us more often
    if (keep_end(context, step->stream, ends[input]) < 0) return -1;
    return publish(context, step->to, ends[!input]);
}

static int open_file(const struct log *log) {
    return openat(log->folder, "0.log", O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
}

int do_open_log(struct context *context, const struct step_open_log *step) {
    struct log *log = log_of(context);
    if (!log) return -1;
    log->folder = open(step->folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (log->folder < 0 || (log->file = open_file(log)) < 0) return explain(context, "%s", step->folder);
    log->rate = step->rate < RATE_LIMIT ? step->rate : RATE_LIMIT;
    log->size = step->size;
    log->files = step->files;
    log->allowed = (int64_t)log->rate;
    log->counted = now();
    context->deed->made = true;
    return 0;
}

int undo_open_log(struct context *context, const struct step_open_log *step, struct deed *deed, enum ending ending) {
    (void)step, (void)ending;
    struct log *log = context->log;
    if (!deed->made) return 0;
    close_held(&log->file);
    close_held(&log->folder);
    return 0;
}

// ── the files

// A log that cannot be written to loses what is in it, and never the payload.
static void rotate(struct log *log) {
    char from[16], to[16];
    close_held(&log->file);
    for (uint32_t n = log->files; n-- > 1;) {
        format_into(from, sizeof from, "%u.log", n - 1);
        format_into(to, sizeof to, "%u.log", n);
        renameat(log->folder, from, log->folder, to);
    }
    if (log->files == 1) unlinkat(log->folder, "0.log", 0);
    log->written = 0;
}

// What a full disk took only in part goes again: the next line would seem to be the rest of it.
static bool put(struct log *log, const char *data, size_t length) {
    if (log->written && log->written + length > log->size) rotate(log);
    if (log->file < 0) log->file = open_file(log);
    if (log->file < 0) return false;
    if (write_all(log->file, data, length) < 0) {
        if (ftruncate(log->file, (off_t)log->written) < 0) rotate(log);
        return false;
    }
    log->written += length;
    return true;
}

// ── lines

static void stamp(char to[STAMP]) {
    struct timespec time;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &time);
    gmtime_r(&time.tv_sec, &parts);
    char text[STAMP + 1];
    const unsigned year = (unsigned)parts.tm_year + 1900, month = (unsigned)parts.tm_mon + 1;
    const unsigned day = (unsigned)parts.tm_mday, hour = (unsigned)parts.tm_hour;
    const unsigned minute = (unsigned)parts.tm_min, second = (unsigned)parts.tm_sec;
    format_into(text, sizeof text, "%04u-%02u-%02uT%02u:%02u:%02u.%09luZ", year, month, day, hour, minute, second,
                (unsigned long)time.tv_nsec);
    memcpy(to, text, STAMP);
}

// What is missing is told as a line of its own, where it is missing.
static void tell(struct log *log, uint64_t *bytes, const char *why) {
    char text[128], at[STAMP];
    if (!*bytes) return;
    stamp(at);
    size_t length = format_into(text, sizeof text, "%.*s volt F %lu bytes %s\n", (int)STAMP, at, (unsigned long)*bytes, why);
    if (put(log, text, length)) *bytes = 0;
}

static void tell_missing(struct log *log) {
    tell(log, &log->discarded, "discarded: log.rate");
    tell(log, &log->lost, "lost: the log could not be written");
}

struct lines {
    struct log *log;
    char head[HEAD];
    size_t used; // of log->lines
};

static void flush(struct lines *lines) {
    struct log *log = lines->log;
    if (lines->used && !put(log, log->lines, lines->used)) log->lost += lines->used;
    lines->used = 0;
}

static void add(struct lines *lines, const char *text, size_t length, bool whole) {
    if (lines->used + HEAD + length + 1 > LOG_LINES) flush(lines);
    char *to = lines->log->lines + lines->used;
    memcpy(to, lines->head, HEAD);
    to[HEAD - 2] = whole ? 'F' : 'P';
    if (length) memcpy(to + HEAD, text, length);
    to[HEAD + length] = '\n';
    lines->used += HEAD + length + 1;
}

static struct lines lines_of(struct log *log, int stream) {
    struct lines lines = {.log = log};
    stamp(lines.head);
    memcpy(lines.head + STAMP, " ", 1);
    memcpy(lines.head + STAMP + 1, names[stream], 6);
    memcpy(lines.head + STAMP + 7, " F ", 3);
    return lines;
}

static void add_piece(struct log *log, int stream, const char *at, size_t left) {
    if (log->lost) tell_missing(log);
    struct lines lines = lines_of(log, stream);
    struct stream *from = &log->streams[stream];
    while (left) {
        const char *end = memchr(at, '\n', left);
        size_t length = end ? (size_t)(end - at) : left, step = length + (end != NULL);
        if (!from->skipping) add(&lines, at, length, end != NULL);
        else log->discarded += step;
        from->open = !end && !from->skipping;
        if (end) from->skipping = false;
        at += step;
        left -= step;
    }
    flush(&lines);
}

// ── what is too much

// A line that was cut off is ended, so that what comes later does not seem to be the rest of it.
static bool end_line(struct log *log, int n) {
    struct stream *stream = &log->streams[n];
    if (!stream->open) return false;
    struct lines lines = lines_of(log, n);
    add(&lines, "", 0, true);
    flush(&lines);
    stream->open = false;
    return true;
}

static void begin_discarding(struct log *log) {
    log->discarding = true;
    for (int n = 0; n < LOG_STREAMS; n++)
        if (end_line(log, n)) log->streams[n].skipping = true;
}

// As many bytes as the time since then allows, at most those of one second.
static void allow(struct log *log) {
    uint64_t time = now(), most = log->rate;
    uint64_t passed = time - log->counted > 1000 ? 1000 : time - log->counted;
    const int64_t more = (int64_t)(log->rate * passed / 1000);
    if (more == 0) return; // of a small rate: what is counted later is not lost
    log->counted = time;
    log->allowed += more;
    if (log->allowed > (int64_t)most) log->allowed = (int64_t)most;
    // Not at the first byte again: each turn costs a line that tells of it.
    if (!log->discarding || log->allowed < (int64_t)(most / 4)) return;
    log->discarding = false;
    tell_missing(log);
}

// A pipe's bytes move to nowhere without being copied, unless something is looked for in them.
static ssize_t discard(struct log *log, int from) {
    if (log->search) return read(from, log->piece, LOG_PIECE);
    if (log->null < 0) log->null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    ssize_t gone = splice(from, NULL, log->null, NULL, PIPE_SIZE, SPLICE_F_NONBLOCK);
    return gone >= 0 || errno != EINVAL ? gone : read(from, log->piece, LOG_PIECE); // a terminal is no pipe
}

// One piece of a stream, -1 where there is none now or ever again.
static int take(struct log *log, int n) {
    struct stream *stream = &log->streams[n];
    allow(log);
    if (!log->discarding && log->allowed <= 0) begin_discarding(log);
    ssize_t got = log->discarding ? discard(log, stream->from) : read(stream->from, log->piece, LOG_PIECE);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return -1;
    if (got <= 0) { // its end; EIO of a master whose slaves are closed
        close_held(&stream->from);
        return -1;
    }
    if (log->search) search_in(log->search, n, log->piece, (size_t)got);
    if (log->discarding) {
        log->discarded += (uint64_t)got;
        stream->skipping = true;
        return 0;
    }
    size_t length = (size_t)got;
    // systemd ends its lines as a terminal wants them, which ends them once more.
    if (log->console) length = as_lines(log->piece, as_lines(log->piece, length));
    log->allowed -= got;
    add_piece(log, n, log->piece, length);
    return 0;
}

// ── for the supervisor

void log_watch(const struct log *log, struct pollfd polls[LOG_STREAMS]) {
    for (int n = 0; n < LOG_STREAMS; n++) polls[n] = (struct pollfd){log ? log->streams[n].from : -1, POLLIN, 0};
}

void log_copy(struct log *log, const struct pollfd polls[LOG_STREAMS]) {
    for (int n = 0; log && n < LOG_STREAMS; n++)
        if (polls[n].revents) take(log, n);
}

// What is still in the pipes when all that could write to them has ended.
void log_finish(struct log *log) {
    for (int n = 0; log && n < LOG_STREAMS; n++)
        for (int i = 0; i < DRAIN_LIMIT && log->streams[n].from >= 0 && take(log, n) == 0; i++) continue;
    if (log) tell_missing(log);
}

// A line of volt's own.
void log_say(struct log *log, const char *text) {
    char at[STAMP];
    if (!log) return;
    for (int n = 0; n < LOG_STREAMS; n++) end_line(log, n);
    struct mark before = mark_memory();
    stamp(at);
    char *line = format_text("%.*s volt F %s\n", (int)STAMP, at, text);
    if (!put(log, line, strlen(line))) log->lost += strlen(line);
    forget_since(before);
}

// Nothing comes from the start that is over; the files stay.
void log_forget(struct log *log) {
    for (int n = 0; log && n < LOG_STREAMS; n++) {
        close_held(&log->streams[n].from);
        log->streams[n].skipping = false;
    }
    if (log) log->search = NULL;
}
