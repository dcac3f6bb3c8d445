// Forgetting connections: what connection tracking knows of an address is deleted before somebody else has it.
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel.h"
#include "ports.h"
#include "read.h"
#include "table.h"

#define COUNT "/proc/sys/net/netfilter/nf_conntrack_count" // of this network namespace
#define LISTED_AT_ONCE (32u << 10)                         // bytes: what the kernel gives at once, netlink(7)
#define TIME_LIMIT 10000 // milliseconds; a list of 262,144 buckets takes 10, and as many entries some hundred
#define ABOUT 4u         // bytes of struct nfgenmsg, before the attributes
#define LONGEST 512u     // bytes of a request to delete one
#define DELETE 0x102u    // NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE

// linux/netfilter/nfnetlink_conntrack.h: CTA_
enum { ORIGINAL = 1, REPLY = 2, ID = 12, ZONE = 18 };
enum { TUPLE_ADDRESSES = 1, TUPLE_PORTS = 2, SOURCE4 = 1, SOURCE6 = 3, DESTINATION_PORT = 3 };

// ── attributes

// The value of the first attribute of this type, without a start where there is none.
static struct bytes within(struct bytes attributes, unsigned type) {
    for (size_t at = 0; attributes.length - at >= 4;) {
        const uint8_t *head = attributes.start + at;
        size_t length = head[0] | (size_t)head[1] << 8;
        if (length < 4 || length > attributes.length - at) break;
        if ((head[2] | (unsigned)(head[3] & 0x3f) << 8) == type) return (struct bytes){head + 4, length - 4};
        length += -length & 3;
        if (length > attributes.length - at) break;
        at += length;
    }
    return (struct bytes){0};
}

static struct bytes attributes_of(struct bytes message) {
    const size_t before = sizeof(struct netlink_header) + ABOUT;
    if (message.length < before) return (struct bytes){0};
    return (struct bytes){message.start + before, message.length - before};
}

static struct bytes source(struct bytes attributes, unsigned tuple, unsigned kind) {
    return within(within(within(attributes, tuple), TUPLE_ADDRESSES), kind);
}

static bool are_same(struct bytes one, struct bytes other) {
    return one.length == other.length && memcmp(one.start, other.start, one.length) == 0;
}

// Whether it leads to a UDP port of ours, and began before that was published: it goes on as it did then.
static bool began_before(const struct context *context, struct bytes connection) {
    struct bytes first = within(connection, ORIGINAL), port = within(within(first, TUPLE_PORTS), DESTINATION_PORT);
    for (unsigned kind = SOURCE4; port.length == 2 && kind <= SOURCE6; kind += SOURCE6 - SOURCE4) {
        struct bytes to = within(within(first, TUPLE_ADDRESSES), kind + 1); // the destination
        if (to.length && are_same(to, source(connection, REPLY, kind)))
            return is_published(context, to, (uint16_t)(port.start[0] << 8 | port.start[1]));
    }
    return false;
}

// Whether a connection is one that was asked for. A kernel that does not filter gives all there are, and nobody else's
// may be deleted.
static bool is_asked_for(const struct context *context, struct bytes connection, struct bytes request) {
    if (within(within(request, ORIGINAL), TUPLE_PORTS).length) return began_before(context, connection);
    for (unsigned tuple = ORIGINAL; tuple <= REPLY; tuple++)
        for (unsigned kind = SOURCE4; kind <= SOURCE6; kind += SOURCE6 - SOURCE4) {
            struct bytes wanted = source(request, tuple, kind), found = source(connection, tuple, kind);
            if (!wanted.length) continue;
            return are_same(found, wanted);
        }
    return false;
}

// ── deleting

// Of what lies in a message, with its head and what fills it up.
static size_t add(uint8_t *to, size_t at, struct bytes attribute) {
    size_t length = 4 + attribute.length + (-attribute.length & 3);
    if (!attribute.start || at > LONGEST || length > LONGEST - at) return at;
    memcpy(to + at, attribute.start - 4, length);
    return at + length;
}

// By its first tuple and its id: another connection may have come with the same tuple.
static int delete(struct context *context, int netlink, struct bytes connection) {
    uint8_t request[LONGEST] = {0};
    struct bytes attributes = attributes_of(connection);
    size_t length = sizeof(struct netlink_header) + ABOUT;
    request[sizeof(struct netlink_header)] = connection.start[sizeof(struct netlink_header)]; // its family
    length = add(request, length, within(attributes, ORIGINAL));
    length = add(request, length, within(attributes, ID));
    length = add(request, length, within(attributes, ZONE));
    struct netlink_header header = {(uint32_t)length, DELETE, NETLINK_REQUEST | NETLINK_ACK, 1, 0};
    memcpy(request, &header, sizeof header);
    return send_request(context, netlink, (struct bytes){request, length}, ENOENT); // it may have ended by itself
}

// What one answer lists; *ended when it was the last.
static int delete_listed(struct context *context, int netlink, struct bytes answer, struct bytes request, bool *ended) {
    struct netlink_header header;
    int result = 0;
    for (size_t at = 0, from = 0; result == 0 && next_netlink(answer, &at, &header); from = at) {
        struct bytes message = {answer.start + from, header.length};
        int32_t error = 0;
        if (header.type == NETLINK_DONE || header.type == NETLINK_ERROR) {
            *ended = true;
            if (header.length >= sizeof header + sizeof error) memcpy(&error, message.start + sizeof header, sizeof error);
            if (error < 0) result = refuse(context, -error, "what is listed");
        } else if (is_asked_for(context, attributes_of(message), attributes_of(request))) {
            result = delete(context, netlink, message);
        }
    }
    return result;
}

