// The supervisor's side of the payload's terminal: two copies, one each way, neither of which ever blocks.
#ifndef VOLT_TERMINAL_H
#define VOLT_TERMINAL_H

#include <poll.h>

#include "volt.h"

#define FLOW_SIZE 16384

struct flow {
    int from, to; // -1: that end is gone
    size_t at, filled;
    char *data; // FLOW_SIZE bytes
};

struct terminal {
    int master, outer;       // the caller's terminal, for its size
    struct flow input, output;
    bool console;            // of an init: lines end as files' do
};

enum { TERMINAL_INPUT, TERMINAL_OUTPUT, TERMINAL_MASTER, TERMINAL_POLLS };

void raise_now(int number);
void terminal_init(struct terminal *terminal);
int terminal_begin(struct terminal *terminal, struct context *context, int master);
void terminal_resize(struct terminal *terminal);
void terminal_watch(struct terminal *terminal, struct pollfd polls[TERMINAL_POLLS]);
void terminal_copy(struct terminal *terminal, const struct pollfd polls[TERMINAL_POLLS]);
size_t as_lines(char *data, size_t length);
bool terminal_drained(const struct terminal *terminal);

#endif
