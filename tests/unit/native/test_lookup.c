// The plan cache's reading side: digests for Python to compare, an entry looked up, and thousands of damaged ones that
// are sealed again, so that what lies behind the seal is reached.
#include "check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "digest.h"
#include "kernel.h"
#include "lookup.h"
#include "table.h"

#define LONGEST 65536

static const uint8_t key[DIGEST_LENGTH] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static const char *hex_digest(const void *data, size_t length, const uint8_t with[DIGEST_LENGTH]) {
    uint8_t found[DIGEST_LENGTH];
    char *text = keep(2 * DIGEST_LENGTH + 1), *copy = keep(length); // a byte too many would be seen
    memcpy(copy, data, length);
    digest(copy, length, with, found);
    for (unsigned i = 0; i < DIGEST_LENGTH; i++) format_into(text + 2 * i, 3, "%02x", found[i]);
    return text;
}

TEST(a_digest_is_that_of_the_specification) {
    static const uint8_t block[64];
    CHECK_TEXT(hex_digest("", 0, key), "af4e5d3bb230e9ff9096ca6f7c501f76");
    CHECK_TEXT(hex_digest("abc", 3, key), "75296c2d2c0f51210b383f386bc8b1ff");
    CHECK_TEXT(hex_digest(block, 64, key), "96d78782aeb391dcc59781b3158aaa2d");
}

TEST(without_the_word_run_nothing_is_looked_up) {
    char program[] = "volt", other[] = "validate";
    struct bytes plan;
    int file = -1;
    CHECK(!lookup((char *[]){program, NULL}, &plan, &file));
    CHECK(!lookup((char *[]){program, other, NULL}, &plan, &file));
}

// digest: the key and up to 64 KiB are standard input; a line for the first byte, the first two, … of them.
int digest_command(void) {
    static uint8_t data[DIGEST_LENGTH + LONGEST];
    ssize_t length = read_up_to(STDIN_FILENO, data, sizeof data);
    if (length < DIGEST_LENGTH) return 2;
    for (size_t n = 0; n <= (size_t)length - DIGEST_LENGTH; n++) {
        puts(hex_digest(data + DIGEST_LENGTH, n, data));
        forget_all();
    }
    return 0;
}

// lookup run WORD…: the plan is standard output, 1 where there is none.
int lookup_command(char **words) {
    struct bytes plan;
    int file = -1;
    if (!lookup(words + 1, &plan, &file)) return 1;
    return write_all(STDOUT_FILENO, plan.start, plan.length) < 0;
}

// ── damage

static uint64_t state;

static uint32_t draw(uint32_t below) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33) % below;
}

static void put_u32(uint8_t *at, uint32_t value) {
    for (unsigned i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (8 * i));
}

// One change behind the header; the new length.
static size_t change(uint8_t *data, size_t length) {
    static const uint32_t odd[] = {0, 1, 2, 3, 8, 9, 255, 4096, 0x7fffffff, 0x80000000, 0xffffffff};
    if (length < ENTRY_HEADER + 8) return length + 8 < LONGEST ? length + draw(8) : length;
    size_t room = length - ENTRY_HEADER, at = ENTRY_HEADER + draw((uint32_t)room - 4);
    switch (draw(6)) {
    case 0: data[at] ^= (uint8_t)(1u << draw(8)); break;
    case 1: data[at] = (uint8_t)draw(256); break;
    case 2: put_u32(data + at, odd[draw(sizeof odd / sizeof *odd)]); break;
    case 3: put_u32(data + at, draw((uint32_t)length * 2)); break;
    case 4: return at; // cut short
    default: { // a part of it taken out
        size_t part = draw((uint32_t)(length - at));
        memmove(data + at, data + at + part, length - at - part);
        return length - part;
    }
    }
    return length;
}

static void seal_again(uint8_t *data, size_t length) {
    put_u32(data + 12, (uint32_t)length);
    digest(data + ENTRY_HEADER, length - ENTRY_HEADER, key, data + 16);
}

// Written in place: the file is looked up by its name.
static bool put_file(const char *path, const uint8_t *data, size_t length) {
    int file = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    bool good = file >= 0 && write_all(file, data, length) == 0;
    close_held(&file);
    return good;
}

static bool within(struct bytes plan) {
    uint64_t seen = 0;
    for (size_t i = 0; i < plan.length; i++) seen += plan.start[i]; // the sanitizer sees what is none of the entry's
    return seen < UINT64_MAX;
}

// damaged ENTRY EXAMPLES SEED run WORD…: how many of the examples were performed all the same.
int damaged_command(int count, char **words) {
    static uint8_t whole[LONGEST], data[LONGEST];
    unsigned accepted = 0, examples = count > 5 ? (unsigned)atoi(words[3]) : 0;
    int file = count > 5 ? open(words[2], O_RDONLY | O_CLOEXEC) : -1;
    ssize_t length = file < 0 ? -1 : read_up_to(file, whole, sizeof whole);
    close_held(&file);
    if (length < ENTRY_HEADER) return 2;
    state = strtoull(words[4], NULL, 10) * 2 + 1;
    for (unsigned i = 0; i < examples; i++) {
        struct bytes plan;
        size_t now_long = (size_t)length;
        memcpy(data, whole, sizeof data);
        for (uint32_t changes = i ? 1 + draw(3) : 0; changes; changes--) now_long = change(data, now_long);
        seal_again(data, now_long);
        if (!put_file(words[2], data, now_long)) return 2;
        if (lookup(words + 4, &plan, &file) && within(plan)) accepted++;
        close_held(&file);
        forget_all();
    }
    printf("%u of %u accepted\n", accepted, examples);
    return 0;
}
