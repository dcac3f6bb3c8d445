// Runs one C test by its name; does what the static program does for `perform` and `init`; answers for single functions.
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

// The program's own main.c, whose main has to give way to this one.
int program_main(int count, char **words);
#define main program_main
#include "main.c"
#undef main

static struct test *tests;

void register_test(struct test *test) {
    test->next = tests;
    tests = test;
}

void failed(const char *file, int line, const char *what) {
    printf("%s:%d: does not hold: %s (errno %d)\n", file, line, what, errno);
    exit(1);
}

void failed_text(const char *file, int line, const char *got, const char *wanted) {
    printf("%s:%d: '%s' instead of '%s'\n", file, line, got, wanted);
    exit(1);
}

static int run_test(const char *name) {
    for (struct test *test = tests; test; test = test->next)
        if (strcmp(test->name, name) == 0) {
            test->run();
            forget_all();
            return 0;
        }
    printf("no test is named %s\n", name);
    return 2;
}

int main(int count, char **words) {
    if (count == 3 && strcmp(words[1], "test") == 0) return run_test(words[2]);
    if (count > 1 && strcmp(words[1], "outcome") == 0) return outcome_command(count, words);
    if (count == 2 && strcmp(words[1], "harmless") == 0) return harmless_command();
    if (count == 2 && strcmp(words[1], "digest") == 0) return digest_command();
    if (count > 2 && strcmp(words[1], "lookup") == 0) return lookup_command(words);
    if (count > 5 && strcmp(words[1], "damaged") == 0) return damaged_command(count, words);
    return program_main(count, words);
}
