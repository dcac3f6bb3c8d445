// Looking for a text in streams, byte by byte and without keeping any: Knuth, Morris and Pratt's way.
#include "search.h"

#include <string.h>

// False for what cannot be looked for: nothing, a text of several lines, one that is too long.
bool search_begin(struct search *search, const char *text) {
    size_t length = strlen(text);
    if (length == 0 || length > SEARCH_LONGEST || strchr(text, '\n')) return false;
    *search = (struct search){.length = length};
    memcpy(search->text, text, length);
    for (size_t i = 1, same = 0; i < length; i++) {
        while (same && text[i] != text[same]) same = search->shorter[same - 1];
        if (text[i] == text[same]) same++;
        search->shorter[i] = (uint8_t)same;
    }
    return true;
}

// No text has a line's end in it: so none is found across two lines.
void search_in(struct search *search, int stream, const char *at, size_t left) {
    size_t same = search->matched[stream];
    for (; left && !search->found; at++, left--) {
        while (same && *at != search->text[same]) same = search->shorter[same - 1];
        if (*at == search->text[same]) same++;
        search->found = same == search->length;
    }
    search->matched[stream] = (uint8_t)same;
}
