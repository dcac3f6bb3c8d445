// A piece of a line, looked for in what streams past in pieces of any length (volt/model/steps.py, await-line).
#ifndef VOLT_SEARCH_H
#define VOLT_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEARCH_LONGEST 255u // bytes of what is looked for
#define SEARCH_STREAMS 2

struct search {
    char text[SEARCH_LONGEST + 1];
    size_t length;
    uint8_t shorter[SEARCH_LONGEST]; // for each beginning of the text: its longest end that is a beginning too
    uint8_t matched[SEARCH_STREAMS]; // bytes of the text that each stream has just had
    bool found;
};

bool search_begin(struct search *search, const char *text);
void search_in(struct search *search, int stream, const char *at, size_t left);

#endif
