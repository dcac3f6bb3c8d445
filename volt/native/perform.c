// Performing a program: load, check all of it, do its steps in order; undo them, newest first.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "read.h"
#include "volt.h"

#define PROGRAM_LIMIT (16u << 20) // bytes; a plan takes some tens of KiB

static int damaged(const struct reader *in) {
    return refuse(in->context, EBADMSG, "an argument is damaged, or a slot or descriptor is not there yet");
}

#define VOLT_TABLE_CODE
#include "table.h"

// The header and its arithmetic; the steps are checked apart.
bool parse_program(struct program *program, struct bytes whole) {
    struct reader in = {.at = whole.start, .end = whole.start + whole.length};
    if (whole.length < PROGRAM_HEADER || memcmp(whole.start, PROGRAM_MAGIC, 8) != 0) return false;
    in.at += 8;
    uint32_t version = read_u32(&in), length = read_u32(&in);
    program->registers = read_u32(&in);
    program->first = read_u32(&in);
    program->second = read_u32(&in);
    program->number = read_u32(&in);
    uint32_t inner = read_u32(&in);
    if (version != TABLE_VERSION || length != whole.length || inner > length - PROGRAM_HEADER) return false;
    size_t steps = length - PROGRAM_HEADER - inner;
    // A step takes ten bytes or more: so no count makes us allocate more than the program is long.
    if ((uint64_t)program->first + program->second > steps / 10 || program->registers >= REGISTERS)
        return false;
    program->whole = whole;
    program->steps = (struct bytes){whole.start + PROGRAM_HEADER, steps};
    program->inner = (struct bytes){whole.start + PROGRAM_HEADER + steps, inner};
    program->outer = inner > 0;
    return true;
}

// The next step of `steps`: operation and length, note, arguments. False where none is whole.
static bool next_step(struct reader *steps, unsigned *opcode, struct bytes *step, struct bytes *note,
                      struct reader *arguments) {
    const uint8_t *start = steps->at;
    *opcode = read_u16(steps);
    struct bytes body = read_bytes(steps);
    *arguments = reader_of(steps->context, body);
    *note = read_bytes(arguments);
    *step = (struct bytes){start, (size_t)(steps->at - start)};
    return !steps->damaged && !arguments->damaged;
}

static bool check_steps(struct context *context, const struct program *program) {
    struct reader steps = reader_of(context, program->steps), arguments;
    struct bytes step, note;
    unsigned opcode;
    bool good = true;
    for (uint32_t i = 0; good && i < program->first + program->second; i++)
        good = next_step(&steps, &opcode, &step, &note, &arguments) && check_operation(opcode, &arguments);
    return good && reader_ended(&steps);
}

// Every step decodes, the inner program's too, and nothing is left over: a plan is performed whole or not at all.
bool check_program(struct context *context) {
    const struct program *program = &context->program;
    struct program inner;
    struct mark before = mark_memory();
    context->checking = true;
    bool good = check_steps(context, program);
    if (good && program->inner.length)
        good = parse_program(&inner, program->inner) && inner.inner.length == 0 && check_steps(context, &inner);
    context->checking = false;
    forget_since(before);
    return good;
}

// Whole and of another version is no damage: what made it was updated, or this program was.
static int refuse_plan(struct context *context, struct bytes whole) {
    struct reader in = reader_of(context, whole);
    bool ours = whole.length >= PROGRAM_HEADER && memcmp(whole.start, PROGRAM_MAGIC, 8) == 0;
    if (ours) in.at += 8;
    if (ours && read_u32(&in) != TABLE_VERSION)
        return refuse(context, 0, "the plan was made by another version of volt");
    return refuse(context, EBADMSG, "the plan is damaged");
}

// The slots travel behind the inner program, which names no length for them.
static bool take_slots(struct context *context, struct bytes *whole) {
    if (whole->length < sizeof context->slots) return false;
    whole->length -= sizeof context->slots;
    memcpy(&context->slots, whole->start + whole->length, sizeof context->slots);
    context->slots.run[sizeof context->slots.run - 1] = '\0';
    return true;
}

int load_program(struct context *context, int descriptor, bool inner) {
    struct stat status;
    if (fstat(descriptor, &status) < 0) return -1;
    if (!S_ISREG(status.st_mode) || status.st_size > (off_t)PROGRAM_LIMIT)
        return refuse(context, EBADMSG, "the plan is no regular file, or too long");
    uint8_t *memory = keep((size_t)status.st_size + 1);
    ssize_t length = read_from_start(descriptor, memory, (size_t)status.st_size);
    if (length < 0) return -1;
    return load_bytes(context, (struct bytes){memory, (size_t)length}, inner);
}

// A program that lies in memory, which it keeps needing.
int load_bytes(struct context *context, struct bytes whole, bool inner) {
    if (inner && !take_slots(context, &whole)) return refuse(context, EBADMSG, "the plan is cut short");
    if (!parse_program(&context->program, whole) || !check_program(context))
        return refuse_plan(context, whole);
    context->deeds = keep((context->program.first + context->program.second + 1) * sizeof *context->deeds);
    if (!context->held) context->held = keep(REGISTERS * sizeof *context->held);
    return 0;
}

// The same program once more, with what has been done of it.
int load_again_bytes(struct context *context, struct bytes whole) {
    const struct deed *deeds = context->deeds;
    const uint8_t *steps = context->program.steps.start;
    if (load_bytes(context, whole, false) < 0) return -1;
    for (size_t i = 0; i < context->deed_count; i++) {
        context->deeds[i] = deeds[i];
        context->deeds[i].step.start = context->program.steps.start + (deeds[i].step.start - steps);
    }
    return 0;
}

