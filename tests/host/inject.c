// Runs a command under ptrace(2), logs every call that changes something outside its process, and kills or fails
// one process at one of them.
//
//     inject LOG SECONDS POINT COMMAND...
//
// POINT is PROCESS:N:kill, PROCESS:N:kill:OTHER (another process at that moment), PROCESS:N:NUMBER (an errno instead
// of the call), or - for none. PROCESS is 1 for the command, 1.2 for its second child, and so on; N counts the calls
// of that one process, from 1. Lines of the log:
//
//     born PROCESS PID      call PROCESS N NAME ABOUT      exec PROCESS PROGRAM      hit PROCESS N
//     ended PROCESS STATUS  left PROCESS PID
//
// STATUS is as a shell's. `left` are processes that still live SECONDS after the last of: the start, the hit, the
// end of the command; they are killed then. A filter of system calls lets everything else pass unseen (seccomp(2),
// SECCOMP_RET_TRACE), so that a traced run takes hardly longer. Needs root, and an x86-64.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "changing.h"

#define PROCESSES 4096
#define OPTIONS (PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | \
                 PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL)

enum { CALLS = sizeof calls / sizeof *calls };

static struct process {
    pid_t pid;  // 0: free
    char *path; // NULL until its parent's event has named it; then it is held
    unsigned children, count;
    bool traced; // from its first exec, or its birth
    char program[PATH_MAX];
} processes[PROCESSES];

static struct {
    char process[128], victim[128];
    unsigned count;
    int error; // 0: kill
} point;
static FILE *trace;
static unsigned seconds;
static volatile sig_atomic_t late;

static _Noreturn void fail(const char *what) {
    perror(what);
    exit(2);
}

static struct process *find(pid_t pid) {
    for (int i = 0; i < PROCESSES; i++)
        if (processes[i].pid == pid) return &processes[i];
    if (pid == 0) fail("too many processes");
    return NULL;
}

static void name(struct process *process, const char *above, unsigned number) {
    int made = number ? asprintf(&process->path, "%s.%u", above, number) : asprintf(&process->path, "%s", above);
    if (made < 0) fail("asprintf");
    fprintf(trace, "born %s %d\n", process->path, process->pid);
}

// ── one call

// As much as there is of `size` bytes; the rest is 0.
static void read_memory(pid_t pid, __u64 from, void *to, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    int memory = open(path, O_RDONLY | O_CLOEXEC);
    memset(to, 0, size);
    if (memory < 0 || pread(memory, to, size, (off_t)from) < 0) memset(to, 0, size);
    if (memory >= 0) close(memory);
}

static void read_about(pid_t pid, const struct call *call, unsigned long long value, char *to, size_t size) {
    char link[64];
    memset(to, 0, size);
    snprintf(link, sizeof link, "/proc/%d/fd/%d", pid, (int)value);
    if (call->kind == TEXT && value) read_memory(pid, value, to, size - 1);
    if (call->kind == FILE_OF && readlink(link, to, size - 1) < 0) to[0] = '\0';
    if (call->kind == POINTED) read_memory(pid, value, &value, sizeof value);
    if (call->kind == POINTED || call->kind == NUMBER) snprintf(to, size, "%#llx", value);
    for (; *to; to++)
        if (*to < ' ') *to = '?'; // a line stays one
}

// What the filter cannot see: writes to files that have a place, opens that make one.
static bool changes(pid_t pid, const struct call *call, unsigned long long third, const char *about) {
    unsigned long long how;
    switch (call->number) {
    case SYS_openat2:
        read_memory(pid, third, &how, sizeof how);
        return how & CREATES;
    case SYS_write: case SYS_pwrite64: case SYS_writev:
        return about[0] == '/' && strncmp(about, "/memfd:", 7) != 0 && strncmp(about, "/dev/", 5) != 0;
    case SYS_prctl:
        return strtoul(about, NULL, 0) != PR_CAPBSET_READ;
    default:
        return true;
    }
}

// The call is not made; its result is `error`.
static void refuse(pid_t pid, int error) {
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, pid, 0, &registers) < 0) return; // it has just died
    registers.orig_rax = ~0ull;
    registers.rax = (unsigned long long)-error;
    ptrace(PTRACE_SETREGS, pid, 0, &registers);
}

static void enter(struct process *process) {
    static char about[PATH_MAX];
    struct __ptrace_syscall_info info;
    unsigned long index; // what the filter returned with SECCOMP_RET_TRACE
    if (!process->traced || ptrace(PTRACE_GETEVENTMSG, process->pid, 0, &index) < 0 || index >= CALLS) return;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, process->pid, sizeof info, &info) < 0) return;
    const struct call *call = &calls[index];
    read_about(process->pid, call, info.seccomp.args[call->about], about, sizeof about);
    if (!changes(process->pid, call, info.seccomp.args[2], about)) return;
    if (call->number == SYS_execve) memcpy(process->program, about, sizeof about);
    fprintf(trace, "call %s %u %s %s\n", process->path, ++process->count, call->name, about);
    if (process->count != point.count || strcmp(process->path, point.process) != 0) return;
    fprintf(trace, "hit %s %u\n", process->path, process->count);
    alarm(seconds);
    if (point.error) refuse(process->pid, point.error);
    for (int i = 0; i < PROCESSES && !point.error; i++)
        if (processes[i].path && strcmp(processes[i].path, point.victim) == 0) kill(processes[i].pid, SIGKILL);
}

