// snprintf(3) for the conversions used here, %s %.*s %c %d %u %x %lu %04x: the C library's own, with its floating
// point, would be a fifth of the program.
#include <stdarg.h>
#include <string.h>

#include "volt.h"

struct output {
    char *to;
    size_t size, length; // length counts what had no room too
};

static void put(struct output *out, char character) {
    if (out->length + 1 < out->size) out->to[out->length] = character;
    out->length++;
}

static void put_text(struct output *out, const char *text, size_t limit) {
    for (size_t i = 0; i < limit && text[i]; i++) put(out, text[i]);
}

static void put_number(struct output *out, uint64_t value, unsigned base, unsigned width) {
    char digits[24];
    unsigned count = 0;
    do digits[count++] = "0123456789abcdef"[value % base];
    while (value /= base);
    for (; width > count; width--) put(out, '0');
    while (count) put(out, digits[--count]);
}

static void put_signed(struct output *out, int value) {
    if (value < 0) put(out, '-');
    put_number(out, value < 0 ? (uint64_t) - (int64_t)value : (uint64_t)value, 10, 0);
}

// One conversion behind its per cent sign; the character after it.
static const char *convert(struct output *out, const char *at, va_list *arguments) {
    size_t limit = SIZE_MAX;
    unsigned width = 0, longs = 0;
    if (strncmp(at, ".*", 2) == 0) {
        limit = (size_t)va_arg(*arguments, int);
        at += 2;
    }
    for (; *at >= '0' && *at <= '9'; at++) width = width * 10 + (unsigned)(*at - '0');
    for (; *at == 'l'; at++) longs++;
    switch (*at) {
    case 's': put_text(out, va_arg(*arguments, const char *), limit); break;
    case 'c': put(out, (char)va_arg(*arguments, int)); break;
    case 'd': put_signed(out, va_arg(*arguments, int)); break;
    case 'u':
    case 'x': {
        uint64_t value = longs ? va_arg(*arguments, unsigned long) : va_arg(*arguments, unsigned);
        put_number(out, value, *at == 'u' ? 10 : 16, width);
        break;
    }
    default: put(out, *at); break;
    }
    return at + 1;
}

// The length of the whole text; what has room is in `to`, always ended.
size_t format_list(char *to, size_t size, const char *format, va_list arguments) {
    struct output out = {.to = to, .size = size};
    va_list rest;
    va_copy(rest, arguments);
    while (*format) {
        if (*format != '%') put(&out, *format++);
        else format = convert(&out, format + 1, &rest);
    }
    va_end(rest);
    if (size) to[out.length < size ? out.length : size - 1] = '\0';
    return out.length;
}

size_t format_into(char *to, size_t size, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t length = format_list(to, size, format, arguments);
    va_end(arguments);
    return length;
}
