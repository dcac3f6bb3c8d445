// Starting anew: whether a payload that has ended is, after which pause, and all of its start once more. The supervisor
// does it, which is there anyway: nobody else has to live for it, and with it everything ends.
#include "restart.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "digest.h"
#include "json.h"
#include "log.h"
#include "ready.h"
#include "table.h"

#define PAUSES_MOST 64u
#define CLEAN_MOST 8u
#define POLICY_MOST (1u << 20)  // bytes: a longer one counts by its beginning
#define STATE_MOST (1u << 17)   // bytes of restarts.json, with the outcome in it
#define WHY 160u                // bytes

struct restart {
    int folder;
    bool always, unwanted;      // it is to end, and stay so
    size_t plan_length;         // bytes: the last ones of the plan's file
    uint64_t clean[CLEAN_MOST], pauses[PAUSES_MOST], lasted;
    size_t clean_count, pause_count;
    unsigned row, restarts;     // ends in a row so far; starts after the first one
    uint64_t started;           // milliseconds of CLOCK_MONOTONIC; 0: not yet
    uint8_t policy_was[DIGEST_LENGTH];
    char over[WHY];             // why there is no other start; "" where none is asked for
    char policy_path[WHY];
};

static struct restart own; // not written to without the step

// ── the step

// By its content: none, and one that cannot be read, is as empty.
static void digest_policy(const char *path, uint8_t to[DIGEST_LENGTH]) {
    static const uint8_t none[DIGEST_LENGTH];
    struct mark before = mark_memory();
    int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    uint8_t *content = keep(POLICY_MOST);
    ssize_t length = file < 0 ? 0 : read_from_start(file, content, POLICY_MOST);
    close_held(&file);
    digest(content, length > 0 ? (size_t)length : 0, none, to);
    forget_since(before);
    errno = 0;
}

static bool take_numbers(struct texts from, uint64_t *to, size_t most, size_t *count) {
    for (*count = 0; *count < from.count && *count < most; ++*count) to[*count] = strtoull(from.items[*count], NULL, 10);
    return *count == from.count;
}

