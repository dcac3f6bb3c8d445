// Published ports: the sockets that hold them as long as the run, and what nftables is told of them.
#ifndef VOLT_PORTS_H
#define VOLT_PORTS_H

#include <netinet/in.h>

#include "volt.h"

#define PORTS_MOST 512u // of one workload: with them a process has half of the descriptors that it usually may have

struct port {
    int socket;              // bound, and nobody listens
    bool datagrams, both;    // UDP; an IPv6 socket for addresses of both families
    uint16_t number, inside; // of the host; of the workload
    struct in6_addr address; // or, of IPv4, its first four bytes
    bool six;
};

struct ports {
    unsigned count;
    bool published, relays;
    struct in6_addr six;  // the workload's own address, for the relay of [::1]
    int arrivals;         // an epoll descriptor: somebody has come to [::1]; where there is a relay
    pid_t relay;          // 0 for none
    uint64_t relay_after; // milliseconds of CLOCK_MONOTONIC: before, none is started; 0 for at once
    struct bytes publish, remove; // messages with slots, until the payload has started
    struct port each[PORTS_MOST];
    struct bytes earlier; // requests; as long as those above
};

// ports.c
int publish_ports(struct context *context);
bool is_own_address(struct bytes address);
bool is_published(const struct context *context, struct bytes address, uint16_t number);
int mend_ports(struct context *context, const char *folder, uint32_t address);
int lock_whole(int file, short kind);
int retract_dead(struct context *context, int claim);

// connections.c
int forget_untranslated(struct context *context);

// holder.c
void name_holder(const char *folder, const struct port *port, char *to, size_t size);

#endif