// ── its processes

static void forked(struct process *parent) {
    unsigned long pid;
    if (ptrace(PTRACE_GETEVENTMSG, parent->pid, 0, &pid) < 0) return;
    struct process *child = find((pid_t)pid);
    if (child) ptrace(PTRACE_CONT, child->pid, 0, 0);
    else (child = find(0))->pid = (pid_t)pid;
    child->traced = true;
    name(child, parent->path, ++parent->children);
}

static void stopped(pid_t pid, int status) {
    struct process *process = find(pid);
    int event = status >> 16, number = WSTOPSIG(status);
    if (!process) { // its parent's event is yet to come: held until then
        find(0)->pid = pid;
        return;
    }
    if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) forked(process);
    if (event == PTRACE_EVENT_SECCOMP) enter(process);
    if (event == PTRACE_EVENT_EXEC) {
        fprintf(trace, "exec %s %s\n", process->path, process->program);
        process->traced = true;
    }
    bool stays = event == PTRACE_EVENT_STOP && number != SIGTRAP; // as a job that is stopped
    ptrace(stays ? PTRACE_LISTEN : PTRACE_CONT, pid, 0, event ? 0 : number);
}

static void ended(struct process *process, int status) {
    fprintf(trace, "ended %s %d\n", process->path ? process->path : "?",
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    if (process->path && strcmp(process->path, "1") == 0) alarm(seconds);
    free(process->path);
    *process = (struct process){0};
    for (int i = 0; i < PROCESSES && WIFSIGNALED(status); i++) // killed in its fork, it cannot name its child
        if (processes[i].pid && !processes[i].path) {
            name(&processes[i], "?", 0);
            ptrace(PTRACE_CONT, processes[i].pid, 0, 0);
        }
}

// ── the command

static void install_filter(void) {
    static struct sock_filter code[5 * CALLS + 2];
    unsigned short used = 0;
#define ADD(...) code[used++] = (struct sock_filter)__VA_ARGS__
    ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    for (unsigned i = 0; i < CALLS; i++) {
        ADD(BPF_JUMP(BPF_JMP | BPF_JEQ, (unsigned)calls[i].number, 0, calls[i].mask ? 4 : 1));
        if (calls[i].mask) {
            ADD(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args) + 8 * calls[i].tested));
            ADD(BPF_JUMP(BPF_JMP | BPF_JSET, calls[i].mask, 1, 0));
            ADD(BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW));
        }
        ADD(BPF_STMT(BPF_RET, SECCOMP_RET_TRACE | i));
    }
    ADD(BPF_STMT(BPF_RET, SECCOMP_RET_ALLOW));
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &(struct sock_fprog){used, code}) < 0) fail("seccomp");
}

static void start(char **command) {
    pid_t pid = fork();
    if (pid == 0) {
        raise(SIGSTOP); // until it is traced
        install_filter();
        execvp(command[0], command);
        fail(command[0]);
    }
    if (pid < 0 || waitpid(pid, NULL, WUNTRACED) < 0 || ptrace(PTRACE_SEIZE, pid, 0, OPTIONS) < 0) fail("start");
    processes[0].pid = pid;
    snprintf(processes[0].program, PATH_MAX, "%s", command[0]);
    name(processes, "1", 0);
    kill(pid, SIGCONT);
}

static void on_alarm(int number) {
    late = number;
    alarm(1); // once more, should this one come just before the waiting
}

int main(int count, char **words) {
    char deed[16];
    if (count < 5) return fputs("usage: inject LOG SECONDS POINT COMMAND...\n", stderr), 2;
    seconds = (unsigned)atoi(words[2]);
    int given = sscanf(words[3], "%127[0-9.]:%u:%15[a-z0-9]:%127s", point.process, &point.count, deed, point.victim);
    if (given >= 3) point.error = atoi(deed); // 0 for the word kill
    if (given == 3) strcpy(point.victim, point.process);
    if (!(trace = fopen(words[1], "we"))) fail(words[1]);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm}, NULL); // no SA_RESTART: it ends the waiting
    start(words + 4);
    alarm(seconds);
    for (int status; !late;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0 && errno == ECHILD) break;
        if (pid > 0 && WIFSTOPPED(status)) stopped(pid, status);
        else if (pid > 0 && find(pid)) ended(find(pid), status);
    }
    for (int i = 0; i < PROCESSES; i++)
        if (processes[i].path) fprintf(trace, "left %s %d\n", processes[i].path, processes[i].pid);
    return fclose(trace) == 0 ? 0 : 2;
}
