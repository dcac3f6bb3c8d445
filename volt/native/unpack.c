// Unpacking: items become what lies inside. A file takes its place when it is whole, and a folder that is there stays
// what it is.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "copy.h"

#define FOLDER (O_PATH | O_DIRECTORY | O_CLOEXEC)

struct level {
    int folder;
    bool made;
    size_t length; // of the path above it
};
static struct level levels[ITEM_DEEPEST + 2]; // [0] is what the copy lies in

// ── what comes

// Whoever sends has gone, or is none of ours: nothing is left that is not whole.
static _Noreturn void give_up(const struct copy *copy) {
    if (copy->made[0]) unlinkat(copy->made_in, copy->made, 0);
    _exit(VOLT_FAILED);
}

static void receive(const struct copy *copy, void *to, size_t length) {
    if (read_up_to(copy->from, to, length) != (ssize_t)length) give_up(copy);
}

static void receive_text(const struct copy *copy, char *to, uint64_t length) {
    if (length > ITEM_TEXT) give_up(copy);
    receive(copy, to, length);
    to[length] = '\0';
    if (strlen(to) != length) give_up(copy);
}

static struct item receive_item(const struct copy *copy) {
    uint8_t head[ITEM_HEAD];
    receive(copy, head, sizeof head);
    receive_text(copy, copy->name, get_number(head + 36, 4));
    receive_text(copy, copy->text, get_number(head + 40, 4));
    return (struct item){
        .kind = (uint32_t)get_number(head, 4),
        .mode = (uint32_t)get_number(head + 4, 4),
        .uid = (uint32_t)get_number(head + 8, 4),
        .gid = (uint32_t)get_number(head + 12, 4),
        .size = get_number(head + 16, 8),
        .seconds = (int64_t)get_number(head + 24, 8),
        .nanoseconds = (uint32_t)get_number(head + 32, 4),
        .name = copy->name,
        .text = copy->text,
    };
}

static bool valid_name(const char *name) {
    return name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

// ── files and links

// A file's by its descriptor: another user inside may have put something else under its name. `file` -1: a link, or "."
// of a folder.
static int set_attributes(const struct copy *copy, int file, int folder, const char *name, const struct item *item) {
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {item->seconds, (long)item->nanoseconds}};
    mode_t mode = item->mode & 07777;
    if (file >= 0) {
        if (copy->archive && fchown(file, item->uid, item->gid) < 0) return -1;
        return fchmod(file, mode) < 0 ? -1 : futimens(file, times);
    }
    if (copy->archive && fchownat(folder, name, item->uid, item->gid, AT_SYMLINK_NOFOLLOW) < 0) return -1;
    if (item->kind == ITEM_LEAVE && fchmodat(folder, name, mode, 0) < 0) return -1;
    return utimensat(folder, name, times, AT_SYMLINK_NOFOLLOW);
}

// The content of a file into `file`, or to nowhere where that is -1. 0, or the first error.
static int receive_content(const struct copy *copy, int file, uint64_t size) {
    uint8_t head[PIECE_HEAD];
    int error = 0;
    for (uint64_t at = 0; at < size;) {
        receive(copy, head, sizeof head);
        uint64_t length = get_number(head, PIECE_HEAD);
        bool hole = length & PIECE_HOLE;
        length &= ~PIECE_HOLE;
        if (length == 0 || length > size - at || (!hole && length > PIECE_LIMIT)) give_up(copy);
        if (!hole) receive(copy, copy->buffer, length);
        if (!hole && file >= 0 && !error && write_all(file, copy->buffer, length) < 0) error = errno;
        if (hole && file >= 0 && !error && lseek(file, (off_t)length, SEEK_CUR) < 0) error = errno;
        at += length;
    }
    return error || file < 0 || ftruncate(file, (off_t)size) == 0 ? error : errno;
}

