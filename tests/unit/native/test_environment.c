// The environment of what is executed: defaults, env files in all their forms, variables of the plan.
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "volt.h"

static struct context context;

static int file_of(const char *content, size_t length) {
    int file = memfd_create("env", MFD_CLOEXEC);
    CHECK(file >= 0);
    CHECK(write_all(file, content, length) == 0);
    return file;
}

// The environment on one line, a | behind each variable; the message where it is refused.
static const char *built(const char *defaults, const char *content, size_t length, const char *given) {
    static char line[4096];
    char *first[] = {(char *)defaults, NULL}, *last[] = {(char *)given, NULL};
    int files[] = {file_of(content, length)};
    size_t used = 0;
    context_init(&context);
    char **environment = build_environment(&context, (struct texts){defaults != NULL, first},
                                           (struct descriptors){1, files}, (struct texts){given != NULL, last});
    close(files[0]);
    if (!environment) return context.failure.text;
    line[0] = '\0';
    for (; *environment; environment++) used += (size_t)snprintf(line + used, sizeof line - used, "%s|", *environment);
    return line;
}

#define FROM(literal) built(NULL, literal, sizeof literal - 1, NULL)

TEST(an_env_file_is_lines_of_name_and_value) {
    CHECK_TEXT(FROM("A=1\nB=two words\nC=\n"), "A=1|B=two words|C=|");
    CHECK_TEXT(FROM("A=1"), "A=1|");
    CHECK_TEXT(FROM(""), "");
    CHECK_TEXT(FROM("A=b=c\n"), "A=b=c|");
}

TEST(blank_lines_and_comments_are_nothing) { CHECK_TEXT(FROM("\n# no\n  # no\n\t\nA=#yes\n\n"), "A=#yes|"); }

TEST(space_before_a_name_goes_and_space_behind_a_value_stays) { CHECK_TEXT(FROM(" \tA= 1 \n"), "A= 1 |"); }

TEST(lines_may_end_as_on_windows) { CHECK_TEXT(FROM("A=1\r\n\r\nB=2\r"), "A=1|B=2|"); }

TEST(a_carriage_return_within_a_value_stays) { CHECK_TEXT(FROM("A=1\r2\n"), "A=1\r2|"); }

TEST(a_byte_order_mark_is_no_part_of_the_name) {
    CHECK_TEXT(FROM("\xef\xbb\xbf""A=1\n"), "A=1|");
    CHECK_TEXT(FROM("\xef\xbb\xbf"), "");
}

TEST(a_later_value_wins_in_the_first_ones_place) {
    CHECK_TEXT(FROM("A=1\nB=2\nA=3\n"), "A=3|B=2|");
    CHECK_TEXT(FROM("A=1\nAB=2\nA=3\n"), "A=3|AB=2|");
}

TEST(a_file_is_above_the_defaults_and_below_the_plans_own) {
    CHECK_TEXT(built("A=0", "A=1\nB=1\n", 8, "B=2"), "A=1|B=2|");
    CHECK_TEXT(built("A=0", "", 0, "A=2"), "A=2|");
}

TEST(a_line_without_equals_is_refused_by_its_number_and_never_quoted) {
    CHECK_TEXT(FROM("A=1\n\nsecret\n"), "line 3 of the env_file is not NAME=value");
    CHECK_TEXT(FROM("=secret\n"), "line 1 of the env_file is not NAME=value");
}

TEST(a_name_with_space_in_it_is_refused) {
    CHECK_TEXT(FROM("export A=1\n"), "line 1 of the env_file is not NAME=value");
    CHECK_TEXT(FROM("A =1\n"), "line 1 of the env_file is not NAME=value");
    CHECK_TEXT(FROM("A\t=1\n"), "line 1 of the env_file is not NAME=value");
}

TEST(a_nul_byte_in_an_env_file_is_refused) { CHECK_TEXT(FROM("A=1\0\n"), "the env_file holds a NUL byte"); }

TEST(many_variables_have_room) {
    enum { MANY = 1000 };
    static char content[MANY * 10];
    size_t length = 0, count = 0;
    for (int i = 0; i < MANY; i++) length += (size_t)snprintf(content + length, sizeof content - length, "N%d=%d\n", i, i % 10);
    int files[] = {file_of(content, length), file_of(content, length)};
    context_init(&context);
    char **environment = build_environment(&context, (struct texts){0, NULL}, (struct descriptors){2, files}, (struct texts){0, NULL});
    CHECK(environment);
    CHECK_TEXT(variable(environment, "N999"), "9");
    while (environment[count]) count++;
    CHECK(count == MANY);
}

TEST(a_descriptor_that_is_no_file_is_an_error) {
    int pair[2], closed[] = {-1};
    CHECK(pipe(pair) == 0);
    context_init(&context);
    CHECK(!build_environment(&context, (struct texts){0, NULL}, (struct descriptors){1, pair}, (struct texts){0, NULL}));
    CHECK(errno == ESPIPE);
    CHECK(!build_environment(&context, (struct texts){0, NULL}, (struct descriptors){1, closed}, (struct texts){0, NULL}));
    CHECK(errno == EBADF);
}

TEST(a_variable_is_found_by_its_whole_name) {
    char one[] = "PATHS=/no", two[] = "PATH=/bin", three[] = "EMPTY=";
    char *environment[] = {one, two, three, NULL};
    CHECK_TEXT(variable(environment, "PATH"), "/bin");
    CHECK_TEXT(variable(environment, "EMPTY"), "");
    CHECK(!variable(environment, "PAT"));
    CHECK(!variable(environment + 3, "PATH"));
}
