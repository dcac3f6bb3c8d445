// What a detached payload writes, on its way into the log (volt/model/steps.py, open-log).
#ifndef VOLT_LOG_H
#define VOLT_LOG_H

#include <poll.h>

#include "search.h"
#include "volt.h"

#define LOG_PIECE 16384u // bytes that are read at once, and the longest piece of a line
#define LOG_LINES 65536u // bytes that are written at once

enum { LOG_OUTPUT, LOG_ERRORS, LOG_STREAMS };

struct stream {
    int from;      // the reading end of a pipe, or a terminal's master; -1: at its end
    bool open;     // the last line that was written of it lacks its end
    bool skipping; // up to the next line: what came before was discarded
};

struct log {
    struct stream streams[LOG_STREAMS];
    int folder, file, null;
    uint64_t rate, size; // bytes a second, bytes
    uint32_t files;
    uint64_t written;    // into 0.log
    int64_t allowed;     // bytes that may be taken now
    uint64_t counted;    // when that was; milliseconds of CLOCK_MONOTONIC
    uint64_t discarded, lost; // above the rate, and to a disk that took nothing; since it was last told
    bool discarding;
    bool console; // an init's, terminal.h
    struct search *search; // what is looked for in all that is written, discarded or not; or NULL
    char piece[LOG_PIECE], lines[LOG_LINES];
};

void log_watch(const struct log *log, struct pollfd polls[LOG_STREAMS]);
void log_copy(struct log *log, const struct pollfd polls[LOG_STREAMS]);
void log_finish(struct log *log);
void log_say(struct log *log, const char *text);
void log_forget(struct log *log);

#endif
