// The keeper of a network's resolver: it starts dnsmasq(8), again where that ends, and ends it when no name is left.
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "resolver.h"
#include "table.h"

#define LINGERS_LEAST 100 // milliseconds after the last name, or as long as it has been there, if that is not more than
#define LINGERS_MOST 2000 // … these: what is launched again and again needs one start
#define SETTLES 50        // … from a change to the look at all claims: many may be launched at once
#define ANSWERS_BY 5000 // … from a start to the first answer
#define ENDS_BY 2000   // … from SIGTERM to SIGKILL
#define LIVES 10000    // … and one that has lived so long had started well
#define STARTS 7       // in a row that end before that
#define FIRST_PAUSE 20 // milliseconds before the next, and twice as many before the one behind it
#define DOMAIN_PORT 53
#define NET_BIND_SERVICE (1u << 10) // capabilities(7)
#define READS (1u << 2 | 1u << 3)   // LANDLOCK_ACCESS_FS_: files and folders
#define RUNS (1u | READS)
#define WRITES (1u << 1 | 1u << 2)
#define CHANGES (IN_CREATE | IN_DELETE | IN_DELETE_SELF)

// The words of its command line, resolver.h.
enum { PATH = 2, MARK, UID, GID, ADDRESS, FILES, PORTS, SCOPES, FOLDER, PROGRAM };

// The question for the address of _ready.volt, which is no workload's, RFC 1035; volt/plan/names.py.
static const uint8_t QUESTION[] = "VO\1\0\0\1\0\0\0\0\0\0\6_ready\4volt\0\0\1\0\1";
#define ANSWER_COUNT 6 // where it stands in a message, in two bytes

struct keeper {
    struct context *context;
    char **words;
    const char *names, *state; // the folder of claims; what stands in the locked file when the resolver answers
    uint32_t address;
    uint64_t begun;            // milliseconds of CLOCK_MONOTONIC
    int events;                // of both
    int lives;                 // the writing end of a pipe that tells the resolver that this process does
    pid_t resolver;
    int pidfd;
};

static uint32_t word(const struct keeper *keeper, unsigned which, int base) {
    return (uint32_t)strtoul(keeper->words[which], NULL, base);
}

// ── the resolver

static int allow(int ruleset, const char *path, uint64_t access) {
    struct landlock_beneath rule = {access, open(path, O_PATH | O_CLOEXEC)};
    if (rule.parent < 0) return errno == ENOENT ? 0 : -1;
    int result = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_BENEATH, &rule, 0u);
    close(rule.parent);
    return result;
}

// landlock(7), as far as the plan says that the kernel has it: it reads what programs and libraries read, and the host's
// resolvers; it writes nothing; of TCP it has port 53.
static int fence(const struct keeper *keeper) {
    static const struct {
        const char *path;
        uint64_t access;
    } paths[] = {{"/usr", RUNS}, {"/lib", RUNS}, {"/lib64", RUNS}, {"/etc", READS}, {"/run", READS}, {"/proc", READS},
                 {"/dev/urandom", 1u << 2}, {"/dev/null", WRITES}};
    const struct landlock_ruleset held = {word(keeper, FILES, 16), word(keeper, PORTS, 16), word(keeper, SCOPES, 16)};
    const struct landlock_port port = {held.ports, DOMAIN_PORT};
    if (!held.files) return 0;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &held, sizeof held, 0u);
    int result = ruleset < 0 ? -1 : allow(ruleset, keeper->words[FOLDER], READS);
    for (size_t i = 0; result == 0 && i < sizeof paths / sizeof *paths; i++)
        result = allow(ruleset, paths[i].path, paths[i].access);
    if (result == 0 && held.ports) result = (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_PORT, &port, 0u);
    return result < 0 ? -1 : (int)syscall(SYS_landlock_restrict_self, ruleset, 0u);
}

