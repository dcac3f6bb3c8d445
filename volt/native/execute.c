// The step that ends a section: descriptors in their places, the filter, exec.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"
#include "table.h"

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin"
#define SIGNALS 64

// Above every place that will be written to, so that no source is overwritten before it is used.
static int lift(int *descriptor, int above) {
    if (*descriptor < 0 || *descriptor >= above) return 0;
    *descriptor = fcntl(*descriptor, F_DUPFD_CLOEXEC, above);
    return *descriptor < 0 ? -1 : 0;
}

static int place(struct descriptors sources, int first, int above) {
    for (size_t i = 0; i < sources.count; i++)
        if (lift(&sources.items[i], above) < 0) return -1;
    for (size_t i = 0; i < sources.count; i++)
        if (sources.items[i] >= 0 && dup2(sources.items[i], first + (int)i) < 0) return -1;
    return 0;
}

// All from `first` on but the one that reports a failed exec, which closes with it. Closed at once: a link, a script or
// a program of the image opens through /proc/self/fd whatever is open during the exec, and some leads out of its root.
static int close_others(const struct context *context, unsigned first) {
    int reports = context->report_pipe >= 0 ? context->report_pipe : context->control_far;
    unsigned kept = (unsigned)reports;
    if (reports < (int)first) return k_close_range(first, ~0u, 0);
    if (kept > first && k_close_range(first, kept - 1, 0) < 0) return -1;
    return k_close_range(kept, kept, CLOSE_RANGE_CLOEXEC) < 0 ? -1 : k_close_range(kept + 1, ~0u, 0);
}

// 0 to 2 and 3 and up in their places, and no others.
static int place_all(struct context *context, const struct step_execute *step) {
    int above = 3 + (int)step->descriptors.count;
    if (step->stdio.count > 3) return refuse(context, EINVAL, "there are three standard descriptors");
    if (step->stdio.count + step->descriptors.count > 0) {
        if (lift(&context->control_far, above) < 0 || lift(&context->report_pipe, above) < 0) return -1;
        for (size_t i = 0; i < step->descriptors.count; i++)
            if (lift(&step->descriptors.items[i], above) < 0) return -1;
        if (place(step->stdio, 0, above) < 0 || place(step->descriptors, 3, above) < 0) return -1;
    }
    return close_others(context, (unsigned)above);
}

// All that was blocked or ignored on the way is as a program expects it.
static void default_signals(void) {
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int number = 1; number <= SIGNALS; number++) sigaction(number, &standard, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

// Every path that `program` may be found at, in order, ended by NULL: made before the filter is on.
static char **candidates(const char *program, char *const *environment) {
    const char *path = variable(environment, "PATH");
    if (!path) path = DEFAULT_PATH;
    size_t count = 2, n = 0;
    for (const char *at = path; *at; at++) count += *at == ':';
    char **found = keep((count + 1) * sizeof *found);
    if (strchr(program, '/')) {
        found[0] = format_text("%s", program);
        return found;
    }
    for (const char *at = path; *program;) {
        size_t length = strcspn(at, ":");
        found[n++] = format_text("%.*s%s%s", (int)length, at, length ? "/" : "", program);
        if (!at[length]) break;
        at += length + 1;
    }
    return found;
}

static struct texts joined(struct texts first, struct texts second) {
    struct texts all = {first.count + second.count, keep((first.count + second.count + 1) * sizeof(char *))};
    if (first.count) memcpy(all.items, first.items, first.count * sizeof *all.items);
    if (second.count) memcpy(all.items + first.count, second.items, second.count * sizeof *all.items);
    return all;
}

// seccomp(2) asks for SYS_ADMIN, or that nothing gains rights any more. Where an image is booted neither is so for a
// session as another user: it gains none.
static int filter_exec(const struct context *context) {
    if (install_filter(context->filter) == 0) return 0;
    if (errno != EACCES || !context->asked || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -1;
    return install_filter(context->filter);
}

int do_execute(struct context *context, const struct step_execute *step) {
    const struct asked *asked = context->asked;
    struct texts argv = asked ? asked->argv : step->argv, defaults = step->defaults, env = step->env;
    if (asked) defaults = joined(defaults, asked->defaults), env = joined(env, asked->env);
    if (argv.count == 0) return refuse(context, 0, "there is nothing to run");
    char **environment = build_environment(context, defaults, step->env_files, env);
    if (!environment) return -1;
    // Without an errno: one here would say that the command cannot be run.
    if (place_all(context, step) < 0)
        return context->failure.text[0] ? -1 : refuse(context, 0, "descriptors: %s", strerror(errno));
    char **paths = candidates(argv.items[0], environment);
    int error = ENOENT;
    umask(022);
    default_signals();
    // What a session runs ends with it. Here, because a change of ids takes this away.
    if (asked && prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0) return refuse(context, 0, "it cannot be tied to its session");
    if (filter_exec(context) < 0)
        return refuse(context, 0, "the filter of system calls was refused: %s", strerror(errno));
    if (asked && asked->copies) {
        close_held(&context->report_pipe); // as an exec would: it has started
        copy_files(&argv);
    }
    for (; *paths; paths++) {
        execve(*paths, argv.items, environment);
        if (errno != ENOENT && errno != ENOTDIR) error = errno;
        if (errno != ENOENT && errno != ENOTDIR && errno != EACCES) break;
    }
    errno = error;
    return explain(context, "%s", argv.items[0]);
}
