// The step that finds the resolver of a network, or has one started: a keeper outlives the launch that starts it.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "resolver.h"
#include "table.h"

#define RESOLVER_STARTS 10000 // milliseconds until it answers, another launch's or one that ends before it too
#define LOOK_EVERY 500000     // nanoseconds
#define KEPT_PLANS "/plans/"  // volt/native/lookup.c, wherever the state is
#define LAST_WORDS 400        // bytes of what a program wrote that does not start

// ── starting a keeper

static int move_to(int descriptor, int number) {
    if (descriptor == number) return fcntl(number, F_SETFD, 0);
    return descriptor < 0 ? -1 : dup2(descriptor, number);
}

// In a child that is nobody's: the lock comes along, of all else nothing.
static int become_keeper(struct context *context, const struct step_ensure_resolver *step, int lock) {
    static char program[] = "volt", verb[] = KEEP_NAMES;
    char **words = keep((step->argv.count + 5) * sizeof *words);
    words[0] = program;
    words[1] = verb;
    words[2] = format_text("%s", step->path);
    words[3] = format_text("%s", step->mark);
    memcpy(words + 4, step->argv.items, step->argv.count * sizeof *words);
    context->slots.pid = (uint64_t)getpid();
    const struct step_start_scope scope = {step->bus, step->unit, step->request, step->run_at, step->pid_at};
    if (setsid() < 0 || chdir("/") < 0) return -1;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    int log = open(format_text("%s.log", step->path), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW, 0600);
    if (move_to(lock, KEEPER_LOCK) < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(log, 2) < 0) return -1;
    if (k_close_range(KEEPER_LOCK + 1, ~0u, 0) < 0) return -1;
    if (step->bus[0] && do_start_scope(context, &scope) < 0) {
        const char *text = format_text("%s: %s\n", context->failure.text, strerror(errno));
        return write_all(2, text, strlen(text));
    }
    execv("/proc/self/exe", words);
    return -1;
}

// The child of a child that ends at once: so it is not this process's to wait for.
static int start_keeper(struct context *context, const struct step_ensure_resolver *step, int lock) {
    int status = 0;
    pid_t child = fork_child();
    if (child == 0) {
        child = fork_child();
        if (child == 0) become_keeper(context, step, lock);
        _exit(child > 0 ? 0 : VOLT_FAILED);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0) return -1;
    errno = EAGAIN;
    return status ? -1 : 0;
}

// ── finding it

// A plan that was kept does not know of what has come into a resolver's way since: the next launch makes another.
static void forget_plan(const struct context *context) {
    char path[PATH_MAX];
    ssize_t length = readlink(format_text("/proc/self/fd/%d", context->plan), path, sizeof path - 1);
    path[length < 0 ? 0 : length] = '\0';
    if (strstr(path, KEPT_PLANS)) unlink(path);
}

static int refuse_silent(struct context *context, const struct step_ensure_resolver *step) {
    char text[LAST_WORDS];
    const char *path = format_text("%s.log", step->path);
    int log = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t got = log < 0 ? -1 : read_up_to(log, text, sizeof text - 1);
    close_held(&log);
    text[got < 0 ? 0 : got] = '\0';
    char *line = text + strspn(text, "\n");
    line[strcspn(line, "\n")] = '\0';
    forget_plan(context);
    return refuse(context, 0, "the resolver does not start: %s", line[0] ? line : path);
}

enum state { NOBODY, ANSWERS, SOON, BROKEN };

// Who holds the lock says when the resolver answers; of one that is dead, and whose lock another launch has just taken,
// nothing counts. Where it is started otherwise, what is said is taken away, and it ends.
static enum state find_resolver(int state, const char *mark) {
    char said[STATE_LENGTH];
    bool nobody = flock(state, LOCK_EX | LOCK_NB) == 0;
    ssize_t got = nobody ? 0 : pread(state, said, sizeof said - 1, 0);
    said[got < 0 ? 0 : got] = '\0';
    if (!nobody && (got <= 0 || kill((pid_t)strtoul(said, NULL, 10), 0) < 0)) return SOON;
    if (!nobody && strcmp(said + strcspn(said, " "), format_text(" %s\n", mark)) == 0) return ANSWERS;
    // What a dead one has said goes too.
    if (ftruncate(state, 0) < 0) return BROKEN;
    return nobody ? NOBODY : SOON;
}

// 0 where it answers, 1 where it does not yet.
static int look(struct context *context, const struct step_ensure_resolver *step, const char *path, int *state,
                bool *started) {
    enum state found = find_resolver(*state, step->mark);
    if (found == BROKEN) return explain(context, "%s", path);
    if (found != NOBODY) return found == ANSWERS ? 0 : 1;
    // Who takes the network away takes the file too, while he has its lock.
    bool named = is_named(*state, path);
    if (named && *started) return refuse_silent(context, step);
    int result = named ? start_keeper(context, step, *state) : 0;
    *started = named;
    close_held(state); // the lock is the keeper's now
    return result < 0 ? explain(context, "a keeper") : 1;
}

int do_ensure_resolver(struct context *context, const struct step_ensure_resolver *step) {
    const char *path = format_text("%s.resolver", step->path);
    bool started = false;
    int state = -1, result = 1;
    for (uint64_t until = now() + RESOLVER_STARTS; result > 0 && now() < until;) {
        if (state < 0) state = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (state < 0) return explain(context, "%s", path);
        result = look(context, step, path, &state, &started);
        if (result > 0) nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY}, NULL);
    }
    close_held(&state);
    if (result <= 0) return result;
    return refuse(context, 0, "the resolver has not answered for 10 seconds, see %s.log", step->path);
}
