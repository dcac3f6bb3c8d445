// Publishing ports: each is held by a socket from before the start to the end, and elements of nftables maps lead to the
// workload. What has been published stands in the claim of its address, for whoever has to publish it again or take it back.
#include "ports.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "read.h"
#include "relay.h"
#include "table.h"

#define BATCH_END 0x11        // NFNL_MSG_BATCH_END
#define NEW_ELEMENT 0xa0c     // NFT_MSG_NEWSETELEM of NFNL_SUBSYS_NFTABLES
#define ATTEMPTS 3            // dead runs' elements may be told again by who mends the rules
#define CLAIM_LIMIT (1u << 20) // bytes
#define LOCK_WAITS 500        // times 2 ms

static struct ports all; // large, and not written to without ports

// ── sockets

// `PROTOCOL ADDRESS PORT INSIDE`
static bool parse_port(const char *text, struct port *port) {
    char *rest = format_text("%s", text);
    const char *protocol = strsep(&rest, " "), *address = strsep(&rest, " "), *number = strsep(&rest, " ");
    *port = (struct port){.socket = -1};
    if (!number || !rest) return false;
    port->datagrams = strcmp(protocol, "udp") == 0;
    port->both = strcmp(address, "*") == 0;
    port->six = port->both || strchr(address, ':');
    port->number = (uint16_t)strtoul(number, NULL, 10);
    port->inside = (uint16_t)strtoul(rest, NULL, 10);
    return port->both || inet_pton(port->six ? AF_INET6 : AF_INET, address, &port->address) == 1;
}

static int bind_port(const struct port *port) {
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port->number)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = four.sin_port, .sin6_addr = port->address};
    memcpy(&four.sin_addr, &port->address, sizeof four.sin_addr);
    return port->six ? bind(port->socket, (const struct sockaddr *)&six, sizeof six)
                     : bind(port->socket, (const struct sockaddr *)&four, sizeof four);
}

static int set(int socket, int level, int option, int value) {
    return setsockopt(socket, level, option, &value, sizeof value);
}

// Connections that have ended keep a port for a minute, from a socket that does not share it. One that does gets it, if
// nobody listens there; then it shares it no longer, socket(7), and does not listen either.
static int bind_beside_ended(const struct port *port) {
    if (set(port->socket, SOL_SOCKET, SO_REUSEADDR, 1) < 0 || bind_port(port) < 0) return -1;
    if (listen(port->socket, 0) < 0 || set(port->socket, SOL_SOCKET, SO_REUSEADDR, 0) < 0) return -1;
    return shutdown(port->socket, SHUT_RD);
}

