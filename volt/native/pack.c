// Packing: what lies inside, as items. What changes while it is read is told, and the size announced holds.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "copy.h"

#define COUNT_TIME 3000     // milliseconds of looking first: beyond that nobody is told how much there is
#define COUNT_MOST 1000000u // items, likewise
#define MORE_ITEMS 1000u    // that may come above twice what was counted
#define MORE_BYTES (64u << 20)
#define OPEN (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

static void pack_item(struct copy *copy, int folder, const char *name);

static struct item item_of(enum item_kind kind, const struct stat *status, const char *name) {
    return (struct item){
        .kind = kind,
        .mode = status->st_mode & 07777,
        .uid = status->st_uid,
        .gid = status->st_gid,
        .size = S_ISREG(status->st_mode) ? (uint64_t)status->st_size : 0,
        .seconds = status->st_mtim.tv_sec,
        .nanoseconds = (uint32_t)status->st_mtim.tv_nsec,
        .name = name,
    };
}

// What is copied grows by no more than twice of what it was: a payload that adds faster than it is read has no end.
static void count(struct copy *copy, unsigned items, uint64_t bytes) {
    copy->items += items;
    copy->bytes += bytes;
    if (copy->counting) {
        if (copy->items >= COUNT_MOST || now() > copy->until) copy->uncounted = true;
    } else if (!copy->uncounted && (copy->items > copy->most_items || copy->bytes > copy->most_bytes)) {
        tell(copy, ITEM_FAILED, WHY_ENDLESS, 0);
        _exit(VOLT_FAILED);
    }
}

// ── files

static void send_hole(struct copy *copy, uint64_t length) {
    put_number(copy->buffer, length | PIECE_HOLE, PIECE_HEAD);
    if (length && write_all(copy->to, copy->buffer, PIECE_HEAD) < 0) _exit(VOLT_FAILED);
}

// The data from `at` up to `end`: where it got to.
static off_t send_data(struct copy *copy, int file, off_t at, off_t end) {
    while (at < end) {
        size_t most = end - at < (off_t)PIECE_LIMIT ? (size_t)(end - at) : PIECE_LIMIT;
        ssize_t got = pread(file, copy->buffer + PIECE_HEAD, most, at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            tell(copy, ITEM_PROBLEM, got ? WHY_ERROR : WHY_SHRANK, got ? errno : 0);
            break;
        }
        put_number(copy->buffer, (uint64_t)got, PIECE_HEAD);
        if (write_all(copy->to, copy->buffer, PIECE_HEAD + (size_t)got) < 0) _exit(VOLT_FAILED);
        at += got;
    }
    return at;
}

// Pieces and holes, as lseek(2) tells them apart, of `size` bytes together whatever happens to the file.
static void send_content(struct copy *copy, int file, off_t size) {
    for (off_t at = 0; at < size;) {
        off_t data = lseek(file, at, SEEK_DATA);
        if (data < 0 && errno != ENXIO) data = at; // it does not know holes
        if (data < 0 || data > size) data = size;
        send_hole(copy, (uint64_t)(data - at));
        off_t end = lseek(file, data, SEEK_HOLE);
        if (end < 0 || end > size) end = size;
        at = send_data(copy, file, data, end);
        if (at == end) continue;
        send_hole(copy, (uint64_t)(size - at));
        return;
    }
}

static void pack_file(struct copy *copy, int folder, const char *name, const char *shown) {
    struct stat status;
    int file = openat(folder, name, OPEN | (copy->follow ? 0 : O_NOFOLLOW));
    if (file < 0 || fstat(file, &status) < 0) tell(copy, ITEM_PROBLEM, WHY_ERROR, errno);
    else if (!S_ISREG(status.st_mode)) tell(copy, ITEM_PROBLEM, WHY_SPECIAL, 0);
    else {
        const struct item item = item_of(ITEM_FILE, &status, shown);
        count(copy, 0, item.size);
        send_item(copy, &item);
        send_content(copy, file, status.st_size);
        off_t before = status.st_size;
        if (fstat(file, &status) == 0 && status.st_size > before) tell(copy, ITEM_PROBLEM, WHY_GREW, 0);
    }
    close_held(&file);
}

