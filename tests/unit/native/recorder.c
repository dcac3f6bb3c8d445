// The loader with a recorder in the place of every operation: it shows what is decoded, and is fed with damaged plans.
#include "record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frames.h"

#define FIRST_DESCRIPTOR 100000 // the descriptor of number 1, one that cannot be open
#define LONGEST 131072          // bytes of a plan to damage

static struct context context;
static FILE *record; // NULL while plans are damaged: then all is only read
static volatile uint64_t seen;

// ── what is recorded

static void name(const char *name) {
    if (record) fprintf(record, ", \"%s\": ", name);
}

static void hex(const void *data, size_t length) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < length; i++) seen += bytes[i];
    if (!record) return;
    fputc('"', record);
    for (size_t i = 0; i < length; i++) fprintf(record, "%02x", bytes[i]);
    fputc('"', record);
}

void record_begin(const struct context *of, const char *what, const char *operation) {
    if (record) fprintf(record, "{\"%s\": \"%s\", \"checking\": %s", what, operation, of->checking ? "true" : "false");
}

void record_number(const char *field, uint64_t value) {
    seen += value;
    name(field);
    if (record) fprintf(record, "%llu", (unsigned long long)value);
}

void record_text(const char *field, const char *text) {
    name(field);
    hex(text, strlen(text));
}

void record_bytes(const char *field, struct bytes bytes) {
    name(field);
    hex(bytes.start, bytes.length);
}

void record_texts(const char *field, struct texts texts) {
    name(field);
    for (size_t i = 0; i < texts.count; i++) {
        if (record) fputs(i ? ", " : "[", record);
        hex(texts.items[i], strlen(texts.items[i]));
    }
    if (texts.items[texts.count]) abort(); // it ends with NULL
    if (record) fputs(texts.count ? "]" : "[]", record);
}

// By its number; 0 for none.
static int number_of(int descriptor) { return descriptor < 0 ? 0 : descriptor - FIRST_DESCRIPTOR + 1; }

void record_descriptor(const char *field, int descriptor) { record_number(field, (uint64_t)number_of(descriptor)); }

void record_descriptors(const char *field, struct descriptors all) {
    name(field);
    for (size_t i = 0; i < all.count; i++) {
        seen += (uint64_t)all.items[i];
        if (record) fprintf(record, "%s%d", i ? ", " : "[", number_of(all.items[i]));
    }
    if (record) fputs(all.count ? "]" : "[]", record);
}

void record_end(void) {
    if (record) fputs("}\n", record);
}

// ── loading and performing

static int load(int descriptor, bool inner) {
    context_init(&context);
    for (int i = 1; i < REGISTERS; i++) hold(&context, (unsigned)i, FIRST_DESCRIPTOR + i - 1);
    return load_program(&context, descriptor, inner);
}

static void fill_slots(void) {
    context.slots = (struct slots){.run = "0123456789ab", .uids = 655360, .pid = 4711, .started = 1700000000, .clock = 99,
                                   .address = 0x0abd0107};
}

// As a supervisor does: between what is done and its undo lies the payload's life, and less memory.
static int perform_all(void) {
    int result = perform_section(&context, false);
    if (result == 0) result = perform_section(&context, true);
    if (result == 0) keep_for_undo(&context);
    undo_all(&context, FAILED);
    return result;
}

// The inner program with the slots behind it, as seal-inside hands it to the init.
static int inner_file(void) {
    int file = memfd_create("inner", MFD_CLOEXEC);
    if (file < 0 || write_all(file, context.program.inner.start, context.program.inner.length) < 0) return -1;
    return write_all(file, &context.slots, sizeof context.slots) < 0 ? -1 : file;
}

static int show(int descriptor) {
    record = stdout;
    if (load(descriptor, false) < 0) return 1;
    const struct program *program = &context.program;
    printf("{\"registers\": %u, \"first\": %u, \"second\": %u, \"number\": %u, \"inner\": %zu}\n", program->registers,
           program->first, program->second, program->number, program->inner.length);
    fill_slots();
    int inner = inner_file();
    if (perform_all() < 0 || load(inner, true) < 0) return 1;
    printf("{\"registers\": %u, \"first\": %u, \"second\": %u, \"number\": %u, \"inner\": %zu}\n", program->registers,
           program->first, program->second, program->number, program->inner.length);
    return perform_all() < 0;
}