static int delete_all(struct context *context, int listing, int netlink, struct bytes request, uint64_t by) {
    struct mark before = mark_memory();
    uint8_t *answer = keep(LISTED_AT_ONCE);
    bool ended = false;
    int result = send_all(context, listing, request);
    while (result == 0 && !ended) {
        ssize_t got = recv(listing, answer, LISTED_AT_ONCE, MSG_DONTWAIT);
        if (got <= 0) result = explain(context, "what is listed");
        else result = delete_listed(context, netlink, (struct bytes){answer, (size_t)got}, request, &ended);
        if (result == 0 && !ended && now() >= by) result = refuse(context, ETIMEDOUT, "there are too many");
    }
    int error = errno;
    forget_since(before);
    errno = error;
    return result;
}

// ── which there may be

// False where connection tracking has nothing at all: to list that would take as long.
static bool any_tracked(void) {
    char digit = '0';
    int file = open(COUNT, O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? 0 : read(file, &digit, 1);
    close_held(&file);
    return got == 1 && digit != '0';
}

// A bit for each request after the first whose thing is there. Without the first one's nothing has been noted: somebody
// has taken the tables away, and all may be there.
static int find_noted(struct context *context, int netlink, struct bytes request, unsigned *noted) {
    struct netlink_header asked;
    if (send_all(context, netlink, request) < 0) return -1;
    bool whole = false;
    *noted = 0;
    unsigned number = 0;
    for (size_t at = 0; next_netlink(request, &at, &asked); number++) {
        uint8_t answer[LONGEST];
        struct netlink_header header;
        // A description is cut off: what it is about is known.
        ssize_t got = recv(netlink, answer, sizeof answer, MSG_DONTWAIT);
        if (got < (ssize_t)sizeof header) return got < 0 ? explain(context, "the notes") : refuse(context, EPROTO, "the notes");
        memcpy(&header, answer, sizeof header);
        bool there = header.type != NETLINK_ERROR;
        if (number == 0) whole = there;
        else if (there) *noted |= 1u << (number - 1);
    }
    if (!whole || (context->link.mended && !context->undoing)) *noted = ~0u;
    return 0;
}

// The requests of `lists` are in the order of the notes.
static int delete_noted(struct context *context, int netlink, struct bytes lists, unsigned noted) {
    uint64_t by = now() + TIME_LIMIT;
    int listing = netlink_socket(context, NETFILTER), result = listing < 0 ? -1 : 0;
    struct netlink_header header;
    unsigned number = 0;
    for (size_t at = 0, from = 0; result == 0 && next_netlink(lists, &at, &header); from = at, number++)
        if (noted >> number & 1)
            result = delete_all(context, listing, netlink, (struct bytes){lists.start + from, header.length}, by);
    close_held(&listing);
    return result;
}

// Where the host has been told to forget it, what was translated already waits until it knows who has the address: up to
// 200 KiB of it, arp(7). The bridge may be another by now, or none.
static int forget_neighbour(struct context *context, const struct step_forget_connections *step) {
    uint32_t bridge = if_nametoindex(step->bridge);
    if (!bridge) return 0;
    context->slots.bridge = bridge;
    return send_once(context, ROUTE, fill_messages(context, step->waiting), ENOENT);
}

// Before the connections go the notes: what begins from here on is noted anew. With them the link is silenced: what a dead
// workload's network namespace still sends would be tracked again, and the link itself takes 15 ms to go. Of tables that
// are gone nothing has to be taken out.
static int forget_noted(struct context *context, int netlink, const struct step_forget_connections *step,
                        unsigned noted) {
    if (send_request(context, netlink, fill_messages(context, step->forget), ENOENT) < 0) return -1;
    int result = any_tracked() ? delete_noted(context, netlink, fill_messages(context, step->lists), noted) : 0;
    if (result == 0) result = forget_neighbour(context, step);
    int error = errno;
    if (result < 0) (void)send_once(context, NETFILTER, fill_messages(context, step->again), 0);
    errno = error;
    return result;
}

static int forget_connections(struct context *context, const struct step_forget_connections *step) {
    unsigned noted = 0;
    int netlink = netlink_socket(context, NETFILTER);
    int result = netlink < 0 ? -1 : find_noted(context, netlink, fill_messages(context, step->ask), &noted);
    if (result == 0 && noted) result = forget_noted(context, netlink, step, noted);
    else if (result == 0 && context->undoing) result = forget_neighbour(context, step);
    close_held(&netlink);
    return result;
}

// What a crash has left: of all other workloads it was forgotten when they ended.
int do_forget_connections(struct context *context, const struct step_forget_connections *step) {
    return forget_connections(context, step);
}

// Every process of the workload is gone, and the address still claimed. What fails is noted for who claims it next.
int undo_forget_connections(struct context *context, const struct step_forget_connections *step, struct deed *deed,
                            enum ending ending) {
    (void)deed, (void)ending;
    return forget_connections(context, step);
}

// Once UDP ports are published: who has been sending to one all the time would never get through.
int forget_untranslated(struct context *context) {
    if (!context->ports || !context->ports->earlier.length || !any_tracked()) return 0;
    int netlink = netlink_socket(context, NETFILTER);
    int result = netlink < 0 ? -1 : delete_noted(context, netlink, context->ports->earlier, ~0u);
    close_held(&netlink);
    return result;
}