static int open_port(struct port *port) {
    struct sockaddr_in6 bound = {0}; // where an IPv4 socket's has the same number
    socklen_t size = sizeof bound;
    int type = (port->datagrams ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC;
    port->socket = socket(port->six ? AF_INET6 : AF_INET, type, 0);
    if (port->socket < 0 || (port->six && set(port->socket, IPPROTO_IPV6, IPV6_V6ONLY, !port->both) < 0)) return -1;
    if (bind_port(port) < 0 && (errno != EADDRINUSE || port->datagrams || bind_beside_ended(port) < 0)) return -1;
    if (port->number) return 0;
    if (getsockname(port->socket, (struct sockaddr *)&bound, &size) < 0) return -1;
    port->number = ntohs(bound.sin6_port);
    if (port->datagrams) return 0;
    // A number that was not asked for is let go by a socket that ceases to listen: here by another one, beside it.
    struct port asked = *port;
    if (set(port->socket, SOL_SOCKET, SO_REUSEADDR, 1) < 0) return -1;
    int result = open_port(&asked);
    close_held(&port->socket);
    port->socket = asked.socket;
    return result;
}

static int refuse_port(struct context *context, const char *folder, const char *text, const struct port *port) {
    char holder[512], *rest = format_text("%s", text);
    int error = errno;
    const char *protocol = strsep(&rest, " "), *address = strsep(&rest, " ");
    const char *where = port->both ? "" : format_text(" of %s", address);
    if (error != EADDRINUSE) return refuse(context, error, "port %u/%s%s", port->number, protocol, where);
    name_holder(folder, port, holder, sizeof holder);
    return refuse(context, 0, "port %u/%s%s is taken: %s", port->number, protocol, where, holder);
}

// ── what nftables is told

// The first batch of `from`, which it takes away; an empty one where none is whole.
static struct bytes next_batch(struct bytes *from) {
    struct netlink_header header;
    size_t at = 0;
    while (next_netlink(*from, &at, &header))
        if (header.type == BATCH_END) {
            struct bytes batch = {from->start, at};
            *from = (struct bytes){from->start + at, from->length - at};
            return batch;
        }
    return (struct bytes){0};
}

// Without its messages of this type.
static struct bytes without(struct bytes batch, unsigned type) {
    uint8_t *left = keep(batch.length);
    struct netlink_header header;
    size_t length = 0;
    for (size_t at = 0, from = 0; next_netlink(batch, &at, &header); from = at) {
        if (header.type == type) continue;
        memcpy(left + length, batch.start + from, at - from);
        length += at - from;
    }
    return (struct bytes){left, length};
}

// Each by itself, which costs the kernel a while: after one that takes something out, the next waits until no packet looks
// at that any more. What it is about may be gone, or another's by now: then it changes nothing.
static int send_batches(struct context *context, struct bytes batches, unsigned left_out) {
    int result = 0;
    for (struct bytes batch; result == 0 && (batch = next_batch(&batches)).length;) {
        struct mark before = mark_memory();
        result = send_once(context, NETFILTER, without(batch, left_out), ENOENT);
        if (result < 0 && errno == EEXIST) result = 0;
        forget_since(before);
    }
    return result;
}

// All in one; where that fails since one of them is another's by now, each.
static int take_back(struct context *context, struct bytes batches) {
    struct bytes whole = next_batch(&batches);
    if (!whole.length || send_once(context, NETFILTER, whole, ENOENT) == 0) return 0;
    return errno == EEXIST ? send_batches(context, batches, 0) : -1;
}

// Whether this machine has the address, of either family: it is checked by none but itself. None is always there.
bool is_own_address(struct bytes address) {
    if (!address.length) return true;
    struct port probe = {.six = address.length == sizeof probe.address};
    if (!probe.six && address.length != sizeof(struct in_addr)) return false;
    memcpy(&probe.address, address.start, address.length);
    probe.socket = socket(probe.six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool own = probe.socket >= 0 && bind_port(&probe) == 0;
    close_held(&probe.socket);
    return own;
}

// Whether this UDP port of the address is, which has to be this machine's.
bool is_published(const struct context *context, struct bytes address, uint16_t number) {
    const struct ports *ports = context->ports;
    for (unsigned i = 0; ports && i < ports->count; i++) {
        const struct port *port = &ports->each[i];
        if (!port->datagrams || port->number != number) continue;
        bool every = port->both || IN6_IS_ADDR_UNSPECIFIED(&port->address);
        bool family = port->both || (port->six ? sizeof port->address : 4) == address.length;
        if (family && (every || memcmp(&port->address, address.start, address.length) == 0)) return is_own_address(address);
    }
    return false;
}

// Once the workload has its link. We hold the ports: whatever else leads from them is a dead run's.
int publish_ports(struct context *context) {
    struct ports *ports = context->ports;
    if (!ports) return 0;
    struct bytes publication = fill_messages(context, ports->publish), each = fill_messages(context, ports->remove);
    int result = -1;
    next_batch(&each); // what takes back all of it at once
    ports->published = true;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        result = send_once(context, NETFILTER, publication, 0);
        if (result == 0 || errno != EEXIST || send_batches(context, each, NEW_ELEMENT) < 0) break;
    }
    return result < 0 ? -1 : relay_begin(context);
}

// ── the claim, which says what is published at its address

// Of another kind than the lock that a claim's holder has, fcntl_locking(2). It goes with the descriptor.
int lock_whole(int file, short kind) {
    struct flock whole = {.l_type = kind, .l_whence = SEEK_SET};
    for (int waits = 0; waits < LOCK_WAITS; waits++) {
        if (fcntl(file, F_OFD_SETLK, &whole) == 0) return 0;
        if (errno != EAGAIN && errno != EACCES) return -1;
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    errno = ETIMEDOUT;
    return -1;
}

// What stands behind the claim's second line; nothing where there is none.
static struct bytes publication_of(int claim) {
    struct stat status;
    if (fstat(claim, &status) < 0 || status.st_nlink == 0 || status.st_size > CLAIM_LIMIT) return (struct bytes){0};
    uint8_t *content = keep((size_t)status.st_size + 1), *at = content;
    ssize_t length = read_from_start(claim, content, (size_t)status.st_size);
    for (int line = 0; at && line < 2; line++) {
        at = length > 0 ? memchr(at, '\n', (size_t)(content + length - at)) : NULL;
        if (at) at++;
    }
    return at ? (struct bytes){at, (size_t)(content + length - at)} : (struct bytes){0};
}

// Its holder is dead, and whoever asks has its lock: nothing may lead to the address when it becomes another's.
int retract_dead(struct context *context, int claim) {
    struct mark before = mark_memory();
    int result = lock_whole(claim, F_WRLCK); // among those who publish or take back what it says
    struct bytes batches = result < 0 ? (struct bytes){0} : publication_of(claim);
    next_batch(&batches);
    if (result == 0) result = take_back(context, batches);
    int error = errno;
    forget_since(before);
    errno = error;
    return result;
}

// What the workload with the address had published, once more. Its claim may be gone by now, or be being taken back.
int mend_ports(struct context *context, const char *folder, uint32_t address) {
    struct mark before = mark_memory();
    struct flock reading = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    char *path = format_text("%s/%u.%u.%u.%u", folder, address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
    int claim = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), result = 0;
    if (claim >= 0 && fcntl(claim, F_OFD_SETLK, &reading) == 0) {
        struct bytes batches = publication_of(claim), first = next_batch(&batches);
        if (first.length) result = send_once(context, NETFILTER, first, 0);
        if (result < 0 && errno == EEXIST) result = 0; // a dead one's, whose port another has
        if (first.length && result == 0) result = mend_loopback(context);
    }
    close_held(&claim);
    forget_since(before);
    return result;
}

// ── steps

static int write_claim(struct context *context, struct bytes part) {
    int result = write_all(context->address_claim, part.start, part.length);
    return result < 0 ? explain(context, "the claim of the address") : 0;
}

// Its second line: who has which ports, for holder.c.
static int tell_claim(struct context *context, const struct step_claim_ports *step) {
    size_t size = strlen(step->label) + 64, length;
    for (unsigned i = 0; i < all.count; i++) size += strlen(step->sockets.items[i]) + 8;
    char *line = keep(size);
    length = format_into(line, size, "{\"name\":\"%s\",\"sockets\":[", step->label);
    for (unsigned i = 0; i < all.count; i++) {
        const char *words = step->sockets.items[i], *behind = strrchr(words, ' ');
        size_t front = strcspn(words, " ") + 1; // protocol, address
        front += strcspn(words + front, " ");
        length += format_into(line + length, size - length, "%s\"%.*s %u%s\"", i ? "," : "", (int)front, words,
                              all.each[i].number, behind);
    }
    length += format_into(line + length, size - length, "]}\n");
    return write_claim(context, (struct bytes){(const uint8_t *)line, length});
}

int do_claim_ports(struct context *context, const struct step_claim_ports *step) {
    context->ports = &all;
    context->deed->made = true;
    for (size_t i = 0; i < step->sockets.count; i++) {
        struct port *port = &all.each[i];
        if (i == PORTS_MOST || !parse_port(step->sockets.items[i], port))
            return refuse(context, EINVAL, "socket %u", (unsigned)i);
        all.count++;
        if (open_port(port) < 0) return refuse_port(context, step->folder, step->sockets.items[i], port);
    }
    return tell_claim(context, step);
}

// Before the run is told to be over: who launches the same workload then finds its ports free.
int undo_claim_ports(struct context *context, const struct step_claim_ports *step, struct deed *deed,
                     enum ending ending) {
    (void)step, (void)deed, (void)ending;
    for (unsigned i = 0; i < context->ports->count; i++) close_held(&context->ports->each[i].socket);
    context->ports->count = 0;
    return 0;
}

int do_prepare_ports(struct context *context, const struct step_prepare_ports *step) {
    // The claim says it already where it is done again, and may be followed again.
    if (context->again && lock_whole(context->address_claim, F_UNLCK) < 0) return -1;
    if (!context->again && write_claim(context, fill_messages(context, step->publish)) < 0) return -1;
    if (!context->again && write_claim(context, fill_messages(context, step->remove)) < 0) return -1;
    context->ports->publish = step->publish;
    context->ports->remove = step->remove;
    context->ports->earlier = step->earlier;
    return 0;
}

// The lock goes with the claim: nobody publishes again what it says.
int undo_prepare_ports(struct context *context, const struct step_prepare_ports *step, struct deed *deed,
                       enum ending ending) {
    (void)deed, (void)ending;
    if (!context->ports->published) return 0;
    int locked = lock_whole(context->address_claim, F_WRLCK);
    int result = take_back(context, fill_messages(context, step->remove));
    context->ports->published = result < 0;
    return locked < 0 ? -1 : result;
}