// ── damage

static uint64_t state;

// xorshift64*: the same damage each time.
static uint32_t draw(uint32_t below) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545f4914f6cdd1dull) >> 33) % below;
}

static void put_u32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

// One change of `data`, which has room for LONGEST bytes; the new length.
static size_t change(uint8_t *data, size_t length) {
    static const uint32_t odd[] = {0, 1, 2, 3, 9, 10, 0x7f, 0xff, 0x1000, 0xffff, 0x7fffffff, 0x80000000, 0xfffffff6, 0xffffffff};
    uint32_t at = length ? draw((uint32_t)length) : 0;
    size_t rest = length - at, part = rest ? draw((uint32_t)(rest < 64 ? rest : 64)) : 0;
    switch (draw(8)) {
    case 0: if (rest) data[at] ^= (uint8_t)(1u << draw(8)); break;
    case 1: if (rest) data[at] = (uint8_t)draw(256); break;
    case 2: if (rest >= 4) put_u32(data + at, odd[draw(sizeof odd / sizeof *odd)]); break;
    case 3: if (rest >= 4) put_u32(data + at, draw(64)); break;
    case 4: if (rest >= 2) memset(data + at, 1, 2); break; // the mark of a slot, and the first kind
    case 5: // a part goes
        memmove(data + at, data + at + part, rest - part);
        return length - part;
    case 6: // a part comes twice
        if (length + part > LONGEST) break;
        memmove(data + at + part, data + at, rest);
        return length + part;
    default: return draw(4) ? length : at; // cut short
    }
    return length;
}

// Most damaged plans get a head that fits, else few would be looked at further.
static void mend_head(uint8_t *data, size_t length) {
    if (length < PROGRAM_HEADER || draw(4) == 0) return;
    memcpy(data, PROGRAM_MAGIC, 8);
    put_u32(data + 8, TABLE_VERSION);
    put_u32(data + 12, (uint32_t)length);
}

static void look_at_failure(void) {
    static char message[2 * FAILURE_TEXT];
    context.failure.happened = true;
    for (uint32_t number = 0; number < 80; number += 7) {
        context.failure.number = number;
        context.failure.error = ENOENT;
        failure_message(&context, message, sizeof message);
        seen += strlen(message) + strlen(failure_hint(&context)) + (unsigned)exit_status(&context);
        for (const char *at = message; *at; at++)
            if ((unsigned char)*at < 0x20) abort(); // a terminal would obey it
    }
}

// Performs what was accepted, with slots that may be missing. True when it was.
static bool try_program(int file) {
    bool accepted = load(file, false) == 0;
    if (accepted) {
        if (draw(4)) fill_slots();
        if (draw(8) == 0) hold(&context, 1 + draw(8), -1);
        int inner = inner_file();
        bool outer = context.program.inner.length > 0;
        perform_all();
        look_at_failure();
        // What the outer one has been checked for holds inside too.
        if (outer && load(inner, true) < 0) abort();
        if (outer) perform_all();
        close(inner);
    } else if (errno != EBADMSG && errno != 0) {
        abort();
    }
    look_at_failure();
    return accepted;
}

static int damage_plan(unsigned examples, const uint8_t *plan, size_t length) {
    static uint8_t data[LONGEST];
    unsigned accepted = 0;
    int file = memfd_create("plan", MFD_CLOEXEC);
    for (unsigned i = 0; i < examples; i++) {
        memcpy(data, plan, length);
        size_t now_long = length;
        for (uint32_t changes = i ? 1 + draw(3) : 0; changes; changes--) now_long = change(data, now_long);
        mend_head(data, now_long);
        if (ftruncate(file, 0) < 0 || pwrite(file, data, now_long, 0) != (ssize_t)now_long) return 1;
        accepted += try_program(file);
        forget_all();
    }
    printf("%u of %u accepted\n", accepted, examples);
    return 0;
}