int do_restart_by(struct context *context, const struct step_restart_by *step) {
    bool whole = take_numbers(step->clean, own.clean, CLEAN_MOST, &own.clean_count);
    whole = take_numbers(step->pauses, own.pauses, PAUSES_MOST, &own.pause_count) && whole;
    if (!whole || strlen(step->policy) >= WHY) return refuse(context, E2BIG, "its pauses");
    own.folder = open(step->folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (own.folder < 0) return explain(context, "%s", step->folder);
    own.always = step->always;
    own.lasted = step->lasted;
    own.plan_length = context->program.whole.length;
    format_into(own.policy_path, WHY, "%s", step->policy);
    digest_policy(own.policy_path, own.policy_was);
    context->restart = &own;
    return 0;
}

// ── what the supervisor says of it

void restart_started(struct context *context) {
    if (context->restart) context->restart->started = now();
}

// volt was asked for the end that comes.
void restart_unwanted(struct context *context) {
    if (context->restart) context->restart->unwanted = true;
}

// Why there is no other start, where one is asked for; "" otherwise.
void restart_message(const struct context *context, char *to, size_t size) {
    format_into(to, size, "%s", context->restart ? context->restart->over : "");
}

// ── whether

// Whoever ends a run by its init tells us so by this file, before.
static bool is_unwanted(struct restart *restart) {
    if (faccessat(restart->folder, "ending", F_OK, AT_SYMLINK_NOFOLLOW) == 0) restart->unwanted = true;
    errno = 0;
    return restart->unwanted;
}

static bool is_clean(const struct context *context) {
    const struct restart *restart = context->restart;
    if (context->failure.happened) return false;
    for (size_t i = 0; i < restart->clean_count; i++)
        if (restart->clean[i] == (uint64_t)exit_status(context)) return true;
    return false;
}

static bool same_policy(const struct restart *restart) {
    uint8_t is[DIGEST_LENGTH];
    digest_policy(restart->policy_path, is);
    return memcmp(is, restart->policy_was, DIGEST_LENGTH) == 0;
}

// A first start that fails, or is not ready in time, is told to who waits for it, and no end of a run.
static bool is_wanted(struct context *context) {
    struct restart *restart = context->restart;
    if (!restart || context->starter >= 0 || is_unwanted(restart)) return false;
    return restart->always || !is_clean(context);
}

// The next pause in milliseconds; false where this was the last end of a row.
static bool next_pause(struct restart *restart, uint64_t *pause) {
    if (restart->started && now() - restart->started >= restart->lasted) restart->row = 0;
    restart->started = 0;
    if (restart->row == restart->pause_count) return false;
    *pause = restart->pauses[restart->row++];
    return true;
}

// ── what is told

// Once the payload has run, what cannot be written is missing where somebody looks, and no reason to end it.
static void write_state(struct context *context, uint64_t pause) {
    const struct restart *restart = context->restart;
    struct mark before = mark_memory();
    struct document document = {.at = keep(STATE_MOST), .left = STATE_MOST};
    char *text = document.at;
    add(&document, "{\"version\": 1, \"restarts\": %u, \"next\": ", restart->restarts);
    if (pause) add(&document, "%lu", (unsigned long)time(NULL) + (unsigned long)((pause + 999) / 1000));
    else add(&document, "null");
    if (pause) {
        add(&document, ", \"last\": ");
        size_t length = outcome_document(context, document.at, document.left);
        document.at += length, document.left -= length, document.length += length;
    }
    add(&document, "}\n");
    // The one before would tell of a pause for ever.
    if (replace_file(restart->folder, "restarts.json", text, document.length) < 0) unlinkat(restart->folder, "restarts.json", 0);
    errno = 0;
    forget_since(before);
}

static void log_end(struct context *context, const char *then) {
    char message[2 * FAILURE_TEXT], line[3 * FAILURE_TEXT];
    failure_message(context, message, sizeof message);
    if (context->failure.happened) format_into(line, sizeof line, "%s; %s", message, then);
    else format_into(line, sizeof line, "it ended with status %d; %s", exit_status(context), then);
    log_say(context->log, line);
}

static void tell_pause(struct context *context, uint64_t pause) {
    char then[WHY];
    format_into(then, sizeof then, "it is started anew in %lu.%03lu s", (unsigned long)(pause / 1000),
                (unsigned long)(pause % 1000));
    log_end(context, then);
    write_state(context, pause ? pause : 1);
}

// ── the pause

// False where the end has been asked for meanwhile.
static bool pause_for(struct context *context, uint64_t pause) {
    uint64_t until = now() + pause, limit = context->time_limit ? context->begun + context->time_limit : UINT64_MAX;
    while (!is_unwanted(context->restart)) {
        uint64_t time = now();
        if (time >= limit) {
            context->result.ended = "time-limit";
            return false;
        }
        if (time >= until) return true;
        uint64_t left = (until < limit ? until : limit) - time;
        struct pollfd signals = {context->signals, POLLIN, 0};
        if (poll(&signals, 1, left < INT32_MAX ? (int)left : INT32_MAX) > 0 && asks_to_end(context, next_signal(context)))
            restart_unwanted(context);
    }
    return false;
}

// ── once more

// What a start has left in this process, but for what is done once.
static void forget_start(struct context *context) {
    close_all_held(context, context->program.registers + 1, -1);
    context->control_far = -1;
    close_held(&context->control);
    close_held(&context->messages);
    close_held(&context->input);
    close_held(&context->terminal);
    context->guard = context->payload = -1;
    context->limited = 0;
    context->skipped = NULL;
    context->link = (struct link){0};
    ready_forget(context);
    log_forget(context->log);
}

static void forget_end(struct context *context) {
    context->result = (struct result){0};
    context->events = (struct events){0};
    context->failure.happened = false;
    context->failure.number = 0;
    context->failure.error = 0;
    context->failure.text[0] = '\0';
}

// The plan is where it came from, and the same: what it names is there, or this start fails.
static int load_again(struct context *context) {
    struct restart *restart = context->restart;
    struct stat status;
    if (fstat(context->plan, &status) < 0) return -1;
    uint8_t *memory = keep(restart->plan_length);
    ssize_t got = pread(context->plan, memory, restart->plan_length, status.st_size - (off_t)restart->plan_length);
    if (got != (ssize_t)restart->plan_length) return refuse(context, EBADMSG, "the plan is damaged");
    return load_again_bytes(context, (struct bytes){memory, restart->plan_length});
}

static bool give_up(struct context *context, const char *why) {
    format_into(context->restart->over, WHY, "%s", why);
    log_end(context, why);
    return false;
}

// Whether another start begins now: the end of the last one has been told, undone, and waited for long enough.
bool restart_again(struct context *context) {
    struct restart *restart = context->restart;
    uint64_t pause = 0;
    char why[WHY];
    if (!is_wanted(context)) return false;
    if (!next_pause(restart, &pause)) {
        format_into(why, sizeof why, "it is not started anew: %lu times in a row it did not last %lu s",
                    (unsigned long)restart->pause_count + 1, (unsigned long)(restart->lasted / 1000));
        return give_up(context, why);
    }
    tell_pause(context, pause);
    undo_repeated(context);
    if (!context->undone) return give_up(context, "it is not started anew: what its start made is not undone");
    forget_start(context);
    keep_for_undo(context);
    drop_stack();
    drop_program();
    if (!pause_for(context, pause)) return false;
    if (!same_policy(restart)) return give_up(context, "it is not started anew: the machine's policy has changed");
    forget_end(context);
    context->again = true;
    restart->restarts++;
    write_state(context, 0);
    if (load_again(context) == 0) return true;
    context->failure.happened = true;
    context->failure.error = errno;
    return give_up(context, "it is not started anew");
}
