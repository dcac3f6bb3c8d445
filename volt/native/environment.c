// The environment of what is executed: defaults, env files, the plan's own variables; a later one wins.
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "volt.h"

struct environment {
    char **items;
    size_t count, room;
};

static size_t name_length(const char *line) { return strcspn(line, "="); }

static void set_variable(struct environment *to, char *line) {
    size_t length = name_length(line) + 1;
    for (size_t i = 0; i < to->count; i++)
        if (strncmp(to->items[i], line, length) == 0) {
            to->items[i] = line;
            return;
        }
    if (to->count + 1 >= to->room) {
        char **more = keep((to->room * 2 + 64) * sizeof *more);
        if (to->count) memcpy(more, to->items, to->count * sizeof *more);
        to->items = more;
        to->room = to->room * 2 + 64;
    }
    to->items[to->count++] = line;
    to->items[to->count] = NULL;
}

// One line of an env file; the value is never quoted in a message, for it may be a secret.
static int take_line(struct context *context, struct environment *to, char *line, unsigned number) {
    size_t length = strlen(line);
    if (length && line[length - 1] == '\r') line[length - 1] = '\0';
    line += strspn(line, " \t");
    if (!*line || *line == '#') return 0;
    size_t name = name_length(line);
    if (name == 0 || !line[name] || memchr(line, ' ', name) || memchr(line, '\t', name))
        return refuse(context, 0, "line %u of the env_file is not NAME=value", number);
    set_variable(to, line);
    return 0;
}

static int take_file(struct context *context, struct environment *to, int file) {
    struct stat status;
    if (fstat(file, &status) < 0) return -1;
    char *content = keep((size_t)status.st_size + 1);
    ssize_t length = read_from_start(file, content, (size_t)status.st_size);
    if (length < 0) return -1;
    if (memchr(content, '\0', (size_t)length)) return refuse(context, 0, "the env_file holds a NUL byte");
    if (length >= 3 && memcmp(content, "\xef\xbb\xbf", 3) == 0) content += 3; // a byte order mark
    unsigned number = 0;
    for (char *next; content; content = next) {
        next = strchr(content, '\n');
        if (next) *next++ = '\0';
        if (take_line(context, to, content, ++number) < 0) return -1;
    }
    return 0;
}

static void take_texts(struct environment *to, struct texts texts) {
    for (size_t i = 0; i < texts.count; i++) set_variable(to, texts.items[i]);
}

// Ends with NULL. NULL on failure.
char **build_environment(struct context *context, struct texts defaults, struct descriptors files,
                         struct texts given) {
    struct environment environment = {.items = keep(sizeof(char *))};
    take_texts(&environment, defaults);
    for (size_t i = 0; i < files.count; i++)
        if (take_file(context, &environment, files.items[i]) < 0) return NULL;
    take_texts(&environment, given);
    return environment.items;
}

const char *variable(char *const *environment, const char *name) {
    size_t length = strlen(name);
    for (; *environment; environment++)
        if (strncmp(*environment, name, length) == 0 && (*environment)[length] == '=')
            return *environment + length + 1;
    return NULL;
}