// ── frames

static size_t valid_frame(int pair[2], uint8_t *data, size_t size) {
    struct failure failure = {.number = draw(100), .error = EIO, .text = "a cause"};
    switch (draw(4)) {
    case 0: send_failure(pair[0], &failure); break;
    case 1: send_number(pair[0], FRAME_SIGNAL, draw(65)); break;
    case 2: send_frame(pair[0], FRAME_STARTED, NULL, 0, -1); break;
    default: send_frame(pair[0], FRAME_TERMINAL, NULL, 0, -1); break;
    }
    return (size_t)read(pair[1], data, size);
}

static void send_raw(int socket, const uint8_t *data, size_t length, unsigned descriptors) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(8 * sizeof(int))];
    } ancillary = {0};
    struct iovec message = {(void *)(uintptr_t)data, length};
    struct msghdr envelope = {.msg_iov = &message, .msg_iovlen = 1};
    if (descriptors) {
        envelope.msg_control = &ancillary;
        envelope.msg_controllen = (socklen_t)CMSG_SPACE(descriptors * sizeof(int));
        ancillary.header.cmsg_level = SOL_SOCKET;
        ancillary.header.cmsg_type = SCM_RIGHTS;
        ancillary.header.cmsg_len = (socklen_t)CMSG_LEN(descriptors * sizeof(int)); // of standard input, all of them
    }
    if (sendmsg(socket, &envelope, 0) != (ssize_t)length) abort();
}

static void take_frame(int socket, unsigned *accepted) {
    static struct frame frame;
    struct failure failure;
    uint32_t number;
    int got = receive_frame(socket, &frame);
    if (got < 0 && errno != EPROTO) abort();
    if (got <= 0) return;
    ++*accepted;
    bool carries = frame.type == FRAME_TERMINAL || frame.type == FRAME_SESSION || frame.type == FRAME_WATCH ||
                   frame.type == FRAME_NETWORK;
    if (frame.length > FRAME_LIMIT || (frame.descriptor >= 0 && !carries)) abort();
    for (uint32_t i = 0; i < frame.length; i++) seen += frame.body[i];
    if (frame_number(&frame, &number)) seen += number;
    if (frame_failure(&frame, &failure)) seen += strlen(failure.text);
    close_held(&frame.descriptor);
}

static int open_descriptors(void) {
    DIR *entries = opendir("/proc/self/fd");
    int count = 0;
    while (entries && readdir(entries)) count++;
    if (entries) closedir(entries);
    return count;
}

static int damage_frames(unsigned examples) {
    static uint8_t data[LONGEST];
    unsigned accepted = 0;
    int pair[2];
    if (frame_pair(pair) < 0) return 1;
    int before = open_descriptors();
    for (unsigned i = 0; i < examples; i++) {
        size_t length = valid_frame(pair, data, sizeof data);
        for (uint32_t changes = draw(3); changes; changes--) length = change(data, length);
        send_raw(pair[0], data, length, draw(2) ? 0 : draw(9));
        take_frame(pair[1], &accepted);
    }
    printf("%u of %u accepted\n", accepted, examples);
    return open_descriptors() != before; // none was left open
}

// recorder show DESCRIPTOR; recorder plan DESCRIPTOR EXAMPLES SEED; recorder frames EXAMPLES SEED
int main(int count, char **words) {
    static uint8_t plan[LONGEST];
    if (count < 3) return 2;
    state = strtoull(words[count - 1], NULL, 10) * 2 + 1;
    if (strcmp(words[1], "show") == 0) return show(atoi(words[2]));
    if (strcmp(words[1], "frames") == 0) return damage_frames((unsigned)atoi(words[2]));
    ssize_t length = count == 5 ? pread(atoi(words[2]), plan, sizeof plan, 0) : -1;
    return length < 0 ? 2 : damage_plan((unsigned)atoi(words[3]), plan, (size_t)length);
}
