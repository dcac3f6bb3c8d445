// The static program: `volt perform FD` performs a plan and supervises it; `volt init FD FD` is PID 1 inside.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"
#include "table.h"

#define STAT_START_TIME 22 // proc(5), /proc/PID/stat: the field's number

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

// From here every signal waits to be read, so that no step is interrupted and none is lost.
static int hold_signals(struct context *context) {
    const struct sigaction standard = {.sa_handler = SIG_DFL};
    sigset_t all;
    sigfillset(&all);
    sigaction(SIGCHLD, &standard, NULL); // ignored, it would reap our children
    sigprocmask(SIG_SETMASK, &all, NULL);
    context->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    return context->signals < 0 ? -1 : 0;
}

// Our start in clock ticks since boot: the fields are counted behind the name, which may hold anything.
static uint64_t start_clock(void) {
    char line[1024];
    int file = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read_up_to(file, line, sizeof line - 1);
    close_held(&file);
    if (length <= 0) return 0;
    line[length] = '\0';
    char *at = strrchr(line, ')');
    for (int field = 2; at && field < STAT_START_TIME; field++) at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

static int begin(struct context *context, int plan) {
    if (hold_signals(context) < 0 || k_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) < 0) return -1;
    context->callers_umask = umask(0); // modes are as the plan has them
    context->slots.pid = (uint64_t)getpid();
    context->slots.started = (uint64_t)time(NULL);
    context->slots.clock = start_clock();
    if (load_program(context, plan, false) < 0) return -1;
    for (unsigned i = 1; i <= context->program.registers; i++) context->registers[i] = (int)i - 1;
    close(plan);
    return 0;
}

static int perform_main(int plan) {
    static struct context context;
    hold_standard();
    context_init(&context);
    if (begin(&context, plan) < 0) {
        context.failure.happened = true;
        context.failure.error = errno;
    } else if (perform_section(&context, false) == 0 && context.guard > 0) {
        supervise(&context);
    }
    undo_all(&context, context.failure.happened && !context.result.started ? FAILED : FINISHED);
    print_failure(&context);
    return exit_status(&context);
}

static int descriptor_number(const char *text) {
    char *end;
    long number = strtol(text, &end, 10);
    return *text && !*end && number >= 0 && number < 1 << 20 ? (int)number : -1;
}

int main(int count, char **words) {
    int first = count > 2 ? descriptor_number(words[2]) : -1, second = count > 3 ? descriptor_number(words[3]) : -1;
    if (count == 3 && strcmp(words[1], "perform") == 0 && first >= 0) return perform_main(first);
    if (count == 4 && strcmp(words[1], "init") == 0 && first >= 0 && second >= 0) return init_main(first, second);
    static const char usage[] = "volt: this program performs launch plans: volt perform FD, volt init FD FD\n";
    write_all(STDERR_FILENO, usage, sizeof usage - 1);
    return VOLT_FAILED;
}
