// The reader of the binary form: bytes that are cut short, odd lengths, slots and descriptors.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#include "ports.h"
#include "read.h"

static struct context context;

// A reader over a copy that ends where its memory ends: the sanitizer sees a byte too many.
static struct reader over(const void *bytes, size_t length) {
    uint8_t *copy = keep(length);
    memcpy(copy, bytes, length);
    context_init(&context);
    return reader_of(&context, (struct bytes){copy, length});
}

#define OVER(literal) over(literal, sizeof literal - 1)

TEST(numbers_are_little_endian) {
    struct reader in = OVER("\x34\x12\x78\x56\x34\x12\xf0\xde\xbc\x9a\x78\x56\x34\x12");
    CHECK(read_u16(&in) == 0x1234);
    CHECK(read_u32(&in) == 0x12345678);
    CHECK(read_u64(&in) == 0x123456789abcdef0);
    CHECK(reader_ended(&in));
}

TEST(a_number_cut_short_damages_the_reader) {
    for (size_t length = 0; length < 8; length++) {
        struct reader in = over("\1\2\3\4\5\6\7", length);
        CHECK(read_u64(&in) == 0);
        CHECK(in.damaged);
    }
}

TEST(a_damaged_reader_gives_nothing_more) {
    struct reader in = OVER("\xff\xff\xff\xff""abcd");
    CHECK(read_bytes(&in).length == 0);
    CHECK(in.damaged);
    CHECK(read_u32(&in) == 0);
    CHECK(read_bytes(&in).length == 0);
    CHECK_TEXT(read_text(&in), "");
    CHECK(read_texts(&in).count == 0);
    CHECK(!reader_ended(&in));
}

TEST(what_is_left_over_is_no_end) {
    struct reader in = OVER("\1\0\0\0\0");
    read_u32(&in);
    CHECK(!in.damaged);
    CHECK(!reader_ended(&in));
}

TEST(nothing_at_all_has_ended) {
    struct reader in = OVER("");
    CHECK(reader_ended(&in));
}

TEST(a_switch_is_0_or_1) {
    struct reader in = OVER("\0\0\0\0\1\0\0\0\2\0\0\0");
    CHECK(!read_switch(&in));
    CHECK(read_switch(&in));
    CHECK(!in.damaged);
    read_switch(&in);
    CHECK(in.damaged);
}

TEST(a_blob_may_hold_anything) {
    struct reader in = OVER("\3\0\0\0\0\1\xff");
    struct bytes blob = read_bytes(&in);
    CHECK(blob.length == 3);
    CHECK(memcmp(blob.start, "\0\1\xff", 3) == 0);
    CHECK(reader_ended(&in));
}

TEST(a_length_of_one_too_many_damages_the_reader) {
    struct reader in = OVER("\4\0\0\0abc");
    CHECK(read_bytes(&in).length == 0);
    CHECK(in.damaged);
}

TEST(a_text_holds_no_nul_byte) {
    struct reader in = OVER("\3\0\0\0a\0b");
    read_text(&in);
    CHECK(in.damaged);
}

TEST(a_marked_mark_is_a_byte_of_the_text) {
    struct reader in = OVER("\4\0\0\0a\1\0b");
    CHECK_TEXT(read_text(&in), "a\1b");
    CHECK(reader_ended(&in));
}

TEST(slots_are_filled_in) {
    static const char bytes[] = "\x25\0\0\0u\1\2\5\0\0\0:\1\3\0\0\0\0:\1\4\0\0\0\0:\1\5\0\0\0\0:\1\1\0\0\0\0:.";
    struct reader in = over(bytes, 4 + 0x25);
    context.slots = (struct slots){.run = "0123456789ab", .uids = 655360, .pid = 42, .started = 7, .clock = UINT64_MAX};
    CHECK_TEXT(read_text(&in), "u655365:42:7:18446744073709551615:0123456789ab:.");
    CHECK(reader_ended(&in));
}

TEST(a_number_to_add_goes_beyond_32_bits) {
    struct reader in = OVER("\6\0\0\0\1\2\xff\xff\xff\xff");
    context.slots.uids = UINT32_MAX;
    CHECK_TEXT(read_text(&in), "8589934590");
}

