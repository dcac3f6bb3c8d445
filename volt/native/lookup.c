// Looking the command line up in the plan cache (volt/model/entry.py). Whatever is odd, foreign or changed is no hit:
// then Python does the work, and leaves a new entry.
#include "lookup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "digest.h"
#include "kernel.h"
#include "read.h"
#include "table.h"

#define TEXT_LIMIT (1u << 20)
#define PIECE 4000 // bytes: for a read of /proc/sys the kernel allocates, and clears, as much as is asked for

struct cache {
    const char *root; // VOLT_ROOT without slashes at its end, or ""
    uint8_t key[DIGEST_LENGTH];
    int folder;
};

struct dependency {
    uint32_t kind;
    const char *name;
    uint64_t numbers[ENTRY_NUMBERS];
};

// ── only what root alone can have written

// Root's, and nobody else writes there. A sticky folder such as /tmp is safe if what follows in it is root's.
static bool trusted(int file, bool passing) {
    struct stat status;
    if (fstat(file, &status) < 0 || status.st_uid != 0) return false;
    return !(status.st_mode & (S_IWGRP | S_IWOTH)) || (passing && status.st_mode & S_ISVTX);
}

// Every folder on the way is looked at, and none is a link.
static int open_trusted(const char *path) {
    int folder = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (folder >= 0 && *path) {
        size_t length = strcspn(path, "/");
        if (length > 0) {
            const char *name = format_text("%.*s", (int)length, path);
            int next = openat(folder, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            close_held(&folder);
            folder = next;
            if (folder >= 0 && !trusted(folder, path[length] == '/')) close_held(&folder);
        }
        path += length + (path[length] == '/');
    }
    return folder;
}

// Where the file is wanted too, it stays open as `*kept`.
static bool read_trusted(int folder, const char *name, size_t limit, struct bytes *whole, int *kept) {
    struct stat status;
    int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool good = file >= 0 && trusted(file, false) && fstat(file, &status) == 0 && S_ISREG(status.st_mode) &&
                status.st_size > 0 && (uint64_t)status.st_size <= limit;
    if (good) {
        uint8_t *memory = keep((size_t)status.st_size);
        ssize_t got = read_up_to(file, memory, (size_t)status.st_size);
        *whole = (struct bytes){memory, got < 0 ? 0 : (size_t)got};
        good = got == status.st_size;
    }
    if (kept && good) *kept = file;
    else close_held(&file);
    return good;
}

// ── the question

static const char *variable_or_empty(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

// Where this program lies, which tells one installation from another: links on the way to it do not count.
const char *own_folder(void) {
    char own[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    own[length < 0 ? 0 : length] = '\0';
    int folder = (int)(last_part(own) - own);
    return format_text("%.*s", folder > 1 ? folder - 1 : folder, own);
}

// volt/model/entry.py, question(): the parts one behind the other, each ended by a zero byte.
static struct bytes question(const struct cache *cache, char **words) {
    char folder[PATH_MAX];
    unsigned terminal = 0;
    for (int n = 0; n <= 2; n++) terminal |= (unsigned)(isatty(n) != 0) << n;
    if (!getcwd(folder, sizeof folder)) return (struct bytes){0};
    const char *parts[] = {own_folder(), variable_or_empty("PYTHONPATH"), cache->root, folder,
                           format_text("%u", terminal), variable_or_empty("TERM")};
    size_t length = 0, count = sizeof parts / sizeof *parts;
    for (size_t i = 0; i < count; i++) length += strlen(parts[i]) + 1;
    for (char **word = words + 1; *word; word++) length += strlen(*word) + 1;
    char *text = keep(length), *at = text;
    for (size_t i = 0; i < count; i++) at = stpcpy(at, parts[i]) + 1;
    for (char **word = words + 1; *word; word++) at = stpcpy(at, *word) + 1;
    return (struct bytes){(uint8_t *)text, length};
}

static bool same_bytes(struct bytes one, struct bytes other) {
    return one.length == other.length && memcmp(one.start, other.start, one.length) == 0;
}

// ── what it depended on

static bool same_status(const struct dependency *on, const struct stat *now) {
    const uint64_t found[ENTRY_NUMBERS] = {
        now->st_dev,
        now->st_ino,
        (uint64_t)now->st_size,
        (uint64_t)now->st_mtim.tv_sec * 1000000000 + (uint64_t)now->st_mtim.tv_nsec,
        (uint64_t)now->st_ctim.tv_sec * 1000000000 + (uint64_t)now->st_ctim.tv_nsec,
    };
    return memcmp(found, on->numbers, sizeof found) == 0;
}

static bool same_place(const struct dependency *on, const struct stat *now) {
    const uint64_t found[ENTRY_NUMBERS] = {now->st_dev, now->st_ino, now->st_mode & S_IFMT, now->st_uid, now->st_gid};
    return memcmp(found, on->numbers, sizeof found) == 0;
}

static bool same_digest(struct digest *read, const uint64_t numbers[2]) {
    uint8_t found[DIGEST_LENGTH];
    uint64_t halves[2] = {0, 0};
    digest_end(read, found);
    for (unsigned i = 0; i < DIGEST_LENGTH; i++) halves[i / 8] |= (uint64_t)found[i] << (8 * (i % 8));
    return memcmp(halves, numbers, sizeof halves) == 0;
}

static bool same_text(const struct cache *cache, const struct dependency *on) {
    uint8_t piece[PIECE];
    struct digest text;
    size_t length = 0;
    ssize_t got;
    int file = open(on->name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) return false;
    digest_begin(&text, cache->key);
    while (length < TEXT_LIMIT && ((got = read(file, piece, sizeof piece)) > 0 || (got < 0 && errno == EINTR))) {
        if (got > 0) digest_add(&text, piece, (size_t)got);
        if (got > 0) length += (size_t)got;
    }
    close_held(&file);
    return got == 0 && same_digest(&text, on->numbers);
}

static bool same_capabilities(const struct dependency *on) {
    struct capability_header header = {.version = CAPABILITY_VERSION};
    struct capability_sets sets[2];
    if (syscall(SYS_capget, &header, sets) < 0) return false;
    return on->numbers[0] == (sets[0].effective | (uint64_t)sets[1].effective << 32);
}

static bool same_limit(const struct dependency *on) {
    struct rlimit limit;
    if (on->numbers[0] > INT_MAX || getrlimit((int)on->numbers[0], &limit) < 0) return false;
    return limit.rlim_cur == on->numbers[1] && limit.rlim_max == on->numbers[2];
}

static bool unchanged(const struct cache *cache, const struct dependency *on) {
    struct stat status;
    switch (on->kind) {
    case DEPENDS_FILE: return stat(on->name, &status) == 0 && same_status(on, &status);
    case DEPENDS_LINK: return lstat(on->name, &status) == 0 && same_status(on, &status);
    case DEPENDS_ABSENT: return lstat(on->name, &status) < 0 && (errno == ENOENT || errno == ENOTDIR);
    case DEPENDS_PLACE: return stat(on->name, &status) == 0 && same_place(on, &status);
    case DEPENDS_TEXT: return same_text(cache, on);
    case DEPENDS_UNSET: return getenv(on->name) == NULL;
    case DEPENDS_CAPABILITIES: return same_capabilities(on);
    case DEPENDS_LIMIT: return same_limit(on);
    default: return false;
    }
}

static bool all_unchanged(const struct cache *cache, struct reader *entry) {
    char path[PATH_MAX];
    uint32_t count = read_u32(entry);
    for (uint32_t i = 0; i < count; i++) {
        struct dependency on = {.kind = read_u32(entry)};
        struct bytes name = read_bytes(entry);
        for (int n = 0; n < ENTRY_NUMBERS; n++) on.numbers[n] = read_u64(entry);
        if (entry->damaged || name.length >= sizeof path || memchr(name.start, 0, name.length)) return false;
        memcpy(path, name.start, name.length);
        path[name.length] = '\0';
        on.name = path;
        if (!unchanged(cache, &on)) return false;
    }
    return true;
}

// ── what a crash left is Python's to remove

// A claim whose lock is free has a dead holder; a run's folder without a claim is what a crash left.
static bool left_behind(int folder, const char *name) {
    const char *lock = format_text("%s.lock", name);
    if (faccessat(folder, lock, F_OK, AT_SYMLINK_NOFOLLOW) == 0) return false; // told by the lock itself
    int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) return errno != ENOENT;
    bool free = flock(file, LOCK_SH | LOCK_NB) == 0;
    close_held(&file);
    return free;
}

static bool is_left(int folder, const char *name, const char *prefix) {
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return false;
    return prefix ? strncmp(name, prefix, strlen(prefix)) == 0 : left_behind(folder, name);
}

// Listed without opendir(3): what malloc(3) takes would stay as long as the run.
static bool something_left(const char *path, const char *prefix) {
    _Alignas(struct dirent) char entries[PIECE];
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool left = false;
    for (ssize_t got; !left && folder >= 0 && (got = getdents64(folder, (void *)entries, sizeof entries)) > 0;)
        for (ssize_t at = 0; !left && at < got; at += ((struct dirent *)(void *)(entries + at))->d_reclen)
            left = is_left(folder, ((struct dirent *)(void *)(entries + at))->d_name, prefix);
    close_held(&folder);
    return left;
}

static bool clean(const struct cache *cache) {
    const char *run = cache->root[0] ? format_text("%s/run", cache->root) : RUN_FOLDER;
    const char *state = cache->root[0] ? format_text("%s/state", cache->root) : STATE_FOLDER;
    return !something_left(format_text("%s/runs", run), NULL) && !something_left(format_text("%s/names", run), NULL) &&
           !something_left(UIDS_FOLDER, NULL) && !something_left(format_text("%s/layers", state), ".old-");
}

// ── the entry

static bool open_cache(struct cache *cache) {
    struct bytes key;
    const char *root = variable_or_empty("VOLT_ROOT");
    size_t length = strlen(root);
    while (length > 0 && root[length - 1] == '/') length--;
    if (root[0] && (root[0] != '/' || length == 0)) return false;
    cache->root = format_text("%.*s", (int)length, root);
    cache->folder = open_trusted(length ? format_text("%s/state/plans", cache->root) : STATE_FOLDER "/plans");
    if (cache->folder < 0 || !read_trusted(cache->folder, "key", DIGEST_LENGTH, &key, NULL)) return false;
    if (key.length != DIGEST_LENGTH) return false;
    memcpy(cache->key, key.start, sizeof cache->key);
    return true;
}

// The entry's part behind its header, if it is whole and sealed.
static bool open_entry(const struct cache *cache, struct bytes asked, struct bytes *body, int *file) {
    uint8_t name[DIGEST_LENGTH], seal[DIGEST_LENGTH];
    char hex[2 * DIGEST_LENGTH + 1];
    struct bytes whole;
    digest(asked.start, asked.length, cache->key, name);
    for (unsigned i = 0; i < DIGEST_LENGTH; i++) format_into(hex + 2 * i, 3, "%02x", name[i]);
    if (!read_trusted(cache->folder, hex, ENTRY_MOST, &whole, file) || whole.length < ENTRY_HEADER) return false;
    struct reader header = reader_of(NULL, (struct bytes){whole.start + 8, ENTRY_HEADER - 8});
    uint32_t version = read_u32(&header), length = read_u32(&header);
    if (memcmp(whole.start, ENTRY_MAGIC, 8) != 0 || version != ENTRY_VERSION || length != whole.length) return false;
    *body = (struct bytes){whole.start + ENTRY_HEADER, whole.length - ENTRY_HEADER};
    digest(body->start, body->length, cache->key, seal);
    return memcmp(seal, header.at, DIGEST_LENGTH) == 0;
}

// True with the plan where an entry answers these words, and the file that it lies in.
bool lookup(char **words, struct bytes *plan, int *file) {
    struct cache cache;
    struct bytes body;
    if (geteuid() != 0 || getuid() != 0 || !words[1] || strcmp(words[1], "run") != 0 || !open_cache(&cache)) return false;
    struct bytes asked = question(&cache, words);
    bool hit = asked.length > 0 && open_entry(&cache, asked, &body, file);
    if (hit) {
        struct reader entry = reader_of(NULL, body);
        hit = same_bytes(read_bytes(&entry), asked) && all_unchanged(&cache, &entry) && clean(&cache);
        *plan = read_bytes(&entry);
        hit = hit && reader_ended(&entry);
    }
    close_held(&cache.folder);
    if (!hit) close_held(file);
    return hit;
}
