// The outcome's document, for Python to parse.
#include "check.h"

#include <stdlib.h>
#include <unistd.h>

#include "volt.h"

// outcome PLAN-DESCRIPTOR FAILED NUMBER ERRNO WAIT-STATUS [LEFT]: the failure's text is standard input.
int outcome_command(int count, char **words) {
    static struct context context;
    static char document[16 * FAILURE_TEXT];
    if (count < 7) return 2;
    context_init(&context);
    if (load_program(&context, atoi(words[2]), false) < 0) return 1;
    context.failure.happened = atoi(words[3]);
    context.failure.number = (uint32_t)strtoul(words[4], NULL, 10);
    context.failure.error = atoi(words[5]);
    context.result.wait_status = atoi(words[6]);
    if (read_up_to(STDIN_FILENO, context.failure.text, sizeof context.failure.text - 1) < 0) return 1;
    if (count > 7) {
        context.undone = false;
        format_into(context.left, sizeof context.left, "%s", words[7]);
    }
    size_t length = outcome_document(&context, document, sizeof document);
    return write_all(STDOUT_FILENO, document, length) < 0;
}

TEST(a_document_that_has_no_room_is_cut_within_its_bounds) {
    static struct context context;
    char document[64];
    context_init(&context);
    for (size_t size = 1; size < sizeof document; size++) {
        memset(document, '~', sizeof document);
        CHECK(outcome_document(&context, document, size) <= size);
        CHECK(document[size] == '~');
    }
}
