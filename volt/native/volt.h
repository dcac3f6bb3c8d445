// What every file of the static program shares: the program being performed, the slots, the deeds, the failure.
#ifndef VOLT_H
#define VOLT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <termios.h>

#define REGISTERS 4096        // descriptors that a program can name
#define FAILURE_TEXT 4096     // bytes of a failure's own words
#define RUN_DIGITS 12         // of a run's id
#define MACHINE_DIGITS 32     // of machine-id(5)
#define VOLT_FAILED 125       // the exit status of every failure of volt's own
#define CANNOT_EXECUTE 126    // … and of a command that cannot be run, or is not there: as a shell's
#define COMMAND_NOT_FOUND 127

struct bytes {
    const uint8_t *start;
    size_t length;
};
struct texts {
    size_t count;
    char **items; // ends with NULL
};
struct descriptors {
    size_t count;
    int *items; // -1 for none
};

// volt/model/text.py: what only the launch knows. Behind the inner program it travels to the init.
struct slots {
    char run[RUN_DIGITS + 4]; // NUL-terminated; empty until it is claimed
    uint64_t uids, pid, started, clock;
    uint32_t address, bridge, link, network; // in the host's byte order; two indexes; a descriptor of the supervisor's
};

// What prepare-link has: messages whose slots are filled in when they are sent.
struct link {
    bool mended; // the bridge or its rules were not whole: other workloads may be cut off
    struct bytes create, adopt, permit, doubt, configure, remove;
};

// volt/model/binary.py: a header, two sections of steps, the inner program.
struct program {
    struct bytes whole, steps, inner;
    uint32_t registers, first, second, number;
    bool outer; // it has an inner program, or had one
};

enum ending {
    FAILED,   // the launch failed: undo
    FINISHED, // the run is over: release
};

// What a step has done, for its undo.
struct deed {
    struct bytes step; // operation, length, note, arguments
    uint32_t number;
    bool made;       // something was made that has to go
    bool exclusive;  // it was made under the name's claim
    int descriptor;  // what the undo needs held open, or -1
    char *path;      // what the undo removes where the step does not name it, or NULL
};

struct failure {
    bool happened;
    uint32_t number;              // of the step; 0 for none
    int error;                    // an errno, or 0 where the text says all
    char text[FAILURE_TEXT];      // the failure's own words: detail, or all of it
};

// How the payload ended, and why.
struct result {
    bool started, exited;
    bool unready;      // a starter still waited for its readiness
    int wait_status;
    const char *ended; // volt ended it: "time-limit", "cancelled" or "not-ready", else NULL
};

// What the limits did, volt/model/run.py: sizes in bytes, stalls in microseconds.
struct events {
    bool known;
    uint64_t memory_limit, oom_kills, oom, throttled, refused;
    uint64_t memory_stall, cpu_stall, io_stall;
};

// Inside: the command that a session runs in the place of the payload's, volt/runs/command.py.
struct asked {
    struct texts argv, defaults, env;
    const char *folder; // "": the payload's own
    bool copies;        // no command: argv says what this program itself copies
    bool other;         // it runs as `uid`, not as the payload does
    uint32_t uid, gid;
    struct texts groups;
    uint64_t bounding;  // what the payload's steps have left
};

struct context {
    struct program program;
    struct slots slots;
    bool checking, undoing; // the program is looked through: nothing is performed, slots are unknown; all is undone

    struct deed *deeds, *deed; // all so far; that of the step being performed
    size_t deed_count;
    struct result result;
    size_t limited;                    // one more than the deed whose path is a cgroup with limits; 0 without
    struct events events;
    bool undone;                       // so far nothing was left behind
    const char *skipped;               // what the init told of paths without a rule; NULL for none

    int control, control_far;          // the control socket; the guard's end
    int messages;                      // what systemd-nspawn writes to standard error
    int signals, lifeline;             // signalfd of everything; the caller's, whose closing ends the run
    int plan, address_claim;           // files that are open as long as the run: of the plan, of claim-address; or -1
    int starter;                       // a detached run's: the one who started it waits at its other end; or -1
    int input;                         // the writing end of the payload's standard input, where that is a pipe of ours
    struct log *log;                   // where what the payload writes goes; or NULL
    struct ready *ready;               // what shows that the payload is ready; or NULL
    struct restart *restart;           // whether it is started anew; or NULL
    struct machine *machine;           // whether systemd-machined knows of it; or NULL
    int guard_pidfd;
    pid_t guard, payload;
    uint64_t begun, time_limit;        // milliseconds of CLOCK_MONOTONIC; a span
    uint64_t stop_signal, stop_timeout; // what ends the payload; milliseconds until SIGKILL does
    bool claimed, stop_asked, boots, again; // the name is ours; SIGTERM asks to stop; inside is an init; started anew
    struct link link;
    struct ports *ports;               // what is published; or NULL
    mode_t callers_umask;
    bool terminal_taken;               // saved_mode is to be restored
    struct termios saved_mode;
    int report_pipe;                   // the payload's, up to its exec: failures to the init
    int terminal;                      // inside: the payload's terminal; outside: an init's, held open; or -1
    int inside;                        // inside: the inner program, for sessions; or -1
    bool session;                      // … this is one: a section ends before its exec
    struct asked *asked;               // … and it runs this; NULL otherwise
    uint64_t early_signals;            // that came before there was a payload
    struct bytes filter;               // seccomp, for the exec
    int *held;                         // one more than the descriptor under that number, 0 for none; or NULL
    unsigned held_end;                 // no number from here on holds anything
    // What is large, and hardly ever written to.
    struct failure failure;
    char left[FAILURE_TEXT];           // what was left behind; inside: paths that no rule was made for, one a line
};

