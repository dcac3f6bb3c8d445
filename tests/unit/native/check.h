// What the C tests share: TEST names a test, CHECK ends it with the place of what does not hold.
#ifndef VOLT_CHECK_H
#define VOLT_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};

void register_test(struct test *test);
_Noreturn void failed(const char *file, int line, const char *what);
_Noreturn void failed_text(const char *file, int line, const char *got, const char *wanted);

#define TEST(name)                                                   \
    static void name(void);                                          \
    __attribute__((constructor)) static void register_##name(void) { \
        static struct test test = {#name, name, NULL};               \
        register_test(&test);                                        \
    }                                                                \
    static void name(void)

#define CHECK(condition)                                              \
    do {                                                              \
        if (!(condition)) failed(__FILE__, __LINE__, #condition);     \
    } while (0)

#define CHECK_TEXT(got, wanted)                                                     \
    do {                                                                            \
        const char *text_got = (got);                                               \
        if (strcmp(text_got, wanted) != 0) failed_text(__FILE__, __LINE__, text_got, wanted); \
    } while (0)

// Commands of the program beside its tests: what Python asks of single functions.
int outcome_command(int count, char **words);
int harmless_command(void);
int digest_command(void);
int lookup_command(char **words);
int damaged_command(int count, char **words);

#endif
