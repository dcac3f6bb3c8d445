// The step that has modules of the kernel loaded: by the host's modprobe(8), which knows where they lie and what they need.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"
#include "table.h"

#define LOADED_BY 10000 // milliseconds
#define LOOKED_EACH 100 // … whether it is still wanted
#define KILLED_BY 1000  // … that it may take then: what hangs in the kernel is not waited for
#define LAST_WORDS 4096 // bytes of what it wrote

// Whether it works: its folder is there before it has begun to and while it ends, and then its state is another word. A
// part of the kernel has none. Documentation/ABI/testing/sysfs-module.
static bool is_loaded(const char *name) {
    char state[sizeof "live"] = "";
    int file = open(format_text("/sys/module/%s/initstate", name), O_RDONLY | O_CLOEXEC);
    if (file < 0) return access(format_text("/sys/module/%s", name), F_OK) == 0;
    ssize_t length = read_up_to(file, state, sizeof state - 1);
    close_held(&file);
    return length > 0 && strcmp(state, "live") == 0;
}

// In a session of its own, where no terminal interrupts it, and whose processes are ended together.
static _Noreturn void become_modprobe(struct context *context, const char *program, const char *name, int words) {
    const char *argv[] = {"modprobe", "--", name, NULL}, *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    sigset_t none;
    sigemptyset(&none);
    close_held(&context->control); // our copy would hide the supervisor's death
    umask(022);                    // what modprobe.d(5) has it run may make files
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (setsid() >= 0 && forbid_orphan(context) == 0 && chdir("/") == 0 && dup2(null, 0) >= 0 && dup2(words, 1) >= 0 &&
        dup2(words, 2) >= 0 && k_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0)
        execve(program, (char *const *)argv, (char *const *)environment);
    const char *text = format_text("%s: %s\n", program, strerror(errno));
    write_all(words, text, strlen(text));
    _exit(VOLT_FAILED);
}

// Somebody wants the launch to end: the signal waits for who supervises, and the caller's lifeline closes.
static bool is_unwanted(const struct context *context) {
    struct pollfd lifeline = {.fd = context->lifeline};
    sigset_t waiting;
    if (poll(&lifeline, 1, 0) > 0) return true;
    if (sigpending(&waiting) < 0) return false;
    return sigismember(&waiting, SIGINT) || sigismember(&waiting, SIGTERM) || sigismember(&waiting, SIGHUP);
}

static bool has_ended(int pidfd, int milliseconds) {
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    return poll(&ended, 1, milliseconds) > 0;
}

// Whether it has ended in time, with *status; why not goes to *why.
static bool await(const struct context *context, pid_t child, int pidfd, int *status, const char **why) {
    uint64_t until = now() + LOADED_BY;
    bool good = false;
    *why = NULL;
    while (!(good = has_ended(pidfd, LOOKED_EACH)) && !*why)
        if (is_unwanted(context)) *why = "is not waited for: the launch is to end";
        else if (now() >= until) *why = "has not ended within 10 seconds";
    if (!good && kill(-child, SIGKILL) < 0) kill(child, SIGKILL); // not yet in a session of its own
    if (good || has_ended(pidfd, KILLED_BY)) waitpid(child, status, 0);
    return good;
}

// The first line that is no warning names the cause; the first of all where each is one.
static char *cause(char *text) {
    for (char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        bool warns = strstr(line, "WARNING") && strstr(line, "WARNING") < line + length;
        bool last = !line[length];
        line[length] = '\0';
        if (!warns) return line;
        if (last) break;
        line += length + 1;
    }
    return text;
}

static int refuse_unloaded(struct context *context, const struct step_load_modules *step, const char *name, int words,
                           int status) {
    char text[LAST_WORDS];
    ssize_t got = read(words, text, sizeof text - 1);
    text[got < 0 ? 0 : got] = '\0';
    const char *said = cause(text);
    if (!status) return refuse(context, 0, "%s: %s has ended well and not loaded it: see modprobe.d(5)", name, step->program);
    if (said[0]) return refuse(context, 0, "%s: %s", name, said);
    if (WIFSIGNALED(status)) return refuse(context, 0, "%s: %s was ended by signal %d", name, step->program, WTERMSIG(status));
    return refuse(context, 0, "%s: %s has ended with status %d", name, step->program, WEXITSTATUS(status));
}

static int load(struct context *context, const struct step_load_modules *step, const char *name) {
    int words[2], pidfd = -1, status = 0, result = 0;
    const char *why;
    if (!step->program[0]) return refuse(context, 0, "%s: it is loaded no more, and modprobe(8) is not installed", name);
    if (pipe2(words, O_CLOEXEC | O_NONBLOCK) < 0) return explain(context, "%s", name);
    pid_t child = start_child(0, &pidfd, -1);
    if (child == 0) become_modprobe(context, step->program, name, words[1]);
    if (child < 0) result = explain(context, "%s", step->program);
    else if (!await(context, child, pidfd, &status, &why)) result = refuse(context, 0, "%s: %s %s", name, step->program, why);
    else if (status || !is_loaded(name)) result = refuse_unloaded(context, step, name, words[0], status);
    close_held(&pidfd);
    close_held(&words[0]);
    close_held(&words[1]);
    return result;
}

int do_load_modules(struct context *context, const struct step_load_modules *step) {
    int result = 0;
    for (size_t i = 0; result == 0 && i < step->modules.count; i++)
        if (!is_loaded(step->modules.items[i])) result = load(context, step, step->modules.items[i]);
    return result;
}
