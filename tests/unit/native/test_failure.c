// What a failure becomes: text that no terminal obeys, an exit status, a name of an error.
#include "check.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "volt.h"

static struct context context;
static char to[256];

static const char *made_harmless(const char *from, size_t length, size_t size) {
    memset(to, '~', sizeof to);
    harmless(to, size, from, length);
    CHECK(to[size] == '~');
    return to;
}

#define HARMLESS(literal) made_harmless(literal, sizeof literal - 1, sizeof to - 1)

TEST(ordinary_text_stays_as_it_is) {
    CHECK_TEXT(HARMLESS(""), "");
    CHECK_TEXT(HARMLESS("/srv/data: gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80 ~"), "/srv/data: gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80 ~");
    CHECK_TEXT(HARMLESS("\xc2\xa0"), "\xc2\xa0"); // the first behind C1
}

TEST(control_characters_are_spelled_out) {
    CHECK_TEXT(HARMLESS("a\x1b[2J\n\r\t\x7f\0z"), "a\\x1b[2J\\x0a\\x0d\\x09\\x7f\\x00z");
}

TEST(c1_control_characters_are_spelled_out) {
    CHECK_TEXT(HARMLESS("\xc2\x9b""31m"), "\\xc2\\x9b31m");
    CHECK_TEXT(HARMLESS("\xc2\x80\xc2\x9f"), "\\xc2\\x80\\xc2\\x9f");
}

TEST(bytes_that_are_no_utf_8_are_spelled_out) {
    CHECK_TEXT(HARMLESS("\x9b""31m"), "\\x9b31m"); // C1 for a terminal of eight bits
    CHECK_TEXT(HARMLESS("\xff\xc0\xaf"), "\\xff\\xc0\\xaf");
    CHECK_TEXT(HARMLESS("\xe0\x80\x9b"), "\\xe0\\x80\\x9b");             // overlong
    CHECK_TEXT(HARMLESS("\xed\xa0\x80"), "\\xed\\xa0\\x80");             // a surrogate
    CHECK_TEXT(HARMLESS("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");    // beyond the last
    CHECK_TEXT(HARMLESS("\xc2z"), "\\xc2z");
}

TEST(utf_8_cut_at_the_end_is_spelled_out) {
    CHECK_TEXT(HARMLESS("a\xc2"), "a\\xc2");
    CHECK_TEXT(HARMLESS("a\xe2\x82"), "a\\xe2\\x82");
    CHECK_TEXT(HARMLESS("a\xf0\x9f\x98"), "a\\xf0\\x9f\\x98");
}

TEST(what_has_no_room_is_left_out_whole) {
    for (size_t size = 1; size < 12; size++) {
        size_t length = strlen(made_harmless("\xf0\x9f\x98\x80\x1b!", 6, size));
        CHECK(length < size);
        CHECK(length == (size < 5 ? 0u : size < 9 ? 4u : size < 10 ? 8u : 9u));
    }
    to[0] = '~';
    harmless(to, 0, "a", 1);
    CHECK(to[0] == '~');
}

int harmless_command(void) {
    char from[65536], shown[4 * sizeof from + 1];
    ssize_t length = read_up_to(STDIN_FILENO, from, sizeof from);
    if (length < 0) return 1;
    harmless(shown, sizeof shown, from, (size_t)length);
    return write_all(STDOUT_FILENO, shown, strlen(shown)) < 0;
}

static int status_of(int wait_status) {
    context_init(&context);
    context.result.exited = context.result.started = true;
    context.result.wait_status = wait_status;
    return exit_status(&context);
}

TEST(the_payloads_status_is_ours) {
    CHECK(status_of(0) == 0);
    CHECK(status_of(1 << 8) == 1);
    CHECK(status_of(255 << 8) == 255);
}

TEST(a_signal_is_128_and_its_number) {
    CHECK(status_of(SIGKILL) == 137);
    CHECK(status_of(SIGSEGV | 0x80) == 139); // with a core
    CHECK(status_of(64) == 192);
}

TEST(a_failure_of_volts_own_is_125) {
    CHECK(status_of(0) == 0);
    context.failure.happened = true;
    context.failure.error = ENOENT;
    CHECK(exit_status(&context) == VOLT_FAILED);
}

TEST(an_error_has_the_name_of_errno_3) {
    CHECK_TEXT(error_name(ENOENT), "ENOENT");
    CHECK_TEXT(error_name(EOPNOTSUPP) ? "known" : "unknown", "known");
    CHECK(!error_name(0));
    CHECK(!error_name(-1));
    CHECK(!error_name(99999));
}

TEST(a_failure_before_any_step_is_told_without_one) {
    char message[512];
    context_init(&context);
    context.failure.happened = true;
    refuse(&context, EBADMSG, "the plan is %s", "damaged");
    context.failure.error = errno;
    failure_message(&context, message, sizeof message);
    CHECK(strncmp(message, "the plan is damaged: ", 21) == 0);
    CHECK_TEXT(failure_hint(&context), "");
}

TEST(an_undo_does_not_change_what_the_failure_was) {
    context_init(&context);
    explain(&context, "first");
    context.undoing = true;
    errno = EBUSY;
    CHECK(explain(&context, "second") == -1);
    CHECK(errno == EBUSY);
    CHECK_TEXT(context.failure.text, "first");
}

TEST(a_text_longer_than_a_failures_is_cut) {
    static char text[2 * FAILURE_TEXT];
    memset(text, 'x', sizeof text - 1);
    context_init(&context);
    explain(&context, "%s", text);
    CHECK(strlen(context.failure.text) == FAILURE_TEXT - 1);
}
