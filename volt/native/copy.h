// Copying behind the payload's wall: what lies inside as a stream of items, and such a stream as what lies inside.
#ifndef VOLT_COPY_H
#define VOLT_COPY_H

#include <limits.h>
#include <sys/stat.h>

#include "volt.h"
#include "table.h"

// volt/model/items.py
struct item {
    uint32_t kind, mode, uid, gid;
    uint64_t size;
    int64_t seconds;
    uint32_t nanoseconds;
    const char *name, *text;
};

struct copy {
    int from, to;          // where items come from, where they go
    bool follow, archive, into; // the first link; owners; the destination has to be a folder
    char path[PATH_MAX];   // of what is being copied, for what is told of it; cut off where it is too long
    size_t length;
    uint8_t *buffer;       // PIECE_LIMIT bytes behind PIECE_HEAD
    char *name, *text;     // of the item received last

    bool counting, uncounted;   // out: looking first, and having seen too much to count it
    uint64_t items, bytes, until;
    uint64_t most_items, most_bytes;
    unsigned depth, skipped; // of folders; in: of those within one that could not be entered
    uint32_t files, folders, links; // in: that are there now
    int made_in;             // in: where a file is that is not whole yet
    char made[32];           // … and its name; "" for none
};

void put_number(uint8_t *to, uint64_t value, unsigned size);
uint64_t get_number(const uint8_t *from, unsigned size);
void send_item(const struct copy *copy, const struct item *item);
void tell(const struct copy *copy, enum item_kind kind, enum why why, int error);
_Noreturn void fail_copy(const struct copy *copy, int error);
size_t push_name(struct copy *copy, const char *name);
void pop_name(struct copy *copy, size_t length);
void pack(struct copy *copy, const char *path);
void unpack(struct copy *copy, const char *path, const char *base);

#endif