static void name_new(struct copy *copy, int folder) {
    static unsigned made;
    format_into(copy->made, sizeof copy->made, ".volt-cp-%x-%x", (unsigned)now(), made++);
    copy->made_in = folder;
}

// Under its own name only once it is whole.
static void take_place(struct copy *copy, int file, const struct item *item, int error) {
    int folder = copy->made_in;
    uint32_t *count = item->kind == ITEM_FILE ? &copy->files : &copy->links;
    if (!error && set_attributes(copy, file, folder, copy->made, item) < 0) error = errno;
    if (!error && renameat(folder, copy->made, folder, item->name) < 0) error = errno;
    if (error) {
        unlinkat(folder, copy->made, 0);
        tell(copy, ITEM_PROBLEM, WHY_ERROR, error);
    } else ++*count;
    copy->made[0] = '\0';
}

static void unpack_file(struct copy *copy, const struct item *item) {
    int folder = copy->skipped ? -1 : levels[copy->depth].folder, file = -1, error = 0;
    if (folder >= 0) {
        name_new(copy, folder);
        file = openat(folder, copy->made, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (file < 0) {
            error = errno;
            copy->made[0] = '\0';
        }
    }
    int content = receive_content(copy, file, item->size);
    if (copy->made[0]) take_place(copy, file, item, content);
    else if (error) tell(copy, ITEM_PROBLEM, WHY_ERROR, error);
    close_held(&file);
}

static void unpack_link(struct copy *copy, const struct item *item) {
    if (copy->skipped) return;
    name_new(copy, levels[copy->depth].folder);
    take_place(copy, -1, item, symlinkat(item->text, copy->made_in, copy->made) < 0 ? errno : 0);
}

// The folder that the last name of `path` lies in, from the top of the copy down and over no link; that name is left in
// *name. -1 with errno.
static int open_below(char *path, const char **name) {
    int folder = openat(levels[1].folder, ".", FOLDER);
    for (char *slash; folder >= 0 && (slash = strchr(path, '/')); path = slash + 1) {
        *slash = '\0';
        int next = valid_name(path) ? openat(folder, path, FOLDER | O_NOFOLLOW) : (errno = EINVAL, -1);
        close_held(&folder);
        folder = next;
    }
    *name = path;
    return folder;
}

static void unpack_linked(struct copy *copy, const struct item *item) {
    const char *name;
    if (copy->skipped || copy->depth == 0) return;
    int folder = open_below(copy->text, &name), into = levels[copy->depth].folder;
    name_new(copy, into);
    bool made = folder >= 0 && linkat(folder, name, into, copy->made, 0) == 0;
    if (!made || renameat(into, copy->made, into, item->name) < 0) tell(copy, ITEM_PROBLEM, WHY_ERROR, errno);
    else copy->files++;
    // Where both were names of one file already, rename(2) has left it.
    if (made) unlinkat(into, copy->made, 0);
    copy->made[0] = '\0';
    close_held(&folder);
}

// ── folders

static void enter(struct copy *copy, const struct item *item, size_t above) {
    int parent = levels[copy->depth].folder, error = 0;
    bool deep = copy->depth > ITEM_DEEPEST;
    bool made = !deep && mkdirat(parent, item->name, 0700) == 0;
    if (!deep && !made && errno != EEXIST) error = errno;
    int folder = deep || error ? -1 : openat(parent, item->name, FOLDER | O_NOFOLLOW);
    if (folder < 0 && !error) error = errno;
    if (folder < 0) {
        tell(copy, ITEM_PROBLEM, deep ? WHY_DEEP : WHY_ERROR, deep ? 0 : error);
        copy->skipped = 1;
        return;
    }
    levels[++copy->depth] = (struct level){folder, made, above};
    copy->folders++;
    if (made && item->mode == ITEM_NO_MODE) fchmodat(folder, ".", 0755, 0);
}

static void leave(struct copy *copy, const struct item *item) {
    if (copy->skipped > 0) {
        copy->skipped--;
        return;
    }
    if (copy->depth == 0) give_up(copy);
    struct level *level = &levels[copy->depth--];
    if (level->made && item->mode != ITEM_NO_MODE && set_attributes(copy, -1, level->folder, ".", item) < 0)
        tell(copy, ITEM_PROBLEM, WHY_ERROR, errno);
    close_held(&level->folder);
    pop_name(copy, level->length);
}

static void take_item(struct copy *copy, const struct item *item) {
    size_t before = copy->length;
    if (item->kind == ITEM_LEAVE) {
        leave(copy, item);
        return;
    }
    if (!valid_name(item->name)) fail_copy(copy, EINVAL);
    if (item->kind == ITEM_ENTER && copy->skipped) {
        copy->skipped++;
        return;
    }
    push_name(copy, item->name);
    if (item->kind == ITEM_FILE) unpack_file(copy, item);
    else if (item->kind == ITEM_LINK) unpack_link(copy, item);
    else if (item->kind == ITEM_LINKED) unpack_linked(copy, item);
    else if (item->kind == ITEM_ENTER) enter(copy, item, before);
    else give_up(copy);
    // A folder that was entered is where what follows lies; leave() goes back.
    if (item->kind != ITEM_ENTER || copy->skipped) pop_name(copy, before);
}

// ── where it goes

// Opens the folder above `path`, and gives the last name of it, which comes to lie in `copy->text`.
static const char *open_above(struct copy *copy, const char *path) {
    size_t end = strlen(path), start;
    while (end > 1 && path[end - 1] == '/') end--;
    for (start = end; start > 0 && path[start - 1] != '/';) start--;
    const char *above = start ? format_text("%.*s", (int)start, path) : ".";
    levels[0].folder = openat(AT_FDCWD, above, FOLDER);
    if (levels[0].folder < 0) fail_copy(copy, errno);
    pop_name(copy, start && start < copy->length ? start : copy->length);
    format_into(copy->text, ITEM_TEXT + 1, "%.*s", (int)(end - start), path + start);
    return copy->text;
}

// As cp(1) has it: into a folder that is there, under the name of what comes, which is "" for what lies in it; else in
// the place of the path itself.
static void place(struct copy *copy, const char *path, const char *base, struct item *first) {
    struct stat status;
    bool there = stat(path, &status) == 0, folder = first->kind == ITEM_ENTER;
    if (!there && (errno != ENOENT || copy->into)) fail_copy(copy, errno);
    if (there && !S_ISDIR(status.st_mode) && (folder || copy->into)) fail_copy(copy, ENOTDIR);
    if (!there || !S_ISDIR(status.st_mode)) {
        if (!folder && path[strlen(path) - 1] == '/') fail_copy(copy, there ? ENOTDIR : ENOENT);
        const char *text = folder ? NULL : format_text("%s", first->text);
        first->name = format_text("%s", open_above(copy, path));
        if (text) first->text = text;
        return;
    }
    levels[0].folder = openat(AT_FDCWD, path, FOLDER);
    if (levels[0].folder < 0) fail_copy(copy, errno);
    first->name = base;
    if (*base || !folder) return;
    levels[1] = (struct level){.folder = openat(levels[0].folder, ".", FOLDER), .length = copy->length};
    if (levels[1].folder < 0) fail_copy(copy, errno);
    copy->depth = 1;
}

void unpack(struct copy *copy, const char *path, const char *base) {
    if (!*path) fail_copy(copy, ENOENT);
    struct item item = receive_item(copy);
    if (item.kind != ITEM_ENTER && item.kind != ITEM_FILE && item.kind != ITEM_LINK) give_up(copy);
    place(copy, path, base, &item);
    if (copy->depth == 0) take_item(copy, &item);
    while ((item = receive_item(copy)).kind != ITEM_END) take_item(copy, &item);
}
