// A session that copies files: the items of its stream, what it tells of them, and its beginning and end.
#include "copy.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define WORDS 4 // the way, the path, the name of what comes, switches

void put_number(uint8_t *to, uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; i++) to[i] = (uint8_t)(value >> (8 * i));
}

uint64_t get_number(const uint8_t *from, unsigned size) {
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) value |= (uint64_t)from[i] << (8 * i);
    return value;
}

// Whoever reads has gone, or takes no more: there is nobody to tell.
static void send_bytes(const struct copy *copy, const void *data, size_t length) {
    if (length && write_all(copy->to, data, length) < 0) _exit(VOLT_FAILED);
}

void send_item(const struct copy *copy, const struct item *item) {
    uint8_t head[ITEM_HEAD], *at = head;
    size_t name = item->name ? strlen(item->name) : 0, text = item->text ? strlen(item->text) : 0;
    const struct {
        uint64_t value;
        unsigned size;
    } fields[] = {
        {item->kind, 4}, {item->mode, 4}, {item->uid, 4}, {item->gid, 4}, {item->size, 8},
        {(uint64_t)item->seconds, 8}, {item->nanoseconds, 4}, {name, 4}, {text, 4},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; at += fields[i++].size)
        put_number(at, fields[i].value, fields[i].size);
    send_bytes(copy, head, sizeof head);
    send_bytes(copy, item->name, name);
    send_bytes(copy, item->text, text);
}

void tell(const struct copy *copy, enum item_kind kind, enum why why, int error) {
    if (copy->counting && kind == ITEM_PROBLEM) return; // it is told when it is copied
    const struct item item = {.kind = kind, .mode = (uint32_t)error, .size = why, .name = copy->path};
    send_item(copy, &item);
}

_Noreturn void fail_copy(const struct copy *copy, int error) {
    tell(copy, ITEM_FAILED, WHY_ERROR, error);
    _exit(VOLT_FAILED);
}

// Adds a name to the path of what is told; gives what pop_name takes it away by.
size_t push_name(struct copy *copy, const char *name) {
    size_t before = copy->length, room = sizeof copy->path - before;
    const char *slash = before == 0 || copy->path[before - 1] == '/' ? "" : "/";
    size_t added = format_into(copy->path + before, room, "%s%s", slash, name);
    copy->length = before + (added < room ? added : room - 1);
    return before;
}

void pop_name(struct copy *copy, size_t length) {
    copy->length = length;
    copy->path[length] = '\0';
}

// What is asked for comes from the host's side; each path is the workload's own to resolve.
_Noreturn void copy_files(const struct texts *words) {
    struct copy *copy = keep(sizeof *copy);
    if (words->count != WORDS) _exit(VOLT_FAILED);
    const char *path = words->items[1], *base = words->items[2], *switches = words->items[3];
    copy->from = STDIN_FILENO;
    copy->to = STDOUT_FILENO;
    copy->follow = strchr(switches, 'L');
    copy->archive = strchr(switches, 'a');
    copy->into = strchr(switches, 'd');
    copy->buffer = keep(PIECE_HEAD + PIECE_LIMIT);
    copy->name = keep(2 * (ITEM_TEXT + 1));
    copy->text = copy->name + ITEM_TEXT + 1;
    push_name(copy, path);
    if (strlen(path) > ITEM_TEXT) fail_copy(copy, ENAMETOOLONG);
    if (strcmp(words->items[0], "out") == 0) pack(copy, path);
    else unpack(copy, path, base);
    const struct item end = {.kind = ITEM_END, .mode = copy->links, .uid = copy->files, .gid = copy->folders};
    send_item(copy, &end);
    _exit(0);
}
