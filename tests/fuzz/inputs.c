// One input for whatever the static program reads from others: its first byte says for what. For libFuzzer
// (scripts/fuzz), and for the test that replays the corpus.
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "bus.h"
#include "frames.h"
#include "lookup.c" // what it reads is its own affair

enum { OUTER, INNER, FRAME, ENTRY, ENVIRONMENT, MESSAGE, KINDS };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void read_plan(struct bytes input, bool inner) {
    static struct context context;
    struct found found;
    context_init(&context);
    if (load_bytes(&context, input, inner) < 0) return;
    for (uint32_t number = 0; number < 8; number++) find_step(&context.program, number, &found);
}

static void read_frame(struct bytes input) {
    int pair[2];
    struct frame frame;
    struct failure failure;
    uint32_t number;
    if (frame_pair(pair) < 0) return;
    if (write(pair[0], input.start, input.length) == (ssize_t)input.length && receive_frame(pair[1], &frame) > 0) {
        frame_number(&frame, &number);
        frame_failure(&frame, &failure);
    }
    close_held(&pair[0]);
    close_held(&pair[1]);
}

// Behind the seal, which no input could guess.
static void read_entry(struct bytes input) {
    static struct cache cache;
    struct reader entry = reader_of(NULL, input);
    read_bytes(&entry);
    all_unchanged(&cache, &entry);
    read_bytes(&entry);
    reader_ended(&entry);
}

static void read_environment(struct bytes input) {
    static struct context context;
    int file = memfd_create("env", MFD_CLOEXEC);
    context_init(&context);
    if (file >= 0 && write_all(file, input.start, input.length) == 0)
        build_environment(&context, (struct texts){0}, (struct descriptors){.count = 1, .items = &file}, (struct texts){0});
    close_held(&file);
}

// What a bus sends, in memory that ends where the message does.
static void read_message(struct bytes input) {
    struct bus_message message;
    size_t length = input.length < BUS_HEADER ? 0 : bus_message_length(input.start);
    if (length == 0 || length > input.length) return;
    uint8_t *whole = keep(length);
    memcpy(whole, input.start, length);
    if (!bus_parse((struct bytes){whole, length}, &message)) return;
    for (size_t i = 0; i < BUS_STRINGS; i++) strlen(message.strings[i]);
    strlen(message.member);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length) {
    if (length == 0) return 0;
    struct bytes input = {data + 1, length - 1};
    switch (data[0] % KINDS) {
    case OUTER: read_plan(input, false); break;
    case INNER: read_plan(input, true); break;
    case FRAME: read_frame(input); break;
    case ENTRY: read_entry(input); break;
    case ENVIRONMENT: read_environment(input); break;
    case MESSAGE: read_message(input); break;
    }
    forget_all();
    return 0;
}

#ifdef REPLAY
// Without libFuzzer: every file that is named, one after the other.
int main(int count, char **words) {
    static uint8_t data[1 << 20];
    for (int i = 1; i < count; i++) {
        FILE *file = fopen(words[i], "rb");
        if (!file) return 1;
        size_t length = fread(data, 1, sizeof data, file);
        fclose(file);
        LLVMFuzzerTestOneInput(data, length);
    }
    printf("%d inputs\n", count - 1);
    return 0;
}
#endif
