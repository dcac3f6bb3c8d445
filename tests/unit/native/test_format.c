// format_list, held against the C library's snprintf for the conversions that the program uses.
#include "check.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "volt.h"

#define ROOM 64

// Both write the same into every size of buffer, and tell the same length; and nothing behind the buffer is touched.
#define SAME(...)                                                              \
    do {                                                                       \
        for (size_t size = 0; size < ROOM; size++) {                           \
            char ours[ROOM], theirs[ROOM];                                     \
            memset(ours, '~', sizeof ours);                                    \
            memset(theirs, '~', sizeof theirs);                                \
            int length = snprintf(theirs, size, __VA_ARGS__);                  \
            CHECK(format_into(ours, size, __VA_ARGS__) == (size_t)length);     \
            CHECK(memcmp(ours, theirs, sizeof ours) == 0);                     \
        }                                                                      \
    } while (0)

// The compiler would warn of what does not fit, which is the point here.
#pragma GCC diagnostic ignored "-Wformat-truncation"
#pragma GCC diagnostic ignored "-Wformat-zero-length"

TEST(plain_text_is_copied) {
    SAME("");
    SAME("no conversion at all");
    SAME("100 %%, and 50 %%");
}

TEST(texts_are_as_snprintf_has_them) {
    SAME("%s", "");
    SAME("%s/%s", "folder", "name");
    SAME("%.*s|%.*s|%.*s", 3, "abcdef", 0, "abcdef", 10, "abc");
    SAME("%.*s", -1, "no limit");
}

TEST(a_text_with_a_limit_needs_no_end) {
    const char three[3] = {'a', 'b', 'c'};
    char to[8];
    CHECK(format_into(to, sizeof to, "%.*s", 3, three) == 3);
    CHECK_TEXT(to, "abc");
}

TEST(characters_are_as_snprintf_has_them) { SAME("%c%c%c", 'a', '%', '\xff'); }

TEST(numbers_are_as_snprintf_has_them) {
    static const int numbers[] = {0, 1, -1, 9, 10, -10, 123456789, INT_MAX, INT_MIN};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        SAME("%d", numbers[i]);
        SAME("%u", (unsigned)numbers[i]);
        SAME("%x", (unsigned)numbers[i]);
        SAME("%02x", (unsigned)numbers[i]);
        SAME("%04x", (unsigned)numbers[i]);
        SAME("%lu", (unsigned long)numbers[i]);
        SAME("%lx", (unsigned long)numbers[i]);
        SAME("step %u of %lu: %s (%d)", (unsigned)numbers[i], (unsigned long)numbers[i], "mixed", numbers[i]);
    }
    SAME("%lu", ULONG_MAX);
}

TEST(a_text_made_by_format_is_as_long_as_it_needs) {
    char *text = format_text("%s%s", "0123456789012345678901234567890123456789", "0123456789012345678901234567890123456789");
    CHECK(strlen(text) == 80);
}