static int perform_step(struct context *context, struct bytes step, unsigned opcode, struct reader *arguments,
                        uint32_t number) {
    struct deed *deed = &context->deeds[context->deed_count];
    struct mark before = mark_memory();
    *deed = (struct deed){.step = step, .number = number, .descriptor = -1};
    context->deed = deed;
    context->failure.text[0] = '\0';
    context->failure.number = 0;
    errno = 0;
    if (perform_operation(context, opcode, arguments) < 0) {
        context->failure.error = errno;
        // The init reports its child's failure under the child's step.
        if (!context->failure.number) context->failure.number = number;
        context->failure.happened = true;
        // A step that fails half-way marks its deed before: then its undo runs too.
        if (deed->made) context->deed_count++;
        return -1;
    }
    context->deed_count++;
    // What was decoded goes with its step, but for what a deed or the exec at the end needs.
    if (!deed->path && !context->filter.length) forget_since(before);
    return 0;
}

int perform_section(struct context *context, bool second) {
    const struct program *program = &context->program;
    struct reader steps = reader_of(context, program->steps), arguments;
    uint32_t begin = second ? program->first : 0, end = program->first + (second ? program->second : 0);
    for (uint32_t i = 0; i < end; i++) {
        struct bytes step, note;
        unsigned opcode;
        if (!next_step(&steps, &opcode, &step, &note, &arguments)) return damaged(&steps);
        if (i < begin || (!second && context->again && operation_once(opcode))) continue;
        if (context->session && opcode == OP_EXECUTE) return 0;
        if (perform_step(context, step, opcode, &arguments, program->number + i) < 0) return -1;
    }
    return 0;
}

static void *copy(const void *from, size_t length) {
    void *to = keep(length);
    if (length) memcpy(to, from, length);
    return to;
}

// The launch is over. What the undo and a message need moves together, and all other memory is given back: for as
// long as the payload runs it is what this process costs.
void keep_for_undo(struct context *context) {
    struct mark before = set_memory_aside();
    struct program *program = &context->program;
    const uint8_t *steps = program->steps.start;
    context->deeds = copy(context->deeds, (context->deed_count + 1) * sizeof *context->deeds);
    program->steps.start = copy(steps, program->steps.length);
    program->whole = (struct bytes){0};
    if (!context->failure.happened) program->inner = (struct bytes){0};
    program->inner.start = copy(program->inner.start, program->inner.length); // whose step has failed, perhaps
    for (struct deed *deed = context->deeds; deed < context->deeds + context->deed_count; deed++) {
        deed->step.start = program->steps.start + (deed->step.start - steps);
        if (deed->path) deed->path = copy(deed->path, strlen(deed->path) + 1);
    }
    if (context->skipped) context->skipped = copy(context->skipped, strlen(context->skipped) + 1);
    const int *held = context->held;
    context->held = keep(REGISTERS * sizeof *held);
    memcpy(context->held, held, context->held_end * sizeof *held);
    forget_aside(before);
}

static void undo_deed(struct context *context, struct deed *deed, enum ending ending) {
    struct reader steps = reader_of(context, deed->step), arguments;
    struct bytes step, note;
    unsigned opcode;
    if (!next_step(&steps, &opcode, &step, &note, &arguments)) return;
    if (undo_operation(context, opcode, &arguments, deed, ending) == 0) return;
    size_t used = strlen(context->left);
    format_into(context->left + used, sizeof context->left - used, "%sstep %u, %s: %s", used ? "; " : "",
             deed->number, operation_name(opcode), strerror(errno));
    context->undone = false;
}

static unsigned operation_of(struct context *context, const struct deed *deed) {
    struct reader steps = reader_of(context, deed->step);
    return read_u16(&steps);
}

void undo_all(struct context *context, enum ending ending) {
    context->undoing = true;
    while (context->deed_count > 0) undo_deed(context, &context->deeds[--context->deed_count], ending);
}

// Of what was done for one start of the payload, newest first; what is done once stays.
void undo_repeated(struct context *context) {
    size_t count = context->deed_count, kept = 0;
    struct deed *deeds = context->deeds;
    context->undoing = true;
    for (size_t i = count; i-- > 0;)
        if (!operation_once(operation_of(context, &deeds[i]))) undo_deed(context, &deeds[i], FINISHED);
    for (size_t i = 0; i < count; i++)
        if (operation_once(operation_of(context, &deeds[i]))) deeds[kept++] = deeds[i];
    context->deed_count = kept;
    context->undoing = false;
}

static bool find_in(const struct program *program, uint32_t number, struct found *found) {
    struct reader steps = reader_of(NULL, program->steps), arguments;
    struct bytes step, note;
    for (uint32_t i = 0; i < program->first + program->second; i++) {
        if (!next_step(&steps, &found->opcode, &step, &note, &arguments)) return false;
        if (program->number + i != number) continue;
        harmless(found->note, sizeof found->note, (const char *)note.start, note.length);
        found->payload = i >= program->first;
        return true;
    }
    return false;
}

// The step with this printed number, in the program or in the inner one.
bool find_step(const struct program *program, uint32_t number, struct found *found) {
    struct program inner;
    if (find_in(program, number, found)) {
        found->payload = found->payload && !program->outer;
        return true;
    }
    return parse_program(&inner, program->inner) && find_in(&inner, number, found);
}
