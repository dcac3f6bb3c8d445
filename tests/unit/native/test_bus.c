// D-Bus as far as we read it: what jeepney and dbus-daemon write, and what is damaged.
#include "check.h"

#include <stdint.h>

#include "bus.h"

// JobRemoved(42, "/org/freedesktop/systemd1/job/4200", "volt-0123456789ab.scope", "done"), as a bus hands it on.
static const uint8_t job_removed[] = {
    'l', 4, 0, 1, 'Q', 0, 0, 0, 9, 0, 0, 0, 138, 0, 0, 0, 1, 1, 'o', 0, 25, 0, 0, 0, '/', 'o', 'r', 'g', '/',
    'f', 'r', 'e', 'e', 'd', 'e', 's', 'k', 't', 'o', 'p', '/', 's', 'y', 's', 't', 'e', 'm', 'd', '1', 0, 0, 0,
    0, 0, 0, 0, 2, 1, 's', 0, 32, 0, 0, 0, 'o', 'r', 'g', '.', 'f', 'r', 'e', 'e', 'd', 'e', 's', 'k', 't', 'o',
    'p', '.', 's', 'y', 's', 't', 'e', 'm', 'd', '1', '.', 'M', 'a', 'n', 'a', 'g', 'e', 'r', 0, 0, 0, 0, 0, 0,
    0, 0, 3, 1, 's', 0, 10, 0, 0, 0, 'J', 'o', 'b', 'R', 'e', 'm', 'o', 'v', 'e', 'd', 0, 0, 0, 0, 0, 0, 7, 1,
    's', 0, 4, 0, 0, 0, ':', '1', '.', '1', 0, 0, 0, 0, 8, 1, 'g', 0, 4, 'u', 'o', 's', 's', 0, 0, 0, 0, 0, 0,
    0, '*', 0, 0, 0, '"', 0, 0, 0, '/', 'o', 'r', 'g', '/', 'f', 'r', 'e', 'e', 'd', 'e', 's', 'k', 't', 'o',
    'p', '/', 's', 'y', 's', 't', 'e', 'm', 'd', '1', '/', 'j', 'o', 'b', '/', '4', '2', '0', '0', 0, 0, 23, 0,
    0, 0, 'v', 'o', 'l', 't', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', '.', 's', 'c',
    'o', 'p', 'e', 0, 4, 0, 0, 0, 'd', 'o', 'n', 'e', 0,
};

// An error in answer to message 3: "Unit volt-x.scope already exists."
static const uint8_t unit_exists[] = {
    'l', 3, 0, 1, '&', 0, 0, 0, 4, 0, 0, 0, '?', 0, 0, 0, 4, 1, 's', 0, '#', 0, 0, 0, 'o', 'r', 'g', '.', 'f',
    'r', 'e', 'e', 'd', 'e', 's', 'k', 't', 'o', 'p', '.', 's', 'y', 's', 't', 'e', 'm', 'd', '1', '.', 'U',
    'n', 'i', 't', 'E', 'x', 'i', 's', 't', 's', 0, 0, 0, 0, 0, 5, 1, 'u', 0, 3, 0, 0, 0, 8, 1, 'g', 0, 1, 's',
    0, 0, '!', 0, 0, 0, 'U', 'n', 'i', 't', 32, 'v', 'o', 'l', 't', '-', 'x', '.', 's', 'c', 'o', 'p', 'e', 32,
    'a', 'l', 'r', 'e', 'a', 'd', 'y', 32, 'e', 'x', 'i', 's', 't', 's', '.', 0,
};

// NameAcquired(":1.7"), which a bus sends to whoever logs in.
static const uint8_t name_acquired[] = {
    'l', 4, 0, 1, 9, 0, 0, 0, 2, 0, 0, 0, '_', 0, 0, 0, 1, 1, 'o', 0, 21, 0, 0, 0, '/', 'o', 'r', 'g', '/', 'f',
    'r', 'e', 'e', 'd', 'e', 's', 'k', 't', 'o', 'p', '/', 'D', 'B', 'u', 's', 0, 0, 0, 2, 1, 's', 0, 20, 0, 0,
    0, 'o', 'r', 'g', '.', 'f', 'r', 'e', 'e', 'd', 'e', 's', 'k', 't', 'o', 'p', '.', 'D', 'B', 'u', 's', 0, 0,
    0, 0, 3, 1, 's', 0, 12, 0, 0, 0, 'N', 'a', 'm', 'e', 'A', 'c', 'q', 'u', 'i', 'r', 'e', 'd', 0, 0, 0, 0, 8,
    1, 'g', 0, 1, 's', 0, 0, 4, 0, 0, 0, ':', '1', '.', '7', 0,
};

static uint8_t copy[sizeof job_removed];

static bool parse(size_t length, struct bus_message *message) {
    return bus_parse((struct bytes){copy, length}, message);
}

TEST(a_signal_is_read_with_its_unit_and_its_result) {
    struct bus_message message;
    memcpy(copy, job_removed, sizeof copy);
    CHECK(bus_message_length(copy) == sizeof copy);
    CHECK(parse(sizeof copy, &message));
    CHECK(message.type == 4);
    CHECK_TEXT(message.member, "JobRemoved");
    CHECK_TEXT(message.strings[1], "volt-0123456789ab.scope");
    CHECK_TEXT(message.strings[2], "done");
}

TEST(a_message_cut_short_is_damaged_wherever_it_ends) {
    struct bus_message message;
    memcpy(copy, job_removed, sizeof copy);
    for (size_t length = 16; length < sizeof copy; length++)
        CHECK(!parse(length, &message) || strcmp(message.strings[2], "done") != 0);
}

TEST(a_changed_byte_is_read_or_refused_and_never_beyond_the_end) {
    struct bus_message message;
    for (size_t at = 1; at < sizeof copy; at++) {
        for (unsigned value = 0; value < 256; value += 17) {
            memcpy(copy, job_removed, sizeof copy);
            copy[at] = (uint8_t)value;
            if (parse(sizeof copy, &message)) CHECK(strlen(message.strings[2]) < sizeof copy);
        }
    }
}

TEST(another_byte_order_version_or_size_is_none_of_ours) {
    uint8_t header[16] = {'l', 4, 0, 1};
    CHECK(bus_message_length(header) == 16);
    header[0] = 'B';
    CHECK(bus_message_length(header) == 0);
    header[0] = 'l';
    header[3] = 2;
    CHECK(bus_message_length(header) == 0);
    header[3] = 1;
    header[6] = 2; // 128 KiB
    CHECK(bus_message_length(header) == (128u << 10) + 16);
    header[7] = 8; // 128 MiB more
    CHECK(bus_message_length(header) == 0);
    memset(header + 4, 0xff, 12);
    CHECK(bus_message_length(header) == 0);
}

TEST(an_error_is_read_with_its_words) {
    struct bus_message message;
    CHECK(bus_message_length(unit_exists) == sizeof unit_exists);
    CHECK(bus_parse((struct bytes){unit_exists, sizeof unit_exists}, &message));
    CHECK(message.type == 3);
    CHECK(message.reply_to == 3);
    CHECK_TEXT(message.strings[0], "Unit volt-x.scope already exists.");
}

TEST(a_signal_of_another_kind_is_read_over) {
    struct bus_message message;
    CHECK(bus_parse((struct bytes){name_acquired, sizeof name_acquired}, &message));
    CHECK(message.type == 4);
    CHECK_TEXT(message.strings[1], "");
}