// booted.c
bool init_takes(const struct context *context, int number);
bool signal_init(const struct context *context, int number);
bool init_ended(struct context *context);

// context.c
void context_init(struct context *context);
int publish(struct context *context, uint16_t to, int descriptor);
__attribute__((format(printf, 2, 3))) int explain(struct context *context, const char *format, ...);
__attribute__((format(printf, 3, 4))) int refuse(struct context *context, int error, const char *format, ...);
uint64_t now(void);
uint64_t process_number(const char *path, int field);
uint64_t start_clock(void);
int held(const struct context *context, unsigned number);
void hold(struct context *context, unsigned number, int descriptor);
void close_all_held(struct context *context, unsigned first, int kept);
__attribute__((format(printf, 1, 2))) char *format_text(const char *format, ...);
int write_all(int descriptor, const void *data, size_t length);
ssize_t read_from_start(int descriptor, void *data, size_t length);
ssize_t read_up_to(int descriptor, void *data, size_t length);
void close_held(int *descriptor);
const char *last_part(const char *path);
pid_t start_child(uint64_t flags, int *pidfd, int cgroup);
pid_t fork_child(void);
int raise_capabilities(void);

// memory.c
struct mark {
    struct block *block;
    size_t used;
};
void *keep(size_t size);
struct mark mark_memory(void);
void forget_since(struct mark mark);
void forget_all(void);
struct mark set_memory_aside(void);
void forget_aside(struct mark all);
void drop_stack(void);
void drop_program(void);

// format.c
size_t format_list(char *to, size_t size, const char *format, va_list arguments);
__attribute__((format(printf, 3, 4))) size_t format_into(char *to, size_t size, const char *format, ...);

// perform.c
int load_program(struct context *context, int descriptor, bool inner);
int load_bytes(struct context *context, struct bytes whole, bool inner);
bool parse_program(struct program *program, struct bytes whole);
bool check_program(struct context *context);
int perform_section(struct context *context, bool second);
void keep_for_undo(struct context *context);
void undo_all(struct context *context, enum ending ending);
void undo_repeated(struct context *context);
int load_again_bytes(struct context *context, struct bytes whole);
bool operation_once(unsigned opcode);
struct found {
    unsigned opcode;
    bool payload; // the step is of the inner program's second section
    char note[256];
};
bool find_step(const struct program *program, uint32_t number, struct found *found);
const char *operation_name(unsigned opcode);

// failure.c
size_t utf8_sequence(const char *from, size_t length);
void harmless(char *to, size_t size, const char *from, size_t length);
int exit_status(const struct context *context);
const char *error_name(int number);
void failure_message(const struct context *context, char *to, size_t size);
const char *failure_hint(const struct context *context);
void print_failure(const struct context *context);

// outcome.c
size_t outcome_document(const struct context *context, char *to, size_t size);
int write_outcome(const struct context *context, int descriptor);

// events.c
void read_events(struct context *context);
void events_message(const struct context *context, char *to, size_t size);
void print_events(const struct context *context);

// files.c
int replace_file(int folder, const char *name, const void *data, size_t length);

// tree.c
int remove_tree(const char *path);

// sealed.c
int sealed_copy(const char *name, const void *data, size_t length, unsigned flags);

// mounts.c
int make_filesystem(struct context *context, const char *type, char *const *options, uint64_t attrs);

// ready.c
void ready_message(const struct context *context, char *to, size_t size);

// inside.c
int attach_inside(struct context *context, int folder, const char *path);
int attach_file(struct context *context, int file, const char *path);

// environment.c
char **build_environment(struct context *context, struct texts defaults, struct descriptors files,
                         struct texts given);
const char *variable(char *const *environment, const char *name);

// terminal.c
int await_go_on(struct context *context);
int take_mode(struct context *context, int descriptor);
void restore_mode(struct context *context);

// detach.c
void detached_started(struct context *context);

// netlink.c
struct netlink_header;
bool next_netlink(struct bytes request, size_t *at, struct netlink_header *header);
int netlink_socket(struct context *context, unsigned protocol);
int send_all(struct context *context, int netlink, struct bytes request);
int send_once(struct context *context, unsigned protocol, struct bytes request, int tolerated);
int send_request(struct context *context, int netlink, struct bytes request, int tolerated);
int count_answers(struct context *context, int netlink, struct bytes request, struct bytes mark);

// connect.c
int connect_network(struct context *context, int network);
int find_link(struct context *context);
int mend_loopback(struct context *context);

// claims.c
bool is_named(int file, const char *path);
int draw_digits(char *to, size_t digits);
void holder_value(const char *content, const char *key, char *to, size_t size);

// guard.c
int act_apart(int (*act)(void *), void *about, int flags);
void end_guard(struct context *context);
int cover_below(struct context *context);
int forbid_orphan(struct context *context);

// execute.c
int install_filter(struct bytes filter);

// session.c
void start_session(struct context *context, int socket, uint32_t kind);
int send_answer(int socket, int status, int32_t result);
void end_after(unsigned seconds);

// command.c
_Noreturn void command_session(struct context *context, int socket, bool copies);

// copy.c
_Noreturn void copy_files(const struct texts *words);

// supervise.c, init.c
uint32_t next_signal(const struct context *context);
void signal_payload(const struct context *context, uint32_t number);
void supervise(struct context *context);
void hold_env_files(struct context *context);
int init_main(struct context *context, int control, int program);

#endif