TEST(an_unclaimed_slot_damages_the_reader) {
    for (char kind = 1; kind <= 5; kind++) {
        char bytes[] = "\6\0\0\0\1?\0\0\0\0";
        bytes[5] = kind;
        struct reader in = over(bytes, sizeof bytes - 1);
        read_text(&in);
        CHECK(in.damaged);
    }
}

TEST(while_checking_every_slot_is_known) {
    for (char kind = 1; kind <= 9; kind++) {
        char bytes[] = "\6\0\0\0\1?\0\0\0\0";
        bytes[5] = kind;
        struct reader in = over(bytes, sizeof bytes - 1);
        context.checking = true;
        read_text(&in);
        CHECK(in.damaged == (kind == 9)); // which stands in messages alone
    }
}

TEST(an_address_has_three_forms) {
    struct reader in = OVER("\x14\0\0\0\1\6\0\0\0\0 \1\7\0\0\0\0 \1\10\0\0\0\0");
    context.slots.address = 0x0abd0107;
    CHECK_TEXT(read_text(&in), "10.189.1.7 0abd0107 abd:107");
}

static struct bytes filled(const char *bytes, size_t length) {
    struct reader in = over(bytes, length);
    struct bytes raw = read_messages(&in);
    CHECK(reader_ended(&in));
    context.slots = (struct slots){.address = 0x0abd0107, .bridge = 3, .network = 9};
    return fill_messages(&context, raw);
}

TEST(messages_are_filled_in_when_they_are_sent) {
    static const char raw[] = "\x1c\0\0\0\1\6\0\0\0\0\1\7\0\0\0\0\1\0x\1\11\0\0\0\0\1\12\0\0\0\0y";
    struct bytes all = filled(raw, sizeof raw - 1);
    CHECK(all.length == 23);
    CHECK(memcmp(all.start, "\x0a\xbd\1\7" "0abd0107" "\1x" "\3\0\0\0" "\11\0\0\0" "y", 23) == 0);
}

static void hold_ports(void) {
    static struct ports ports = {.count = 3, .each = {{.number = 80}, {.number = 0x1f90}, {.number = 65535}}};
    context.ports = &ports;
}

TEST(a_port_that_is_held_is_a_number_in_a_text) {
    struct reader in = OVER("\xd\0\0\0\1\14\1\0\0\0/\1\14\2\0\0\0");
    hold_ports();
    CHECK_TEXT(read_text(&in), "8080/65535");
    CHECK(reader_ended(&in));
}

TEST(a_port_that_is_not_held_damages_the_reader) {
    for (unsigned held = 0; held < 2; held++) {
        struct reader in = OVER("\6\0\0\0\1\14\3\0\0\0");
        if (held) hold_ports();
        read_text(&in);
        CHECK(in.damaged);
    }
}

TEST(in_a_message_a_port_is_two_bytes_and_two_of_nothing) {
    struct reader in = OVER("\xd\0\0\0x\1\14\1\0\0\0\1\14\2\0\0\0");
    struct bytes raw = read_messages(&in);
    hold_ports();
    struct bytes all = fill_messages(&context, raw);
    CHECK(all.length == 9 && memcmp(all.start, "x\x1f\x90\0\0\xff\xff\0\0", 9) == 0);
}

TEST(in_messages_other_slots_and_what_is_cut_short_damage_the_reader) {
    static const char *const bad[] = {"\6\0\0\0\1\2\0\0\0\0", "\6\0\0\0\1\10\0\0\0\0", "\6\0\0\0\1\6\1\0\0\0",
                                      "\5\0\0\0\1\6\0\0\0\0", "\1\0\0\0\1xxxxx"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct reader in = over(bad[i], 10);
        read_messages(&in);
        CHECK(in.damaged);
    }
}

TEST(a_slot_cut_short_damages_the_reader) {
    for (size_t length = 1; length < 6; length++) {
        uint8_t bytes[] = {(uint8_t)length, 0, 0, 0, 1, 2, 0, 0, 0, 0};
        struct reader in = over(bytes, 4 + length);
        context.slots.uids = 1;
        read_text(&in);
        CHECK(in.damaged);
    }
}

