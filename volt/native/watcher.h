// The process beside the supervisor that waits for a sign of the payload's readiness, and what it tells of.
#ifndef VOLT_WATCHER_H
#define VOLT_WATCHER_H

#include <stdint.h>
#include <sys/types.h>

#define NEWS_TEXT 248u // bytes of a news' text with its end

// The kinds of sign. Of a start, and of a line, the supervisor knows by itself.
enum sign { SIGN_START, SIGN_LINE, SIGN_NOTICE, SIGN_FILE, SIGN_PORT };

enum { NEWS_READY, NEWS_WAITING, NEWS_SAID, NEWS_ALIVE };

// Written and read whole: pipe(7), PIPE_BUF.
struct news {
    uint32_t kind;
    char text[NEWS_TEXT]; // why not yet; or what the payload says of itself
};

// A file as it was before the payload's start; zero: there was none.
struct before {
    uint64_t device, inode, seconds, nanoseconds;
};

struct watched {
    enum sign sign;
    int shown;         // by the init: the socket, the root, the network
    int news, living;  // where news go; what ends with the supervisor, or when it wants no more
    uint32_t port;
    const char *text;  // the file's path, or what is sent to the port: "" for nothing
    struct before before;
};

_Noreturn void watcher_main(struct watched watched);
int look_at(int root, const char *path, struct before *found);

#endif
