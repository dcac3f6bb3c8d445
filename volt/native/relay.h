// The relay of [::1]: what the supervisor starts it with (loopback.c), and what it is told (relay.c).
#ifndef VOLT_RELAY_H
#define VOLT_RELAY_H

#include <poll.h>

#include "ports.h"

struct relayed {
    const struct ports *ports;
    struct in6_addr six; // the workload's own addresses
    struct in_addr four;
    uid_t user;          // nothing on this machine is his
    pid_t supervisor;
};

bool is_relayed(const struct port *port);
_Noreturn void relay_main(const struct relayed *relayed);

int relay_begin(struct context *context);
void relay_watch(const struct context *context, struct pollfd *one);
void relay_take(struct context *context, const struct pollfd *one);
void relay_reap(struct context *context);
uint64_t relay_due(const struct context *context);
int relay_end(struct context *context);

#endif
