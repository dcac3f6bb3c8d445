// Whether the payload is started anew when it has ended (volt/model/steps.py, restart-by).
#ifndef VOLT_RESTART_H
#define VOLT_RESTART_H

#include "volt.h"

bool asks_to_end(const struct context *context, uint32_t number); // supervise.c
bool restart_again(struct context *context);
void restart_started(struct context *context);
void restart_unwanted(struct context *context);
void restart_message(const struct context *context, char *to, size_t size);

#endif
