// What shows that the payload is ready, how that stands, and who is told (volt/model/steps.py, await-… and tell-ready).
#ifndef VOLT_READY_H
#define VOLT_READY_H

#include <poll.h>

#include "frames.h"
#include "search.h"
#include "watcher.h"

#define READY_TEXT 2048u // bytes of a path, or of a request

// Memory of its own: it outlives the launch, and most runs have none.
struct ready {
    enum sign sign;
    uint32_t step;        // its printed number
    uint64_t limit, by;   // milliseconds, and when they are over; 0: no limit
    uint64_t tell_at;     // when the caller is told again that it is ready; 0: it has been, or is not
    int folder;           // of the run
    uint32_t port;
    int shown;            // by the init, for the watcher; or -1
    struct before before;
    int news, living;     // the watcher's: the end of its pipe that is read, and the one that ends it; or -1
    pid_t watcher;
    bool tells;           // the caller's NOTIFY_SOCKET
    bool given_up;
    uint64_t since;       // seconds since the epoch; 0: not yet
    char waiting[NEWS_TEXT], said[NEWS_TEXT];
    struct search search;
    char text[READY_TEXT];
};

bool ready_takes(struct context *context, const struct frame *frame);
void ready_forget(struct context *context);
void ready_expect(struct context *context);
int ready_begin(struct context *context);
void ready_watch(const struct context *context, struct pollfd *one);
void ready_take(struct context *context, const struct pollfd *one);
void ready_reap(struct context *context);
void ready_tell(struct context *context, uint64_t time);
bool ready_is_late(struct context *context, uint64_t time);
void ready_end(struct context *context);
bool ready_awaited(const struct context *context);

#endif
