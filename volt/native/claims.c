// Claims: a file that one process alone can link and lock, and whose lock dies with it.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ports.h"
#include "table.h"

#define ATTEMPTS 100      // holders can die and others come while we look
#define SECOND_LOOKS 5
#define HOLDER_LENGTH 512 // bytes of a claim's content that are looked at
#define UID_RANGE 65536u

// A locked file with `content` that has no name yet. *temporary is the name that it needed after all.
static int unnamed_file(const char *folder, const char *content, char **temporary) {
    *temporary = NULL;
    int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        *temporary = format_text("%s/.claim-%d", folder, getpid());
        file = open(*temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    }
    if (file < 0) return -1;
    if (flock(file, LOCK_EX | LOCK_NB) < 0 || write_all(file, content, strlen(content)) < 0) {
        close_held(&file);
        if (*temporary) unlink(*temporary);
        return -1;
    }
    return file;
}

static int link_file(int file, const char *temporary, const char *path) {
    char link[32];
    format_into(link, sizeof link, "/proc/self/fd/%d", file);
    return linkat(AT_FDCWD, temporary ? temporary : link, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
}

// Whether the path is still this file's: another one of that name would be a new holder's.
bool is_named(int file, const char *path) {
    struct stat ours, named;
    return fstat(file, &ours) == 0 && lstat(path, &named) == 0 && ours.st_ino == named.st_ino &&
           ours.st_dev == named.st_dev;
}

// The file at `path` belongs to a process that is gone: remove it. 0 done or nothing there, 1 its holder
// lives, -1 an error. *holder gets the living holder's content.
static int remove_dead(struct context *context, const char *path, char *holder) {
    int file = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0) return errno == ENOENT ? 0 : -1;
    int result = flock(file, LOCK_EX | LOCK_NB);
    if (result < 0 && errno == EWOULDBLOCK) {
        ssize_t got = pread(file, holder, HOLDER_LENGTH - 1, 0);
        holder[got > 0 ? got : 0] = '\0';
        result = 1;
    } else if (result == 0 && is_named(file, path)) {
        result = retract_dead(context, file) < 0 ? -1 : unlink(path);
    }
    close_held(&file);
    return result;
}

// 0 claimed, 1 held by a living process, -1 an error.
static int claim(struct context *context, const char *path, const char *folder, const char *content, char *holder) {
    char *temporary;
    int file = unnamed_file(folder, content, &temporary), result = -1;
    if (file < 0) return -1;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        result = link_file(file, temporary, path);
        if (result == 0 || errno != EEXIST) break;
        result = remove_dead(context, path, holder);
        if (result != 0) break;
        errno = EBUSY;
        result = -1;
    }
    int error = errno;
    if (temporary) unlink(temporary);
    errno = error;
    if (result != 0) {
        close_held(&file);
        return result;
    }
    context->deed->descriptor = file;
    context->deed->path = format_text("%s", path);
    context->deed->made = true;
    return 0;
}

// While the lock is held nobody else can have taken the name.
static int release(struct deed *deed) {
    int result = unlink(deed->path) == 0 || errno == ENOENT ? 0 : -1;
    close_held(&deed->descriptor);
    return result;
}

// The value of a key in a claim's one line of JSON, up to the next quote, comma or brace.
void holder_value(const char *content, const char *key, char *to, size_t size) {
    const char *at = strstr(content, key);
    size_t length = 0;
    if (at) {
        at += strlen(key);
        at += strspn(at, "\": ");
        length = strcspn(at, "\",}\n");
    }
    harmless(to, size, at ? at : "?", at ? length : 1);
}

// As claim(), but whoever looks whether a claim is dead holds its lock for a moment: such a holder is soon gone.
static int claim_one(struct context *context, const char *path, const char *folder, const char *content, char *holder) {
    int result = claim(context, path, folder, content, holder);
    for (int attempt = 0; result == 1 && attempt < SECOND_LOOKS; attempt++) {
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        result = claim(context, path, folder, content, holder);
    }
    return result;
}

// A living holder is refused by name.
static int claim_label(struct context *context, const char *folder, const char *label, const char *content,
                       const char *taken) {
    char holder[HOLDER_LENGTH], run[64], pid[32];
    char *path = format_text("%s/%s", folder, label);
    int result = claim_one(context, path, folder, content, holder);
    if (result < 0) return explain(context, "%s", path);
    if (result == 0) return 0;
    holder_value(holder, "\"run\"", run, sizeof run);
    holder_value(holder, "\"pid\"", pid, sizeof pid);
    return refuse(context, 0, "'%s' is already %s: run %s, pid %s", label, taken, run, pid);
}

int do_claim_name(struct context *context, const struct step_claim_name *step) {
    if (claim_label(context, step->folder, step->label, step->content, "running") < 0) return -1;
    context->claimed = true;
    return 0;
}