// What it may do is to bind port 53, and to read what anybody may.
static int confine(struct keeper *keeper) {
    const struct rlimit no_core = {0};
    const struct step_bound_capabilities bound = {NET_BIND_SERVICE};
    const struct step_set_identity identity = {.uid = word(keeper, UID, 10), .gid = word(keeper, GID, 10)};
    const struct step_set_capabilities caps = {NET_BIND_SERVICE, NET_BIND_SERVICE};
    const struct step_no_new_privileges nothing = {0};
    if (setrlimit(RLIMIT_CORE, &no_core) < 0 || do_bound_capabilities(keeper->context, &bound) < 0) return -1;
    if (do_set_identity(keeper->context, &identity) < 0 || do_set_capabilities(keeper->context, &caps) < 0) return -1;
    return do_no_new_privileges(keeper->context, &nothing) < 0 ? -1 : fence(keeper);
}

static _Noreturn void become_resolver(struct keeper *keeper) {
    char *empty[] = {NULL};
    sigset_t none;
    sigemptyset(&none);
    close_held(&keeper->lives);
    // The death signal behind the change of ids, which takes it away.
    if (confine(keeper) == 0 && forbid_orphan(keeper->context) == 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0)
        execve(keeper->words[PROGRAM], keeper->words + PROGRAM, empty);
    const char *text = format_text("%s: %s\n", keeper->words[PROGRAM], strerror(errno));
    write_all(STDERR_FILENO, text, strlen(text));
    _exit(VOLT_FAILED);
}

// First in a pid namespace, so that its children for TCP end with it: they have its sockets.
static int start(struct keeper *keeper) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -1;
    keeper->context->control_far = ends[0];
    keeper->lives = ends[1];
    keeper->resolver = start_child(CLONE_NEWPID | CLONE_NEWIPC, &keeper->pidfd, -1);
    if (keeper->resolver == 0) become_resolver(keeper);
    close_held(&ends[0]);
    return keeper->resolver < 0 ? -1 : 0;
}

static void reap(struct keeper *keeper) {
    waitpid(keeper->resolver, NULL, 0);
    close_held(&keeper->pidfd);
    close_held(&keeper->lives);
}

static bool ends_within(const struct keeper *keeper, int milliseconds) {
    struct pollfd ended = {.fd = keeper->pidfd, .events = POLLIN};
    return poll(&ended, 1, milliseconds) > 0;
}

static void end(struct keeper *keeper) {
    k_pidfd_send_signal(keeper->pidfd, SIGTERM);
    if (!ends_within(keeper, ENDS_BY)) k_pidfd_send_signal(keeper->pidfd, SIGKILL);
    reap(keeper);
}

// Whether it answers within a millisecond, and not somebody else who knows no such name.
static bool answers(const struct keeper *keeper) {
    const struct sockaddr_in address = {AF_INET, htons(DOMAIN_PORT), {htonl(keeper->address)}, {0}};
    uint8_t answer[64];
    ssize_t got = -1;
    int asking = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct pollfd ready = {.fd = asking, .events = POLLIN};
    if (asking >= 0 && connect(asking, (const struct sockaddr *)&address, sizeof address) == 0 &&
        send(asking, QUESTION, sizeof QUESTION - 1, 0) > 0 && poll(&ready, 1, 1) > 0)
        got = recv(asking, answer, sizeof answer, 0);
    close_held(&asking);
    return got > ANSWER_COUNT + 1 && answer[ANSWER_COUNT + 1] > 0;
}

// ── keeping it

// Whether the claim's holder lives, who will be noticed when he dies: then his lock is free, and the file closed. It is
// not opened to be written here: closing it would be noticed too.
static bool is_living(const struct keeper *keeper, const char *name) {
    struct mark before = mark_memory();
    char *path = format_text("%s/%s", keeper->names, name);
    // Where there can be no more watches, its end is seen when somebody else's is.
    bool named_so = inotify_add_watch(keeper->events, path, IN_CLOSE_WRITE) >= 0 || errno != ENOENT;
    int claim = named_so ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    bool lives = claim >= 0 && flock(claim, LOCK_EX | LOCK_NB) < 0;
    if (claim >= 0 && !lives && is_named(claim, path)) unlink(path);
    close_held(&claim);
    forget_since(before);
    return lives;
}

// Whether no claim is left, without those of the dead, which go. A file that has no name yet is none; where the folder
// is gone, so is the network.
static bool is_empty(const struct keeper *keeper, bool *gone) {
    DIR *folder = opendir(keeper->names);
    bool empty = true;
    *gone = !folder;
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        if (entry->d_name[0] != '.' && is_living(keeper, entry->d_name)) empty = false;
    if (folder) closedir(folder);
    return empty;
}