TEST(nothing_but_slots_fits_its_text) {
    enum { SLOTS = 500 };
    uint8_t bytes[4 + 6 * SLOTS] = {(6 * SLOTS) & 0xff, (6 * SLOTS) >> 8};
    for (size_t i = 0; i < SLOTS; i++) memcpy(bytes + 4 + 6 * i, "\1\5\0\0\0\0", 6);
    struct reader in = over(bytes, sizeof bytes);
    context.slots.clock = UINT64_MAX;
    CHECK(strlen(read_text(&in)) == 20 * SLOTS);
    CHECK(reader_ended(&in));
}

TEST(texts_end_with_null) {
    struct reader in = OVER("\2\0\0\0\1\0\0\0a\0\0\0\0");
    struct texts texts = read_texts(&in);
    CHECK(texts.count == 2);
    CHECK_TEXT(texts.items[0], "a");
    CHECK_TEXT(texts.items[1], "");
    CHECK(!texts.items[2]);
    CHECK(reader_ended(&in));
}

TEST(a_count_beyond_what_there_is_is_not_believed) {
    struct reader in = OVER("\xff\xff\xff\x3f\0\0\0\0");
    struct texts texts = read_texts(&in);
    CHECK(texts.count == 0);
    CHECK(!texts.items[0]);
    CHECK(in.damaged);
    in = OVER("\3\0\0\0\1\0\2\0\1"); // two and a half
    CHECK(read_descriptors(&in).count == 0);
    CHECK(in.damaged);
}

TEST(a_descriptor_is_the_one_of_its_number) {
    struct reader in = OVER("\3\0\0\0\7\0\0\0\xff\x0f");
    hold(&context, 7, 70);
    hold(&context, 4095, 71);
    struct descriptors all = read_descriptors(&in);
    CHECK(all.count == 3);
    CHECK(all.items[0] == 70);
    CHECK(all.items[1] == -1);
    CHECK(all.items[2] == 71);
    CHECK(reader_ended(&in));
}

TEST(a_descriptor_that_no_step_has_opened_damages_the_reader) {
    struct reader in = OVER("\7\0");
    CHECK(read_descriptor(&in) == -1);
    CHECK(in.damaged);
}

TEST(for_an_undo_a_descriptor_may_be_closed) {
    struct reader in = OVER("\7\0");
    context.undoing = true;
    CHECK(read_descriptor(&in) == -1);
    CHECK(reader_ended(&in));
}

TEST(a_descriptor_number_has_a_bound) {
    for (int checking = 0; checking < 2; checking++) {
        struct reader in = OVER("\0\x10");
        context.checking = checking;
        CHECK(read_descriptor(&in) == -1);
        CHECK(in.damaged);
    }
}

TEST(a_new_descriptor_needs_a_number_within_bounds) {
    struct reader in = OVER("\xff\x0f");
    CHECK(read_register_number(&in) == 4095);
    CHECK(reader_ended(&in));
    in = OVER("\0\x10");
    read_register_number(&in);
    CHECK(in.damaged);
    in = OVER("\0\0");
    read_register_number(&in);
    CHECK(in.damaged);
}

// One open file in several processes, as the init's sessions have it: none of them moves where another reads.
TEST(what_several_processes_read_at_once_is_whole) {
    static char written[16384], found[sizeof written];
    int file = memfd_create("shared", MFD_CLOEXEC), wrong = 0, status;
    for (size_t i = 0; i < sizeof written; i++) written[i] = (char)(i * 7 / 256);
    CHECK(write_all(file, written, sizeof written) == 0);
    for (int child = 0; child < 4; child++) {
        if (fork() > 0) continue;
        for (int turn = 0; turn < 1000; turn++) {
            memset(found, 0, sizeof found);
            if (read_from_start(file, found, sizeof found) != sizeof found) _exit(1);
            if (memcmp(found, written, sizeof written) != 0) _exit(1);
        }
        _exit(0);
    }
    for (int child = 0; child < 4; child++) wrong += wait(&status) < 0 || status != 0;
    CHECK(wrong == 0);
    close(file);
}
