// Reading the binary form of a program, and filling the slots of its texts.
#include "read.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#include "ports.h"
#include "table.h"

#define SLOT_MARK 1     // volt/model/binary.py: in a text a slot is this byte, its kind, u32 to add
#define NUMBER_DIGITS 21 // of a slot's number, at most

struct reader reader_of(struct context *context, struct bytes bytes) {
    // Nothing may be added to a null pointer, not even nothing.
    const uint8_t *end = bytes.length ? bytes.start + bytes.length : bytes.start;
    return (struct reader){.at = bytes.start, .end = end, .context = context};
}

bool reader_ended(const struct reader *in) { return !in->damaged && in->at == in->end; }

// The next `length` bytes, or NULL when there are not so many.
static const uint8_t *take(struct reader *in, size_t length) {
    if (in->damaged || length > (size_t)(in->end - in->at)) {
        in->damaged = true;
        return NULL;
    }
    const uint8_t *start = in->at;
    in->at += length;
    return start;
}

static uint64_t number(struct reader *in, unsigned size) {
    const uint8_t *bytes = take(in, size);
    uint64_t value = 0;
    for (unsigned i = 0; bytes && i < size; i++) value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

uint16_t read_u16(struct reader *in) { return (uint16_t)number(in, 2); }
uint32_t read_u32(struct reader *in) { return (uint32_t)number(in, 4); }
uint64_t read_u64(struct reader *in) { return number(in, 8); }

bool read_switch(struct reader *in) {
    uint32_t value = read_u32(in);
    if (value > 1) in->damaged = true;
    return value == 1;
}

struct bytes read_bytes(struct reader *in) {
    uint32_t length = read_u32(in);
    return (struct bytes){.start = take(in, length), .length = in->damaged ? 0 : length};
}

// The claimed address in one of its forms; false for another kind of slot.
static bool address_text(unsigned kind, uint32_t address, char *buffer) {
    unsigned parts[] = {address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255};
    if (kind == SLOT_ADDRESS) format_into(buffer, NUMBER_DIGITS, "%u.%u.%u.%u", parts[0], parts[1], parts[2], parts[3]);
    else if (kind == SLOT_HEX) format_into(buffer, NUMBER_DIGITS, "%08x", address);
    else if (kind == SLOT_GROUPS) format_into(buffer, NUMBER_DIGITS, "%x:%x", address >> 16, address & 0xffff);
    else return false;
    return true;
}

// The host's port that claim-ports holds as this number, 0 where it holds none.
static uint16_t port_number(const struct context *context, uint32_t number) {
    const struct ports *ports = context->ports;
    return ports && number < ports->count ? ports->each[number].number : 0;
}

// What the slot stands for, as text; NULL where it has not been claimed.
static const char *slot_text(const struct context *context, unsigned kind, uint32_t plus, char *buffer) {
    const struct slots *slots = &context->slots;
    uint64_t value = 0;
    switch (kind) {
    case SLOT_RUN: return context->checking || slots->run[0] ? slots->run : NULL;
    case SLOT_UIDS: value = slots->uids; break;
    case SLOT_PID: value = slots->pid; break;
    case SLOT_STARTED: value = slots->started; break;
    case SLOT_CLOCK: value = slots->clock; break;
    case SLOT_ADDRESS: case SLOT_HEX: case SLOT_GROUPS: value = slots->address; break;
    case SLOT_PORT:
        value = port_number(context, plus);
        plus = 0;
        break;
    default: return NULL;
    }
    if (!value && !context->checking) return NULL;
    if (address_text(kind, (uint32_t)value, buffer)) return buffer;
    format_into(buffer, NUMBER_DIGITS, "%" PRIu64, value + plus);
    return buffer;
}

// One slot behind its mark, written to `out`; the bytes written.
static size_t fill_slot(struct reader *piece, char *out) {
    char buffer[NUMBER_DIGITS];
    uint8_t kind = (uint8_t)number(piece, 1);
    if (kind == 0) {
        *out = SLOT_MARK;
        return 1;
    }
    uint32_t plus = read_u32(piece);
    const char *value = piece->damaged ? NULL : slot_text(piece->context, kind, plus, buffer);
    if (!value) {
        piece->damaged = true;
        return 0;
    }
    size_t length = strlen(value);
    memcpy(out, value, length);
    return length;
}

const char *read_text(struct reader *in) {
    struct bytes raw = read_bytes(in);
    if (in->damaged) return "";
    struct reader piece = reader_of(in->context, raw);
    // A slot takes 6 bytes and becomes at most 20.
    char *text = keep(raw.length * 4 + 1), *out = text;
    while (piece.at < piece.end) {
        uint8_t byte = *piece.at++;
        if (byte == 0) piece.damaged = true;
        if (byte == SLOT_MARK) out += fill_slot(&piece, out);
        else *out++ = (char)byte;
    }
    *out = '\0';
    if (piece.damaged) in->damaged = true;
    return text;
}

// ── messages: a slot is of a fixed width there

static size_t slot_width(unsigned kind) {
    switch (kind) {
    case SLOT_HEX: return 8;
    case SLOT_ADDRESS: case SLOT_BRIDGE: case SLOT_NAMESPACE: case SLOT_LINK: case SLOT_PORT: return 4;
    default: return 0;
    }
}

static void put_slot(const struct context *context, unsigned kind, uint32_t plus, uint8_t *out) {
    const struct slots *slots = &context->slots;
    char digits[NUMBER_DIGITS];
    uint32_t number = 0;
    switch (kind) {
    case SLOT_HEX:
        if (address_text(kind, slots->address, digits)) memcpy(out, digits, slot_width(kind));
        return;
    case SLOT_ADDRESS: number = htonl(slots->address); break;
    case SLOT_BRIDGE: number = slots->bridge; break;
    case SLOT_NAMESPACE: number = slots->network; break;
    case SLOT_LINK: number = slots->link; break;
    case SLOT_PORT: number = htonl((uint32_t)port_number(context, plus) << 16); break;
    default: break;
    }
    memcpy(out, &number, sizeof number);
}

// What `raw` becomes with its slots filled in, written to `out` if that is not NULL; its length, or -1 where it is
// damaged.
static ssize_t expand(const struct context *context, struct bytes raw, uint8_t *out) {
    struct reader piece = reader_of(NULL, raw);
    size_t length = 0;
    while (piece.at < piece.end) {
        uint8_t byte = *piece.at++, kind = byte == SLOT_MARK ? (uint8_t)number(&piece, 1) : 0;
        size_t width = kind ? slot_width(kind) : 1;
        uint32_t plus = kind ? read_u32(&piece) : 0;
        if (plus && kind != SLOT_PORT) return -1; // nothing is added to one here
        if (piece.damaged || width == 0) return -1;
        if (out && kind) put_slot(context, kind, plus, out + length);
        else if (out) out[length] = byte;
        length += width;
    }
    return (ssize_t)length;
}

struct bytes read_messages(struct reader *in) {
    struct bytes raw = read_bytes(in);
    if (!in->damaged && expand(NULL, raw, NULL) < 0) in->damaged = true;
    return raw;
}

// A step fills them in when it sends them: what it has claimed or found by then is known.
struct bytes fill_messages(struct context *context, struct bytes raw) {
    ssize_t length = expand(context, raw, NULL);
    if (length < 0) return (struct bytes){0};
    uint8_t *filled = keep((size_t)length + 1);
    expand(context, raw, filled);
    return (struct bytes){filled, (size_t)length};
}

// The count of a list whose items take at least `least` bytes each: never more than there is room for.
static size_t read_count(struct reader *in, size_t least) {
    uint32_t count = read_u32(in);
    if (in->damaged || count > (size_t)(in->end - in->at) / least) {
        in->damaged = true;
        return 0;
    }
    return count;
}

struct texts read_texts(struct reader *in) {
    size_t count = read_count(in, 4);
    struct texts texts = {.count = count, .items = keep((count + 1) * sizeof(char *))};
    for (size_t i = 0; i < count; i++) texts.items[i] = (char *)(uintptr_t)read_text(in);
    texts.items[count] = NULL;
    return texts;
}

uint16_t read_register_number(struct reader *in) {
    uint16_t number = read_u16(in);
    if (number == 0 || number >= REGISTERS) in->damaged = true;
    return number;
}

int read_descriptor(struct reader *in) {
    uint16_t number = read_u16(in);
    if (number >= REGISTERS) in->damaged = true;
    if (in->damaged || number == 0 || in->context->checking) return -1;
    int descriptor = held(in->context, number);
    // No step has opened it. For an undo it may be closed by now: it has what it needs in its deed.
    if (descriptor < 0 && !in->context->undoing) in->damaged = true;
    return descriptor;
}

struct descriptors read_descriptors(struct reader *in) {
    size_t count = read_count(in, 2);
    struct descriptors all = {.count = count, .items = keep((count + 1) * sizeof(int))};
    for (size_t i = 0; i < count; i++) all.items[i] = read_descriptor(in);
    return all;
}
