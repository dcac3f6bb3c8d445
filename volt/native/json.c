// JSON, written piece by piece: strings that come from anywhere, and what stands between them.
#include "json.h"

#include <stdarg.h>
#include <string.h>

#include "volt.h"

void add(struct document *to, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t length = format_list(to->at, to->left, format, arguments);
    va_end(arguments);
    size_t used = length < to->left ? length : to->left;
    to->at += used;
    to->left -= used;
    to->length += used;
}

// A JSON string; what is no UTF-8 becomes U+FFFD.
void add_string(struct document *to, const char *text) {
    size_t left = strlen(text);
    add(to, "\"");
    for (size_t length; left; text += length, left -= length) {
        unsigned char byte = (unsigned char)*text;
        length = utf8_sequence(text, left);
        if (length == 0) add(to, "\\ufffd");
        else if (byte < 0x20 || byte == 0x7f) add(to, "\\u%04x", byte);
        else if (byte == '"' || byte == '\\') add(to, "\\%c", byte);
        else add(to, "%.*s", (int)length, text);
        if (length == 0) length = 1;
    }
    add(to, "\"");
}

void add_field(struct document *to, const char *name, const char *text) {
    add(to, ", \"%s\": ", name);
    if (text) add_string(to, text);
    else add(to, "null");
}
