// The static program: `volt perform FD` performs a plan and supervises it; `volt init FD FD` is PID 1 inside; `volt
// keep-names …` keeps a resolver; with any other words it is the `volt` of the command line.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "lookup.h"
#include "resolver.h"
#include "restart.h"
#include "volt.h"
#include "table.h"

#define PYTHON_ENTRY "volt-python"
#define ASKED_BY "python:" // volt/__main__.py

int do_lifeline(struct context *context, const struct step_lifeline *step) {
    if (fcntl((int)step->descriptor, F_SETFD, FD_CLOEXEC) < 0) return -1;
    context->lifeline = (int)step->descriptor;
    return 0;
}

int do_time_limit(struct context *context, const struct step_time_limit *step) {
    context->time_limit = step->milliseconds;
    return 0;
}

// A caller may have closed them: what we open must not become standard output.
static void hold_standard(void) {
    for (int n = 0; n <= 2; n++)
        if (fcntl(n, F_GETFD) < 0) open("/dev/null", O_RDWR); // the lowest number that is free: n
}

// From here every signal waits to be read, so that no step is interrupted and none is lost. Held, one that the caller
// ignores would come all the same, and nohup(1), and the shell that starts a job behind `&`, mean that it does not.
static int hold_signals(struct context *context) {
    static const int callers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTSTP};
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    struct sigaction was;
    sigset_t all = every_signal();
    for (size_t i = 0; i < sizeof callers / sizeof *callers; i++)
        if (sigaction(callers[i], NULL, &was) == 0 && was.sa_handler == SIG_IGN) sigdelset(&all, callers[i]);
    sigaction(SIGCHLD, &standard, NULL); // ignored, it would reap our children
    sigprocmask(SIG_SETMASK, &all, NULL);
    context->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    return context->signals < 0 ? -1 : 0;
}

// Everything but the plan itself.
static int begin(struct context *context) {
    if (hold_signals(context) < 0 || k_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0) return -1;
    context->callers_umask = umask(0); // modes are as the plan has them
    context->slots.pid = (uint64_t)getpid();
    context->slots.started = (uint64_t)time(NULL);
    context->slots.clock = start_clock();
    return 0;
}

// One start of the payload, up to its end.
static void run_once(struct context *context) {
    if (perform_section(context, false) < 0 || context->guard <= 0) return;
    supervise(context);
    read_events(context); // while the cgroup is there
}

// A launch that has failed is undone; what has run is over, however a later start has ended.
static enum ending ending_of(const struct context *context) {
    return context->failure.happened && !context->result.started && !context->again ? FAILED : FINISHED;
}

// The plan in the file `plan`, or where it lies in memory already in `whole`.
static int perform_main(struct context *context, int plan, struct bytes whole) {
    hold_standard();
    context_init(context);
    context->plan = plan;
    int result = begin(context);
    if (result == 0) result = whole.start ? load_bytes(context, whole, false) : load_program(context, plan, false);
    // The plan stays open as long as the run: `volt audit` reads it by way of /proc.
    for (unsigned i = 1; result == 0 && i <= context->program.registers; i++) hold(context, i, (int)i - 1);
    if (result < 0) {
        context->failure.happened = true;
        context->failure.error = errno;
    } else
        do run_once(context);
        while (restart_again(context));
    undo_all(context, ending_of(context));
    print_failure(context);
    print_events(context);
    return exit_status(context);
}

static int say_missing(const char *entry) {
    const char *text = format_text("volt: its Python part cannot be started: %s: %s\nhint: install volt again\n", entry,
                                   strerror(errno));
    write_all(STDERR_FILENO, text, strlen(text));
    return VOLT_FAILED;
}

// The interpreter's own name goes before the words where it was `python -m volt` that asked; else the Python entry
// lies beside this program.
static int start_python(char **words) {
    if (strncmp(words[0], ASKED_BY, sizeof ASKED_BY - 1) == 0) {
        size_t count = 0;
        while (words[count]) count++;
        char **more = keep((count + 3) * sizeof *more);
        char module[] = "volt.cli", flag[] = "-m";
        more[0] = words[0] + sizeof ASKED_BY - 1;
        more[1] = flag;
        more[2] = module;
        memcpy(more + 3, words + 1, count * sizeof *more);
        execv(more[0], more);
        return say_missing(more[0]);
    }
    char *entry = format_text("%s/" PYTHON_ENTRY, own_folder());
    execv(entry, words);
    return say_missing(entry);
}

// What a user starts: a cached launch, or Python for everything else.
static int front_main(struct context *context, char **words) {
    struct bytes plan;
    int entry = -1; // stays open too
    hold_standard();
    if (lookup(words, &plan, &entry)) return perform_main(context, entry, plan);
    return start_python(words);
}

static int descriptor_number(const char *text) {
    char *end;
    long number = strtol(text, &end, 10);
    return *text && !*end && number >= 0 && number < 1 << 20 ? (int)number : -1;
}

int main(int count, char **words) {
    static struct context context; // small and zero at first: what is never written to takes no memory
    int first = count > 2 ? descriptor_number(words[2]) : -1, second = count > 3 ? descriptor_number(words[3]) : -1;
    if (count == 3 && strcmp(words[1], "perform") == 0 && first >= 0) return perform_main(&context, first, (struct bytes){0});
    if (count == 4 && strcmp(words[1], "init") == 0 && first >= 0 && second >= 0) return init_main(&context, first, second);
    if (count > KEEPER_WORDS && strcmp(words[1], KEEP_NAMES) == 0) keep_names(&context, words);
    return count > 0 ? front_main(&context, words) : VOLT_FAILED;
}