static void tell(const struct keeper *keeper) {
    if (ftruncate(KEEPER_LOCK, 0) == 0) (void)pwrite(KEEPER_LOCK, keeper->state, strlen(keeper->state), 0);
}

// A launch that wants another resolver has taken it away.
static bool is_told(const struct keeper *keeper) {
    char said[STATE_LENGTH];
    ssize_t got = pread(KEEPER_LOCK, said, sizeof said, 0);
    return got == (ssize_t)strlen(keeper->state) && memcmp(said, keeper->state, (size_t)got) == 0;
}

// A launch claims its name before it looks at what is told: so it is seen here, or sees that nothing is.
static bool is_left(const struct keeper *keeper) {
    bool gone;
    if (ftruncate(KEEPER_LOCK, 0) < 0 || !is_empty(keeper, &gone)) {
        tell(keeper);
        return false;
    }
    return true;
}

static int lingers(const struct keeper *keeper) {
    uint64_t been = now() - keeper->begun;
    return (int)(been < LINGERS_LEAST ? LINGERS_LEAST : been > LINGERS_MOST ? LINGERS_MOST : been);
}

static void take_events(const struct keeper *keeper) {
    char events[4096];
    while (read(keeper->events, events, sizeof events) > 0) continue;
}

// Until the resolver has ended: false; or until it is wanted no more.
static bool watch(struct keeper *keeper) {
    struct pollfd polls[] = {{keeper->pidfd, POLLIN, 0}, {keeper->events, POLLIN, 0}};
    for (;;) {
        bool gone, empty = is_empty(keeper, &gone);
        int ready = poll(polls, 2, gone ? 0 : empty ? lingers(keeper) : -1);
        if (ready < 0 && errno != EINTR) return true;
        if (ready == 0 && is_left(keeper)) return true;
        if (polls[0].revents || (ready > 0 && ends_within(keeper, SETTLES))) return false;
        take_events(keeper);
        if (ready > 0 && !is_told(keeper)) return true;
    }
}

// One life of the resolver: false where it has ended by itself.
static bool keep_one(struct keeper *keeper, bool told) {
    if (start(keeper) < 0) return false;
    uint64_t until = now() + ANSWERS_BY;
    while (!answers(keeper))
        if (now() >= until || ends_within(keeper, 1)) {
            end(keeper);
            return false;
        }
    if (!told) tell(keeper);
    bool over = watch(keeper);
    if (over) end(keeper);
    else reap(keeper);
    return over;
}

static int prepare(struct keeper *keeper) {
    const char *state = format_text("%s.resolver", keeper->words[PATH]);
    if (chown(keeper->names, 0, word(keeper, GID, 10)) < 0 || chmod(keeper->names, 0750) < 0) return -1;
    keeper->events = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (inotify_add_watch(keeper->events, keeper->names, CHANGES) < 0) return -1;
    return inotify_add_watch(keeper->events, state, IN_MODIFY);
}

_Noreturn void keep_names(struct context *context, char **words) {
    struct keeper keeper = {.context = context, .words = words, .pidfd = -1, .lives = -1};
    context_init(context);
    keeper.begun = now();
    keeper.names = format_text("%s.names", words[PATH]);
    keeper.state = format_text("%d %s\n", getpid(), words[MARK]);
    keeper.address = word(&keeper, ADDRESS, 16);
    if (fcntl(KEEPER_LOCK, F_SETFD, FD_CLOEXEC) < 0 || prepare(&keeper) < 0) _exit(VOLT_FAILED);
    bool told = false;
    for (unsigned failures = 0; failures < STARTS; failures++) {
        uint64_t begun = now();
        if (keep_one(&keeper, told) || (told && !is_told(&keeper))) _exit(0);
        told = told || is_told(&keeper);
        if (now() - begun >= LIVES) failures = 0;
        unsigned pause = FIRST_PAUSE << failures;
        nanosleep(&(struct timespec){pause / 1000, pause % 1000 * 1000000}, NULL);
    }
    _exit(VOLT_FAILED);
}