int undo_claim_name(struct context *context, const struct step_claim_name *step, struct deed *deed,
                    enum ending ending) {
    (void)context, (void)step, (void)ending;
    return release(deed);
}

// Who reads it is nobody here, and learns of it when a file has been written that has a name: inotify(7).
int do_claim_host(struct context *context, const struct step_claim_host *step) {
    if (claim_label(context, step->folder, step->label, step->content, "a name on this network") < 0) return -1;
    const char *path = context->deed->path;
    int again = fchmod(context->deed->descriptor, 0644) < 0 ? -1 : open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (again < 0) return explain(context, "%s", path);
    close_held(&again);
    return 0;
}

int undo_claim_host(struct context *context, const struct step_claim_host *step, struct deed *deed,
                    enum ending ending) {
    (void)context, (void)step, (void)ending;
    return release(deed);
}

static char *own_content(const struct context *context) {
    return format_text("{\"run\":\"%s\",\"pid\":%" PRIu64 "}\n", context->slots.run, context->slots.pid);
}

// Into `to`, with a NUL behind them: an even number of random hex digits, MACHINE_DIGITS at most.
int draw_digits(char *to, size_t digits) {
    unsigned char random[MACHINE_DIGITS / 2];
    if (getrandom(random, digits / 2, 0) != (ssize_t)(digits / 2)) return -1;
    for (size_t i = 0; i < digits / 2; i++) format_into(to + 2 * i, 3, "%02x", random[i]);
    return 0;
}

int do_claim_run(struct context *context, const struct step_claim_run *step) {
    char holder[HOLDER_LENGTH];
    int result = 1;
    for (int attempt = 0; attempt < ATTEMPTS && result == 1; attempt++) {
        if (draw_digits(context->slots.run, RUN_DIGITS) < 0) return -1;
        char *path = format_text("%s/%s.lock", step->folder, context->slots.run);
        result = claim(context, path, step->folder, own_content(context), holder);
    }
    return result == 0 ? 0 : explain(context, "%s", step->folder);
}

// Whoever waits for a run has its claim's file open, and reads there how it ended: of most runs nothing else stays.
int undo_claim_run(struct context *context, const struct step_claim_run *step, struct deed *deed,
                   enum ending ending) {
    (void)step, (void)ending;
    (void)write_outcome(context, deed->descriptor); // a full disk is no reason to keep the claim
    return release(deed);
}

// The claim's file is named after the range's first uid.
int do_claim_uids(struct context *context, const struct step_claim_uids *step) {
    char holder[HOLDER_LENGTH];
    uint64_t last = (uint64_t)step->base + (uint64_t)step->count * UID_RANGE;
    if (last > UINT32_MAX) return refuse(context, ERANGE, "there is no uid beyond 4294967294");
    for (uint32_t i = 0; i < step->count; i++) {
        uint32_t first = step->base + (uint32_t)(((uint64_t)step->first + i) % step->count) * UID_RANGE;
        char *path = format_text("%s/%u", step->folder, first);
        int result = claim(context, path, step->folder, own_content(context), holder);
        if (result < 0) return explain(context, "%s", path);
        if (result == 0) {
            context->slots.uids = first;
            return 0;
        }
    }
    return refuse(context, 0, "no range of uids is free");
}

// The claim's file is named after the address. Its link dies with the network namespace, the claim with its holder.
int do_claim_address(struct context *context, const struct step_claim_address *step) {
    char holder[HOLDER_LENGTH], run[64], pid[32];
    for (uint32_t i = 0; i < step->count; i++) {
        uint32_t address = step->base + (uint32_t)(((uint64_t)step->first + i) % step->count);
        char *path = format_text("%s/%u.%u.%u.%u", step->folder, address >> 24, address >> 16 & 255,
                                 address >> 8 & 255, address & 255);
        // Of many addresses the next one is as good.
        int result = (step->count == 1 ? claim_one : claim)(context, path, step->folder, own_content(context), holder);
        if (result < 0) return explain(context, "%s", path);
        if (result == 0) {
            context->slots.address = address;
            context->address_claim = context->deed->descriptor;
            return 0;
        }
        if (step->count > 1) continue;
        holder_value(holder, "\"run\"", run, sizeof run);
        holder_value(holder, "\"pid\"", pid, sizeof pid);
        return refuse(context, 0, "the address %s is taken: run %s, pid %s", last_part(path), run, pid);
    }
    return refuse(context, 0, "no address of the network is free");
}

int undo_claim_address(struct context *context, const struct step_claim_address *step, struct deed *deed,
                       enum ending ending) {
    (void)context, (void)step, (void)ending;
    return release(deed);
}

int undo_claim_uids(struct context *context, const struct step_claim_uids *step, struct deed *deed,
                    enum ending ending) {
    (void)context, (void)step, (void)ending;
    return release(deed);
}
