// JSON, written piece by piece into memory that is never overrun.
#ifndef VOLT_JSON_H
#define VOLT_JSON_H

#include <stddef.h>

struct document {
    char *at;
    size_t left, length; // bytes that fit, and that were to be written so far
};

__attribute__((format(printf, 2, 3))) void add(struct document *to, const char *format, ...);
void add_string(struct document *to, const char *text);
void add_field(struct document *to, const char *name, const char *text); // text NULL: null

#endif