// ── folders and links

static void pack_entries(struct copy *copy, DIR *entries) {
    struct dirent *entry;
    copy->depth++;
    while ((errno = 0, entry = readdir(entries)) && !(copy->counting && copy->uncounted)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        size_t before = push_name(copy, entry->d_name);
        pack_item(copy, dirfd(entries), entry->d_name);
        pop_name(copy, before);
    }
    if (!entry && errno) tell(copy, ITEM_PROBLEM, WHY_ERROR, errno);
    copy->depth--;
}

static void pack_folder(struct copy *copy, int folder, const char *name, const char *shown) {
    struct stat status;
    int own = openat(folder, name, OPEN | O_DIRECTORY | (copy->follow ? 0 : O_NOFOLLOW));
    copy->follow = false;
    DIR *entries = own < 0 || fstat(own, &status) < 0 ? NULL : fdopendir(own);
    if (!entries) {
        tell(copy, ITEM_PROBLEM, WHY_ERROR, errno);
        close_held(&own);
        return;
    }
    struct item item = item_of(ITEM_ENTER, &status, shown);
    if (!copy->counting) send_item(copy, &item);
    if (copy->depth < ITEM_DEEPEST) pack_entries(copy, entries);
    else tell(copy, ITEM_PROBLEM, WHY_DEEP, 0);
    closedir(entries);
    item.kind = ITEM_LEAVE;
    item.name = NULL;
    if (!copy->counting) send_item(copy, &item);
}

static void pack_link(struct copy *copy, int folder, const char *name, const char *shown, const struct stat *status) {
    struct item item = item_of(ITEM_LINK, status, shown);
    ssize_t length = readlinkat(folder, name, copy->text, ITEM_TEXT);
    if (length < 0) {
        tell(copy, ITEM_PROBLEM, WHY_ERROR, errno);
        return;
    }
    copy->text[length] = '\0';
    item.text = copy->text;
    if (!copy->counting) send_item(copy, &item);
}

// Looked at before it is opened: to open a device or a pipe may do something.
static void pack_item(struct copy *copy, int folder, const char *name) {
    struct stat status;
    const char *shown = copy->depth ? name : NULL; // what the first is called there is not for us to say
    if (fstatat(folder, name, &status, copy->follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0) {
        if (copy->depth == 0) fail_copy(copy, errno);
        if (errno != ENOENT) tell(copy, ITEM_PROBLEM, WHY_ERROR, errno); // it has gone meanwhile
        return;
    }
    // What is left out too: of that as well more may come than is told.
    count(copy, 1, copy->counting && S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0);
    if (S_ISDIR(status.st_mode)) pack_folder(copy, folder, name, shown);
    else if (S_ISLNK(status.st_mode)) pack_link(copy, folder, name, shown, &status);
    else if (!S_ISREG(status.st_mode)) tell(copy, ITEM_PROBLEM, WHY_SPECIAL, 0);
    else if (!copy->counting) pack_file(copy, folder, name, shown);
}

void pack(struct copy *copy, const char *path) {
    bool follow = copy->follow;
    copy->counting = true;
    copy->until = now() + COUNT_TIME;
    pack_item(copy, AT_FDCWD, path);
    const struct item total = {
        .kind = ITEM_TOTAL, .mode = copy->uncounted, .size = copy->bytes, .seconds = (int64_t)copy->items};
    send_item(copy, &total);
    copy->most_items = 2 * copy->items + MORE_ITEMS;
    copy->most_bytes = 2 * copy->bytes + MORE_BYTES;
    copy->counting = false;
    copy->items = copy->bytes = 0;
    copy->follow = follow;
    pack_item(copy, AT_FDCWD, path);
}
