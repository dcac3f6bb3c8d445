// Sending netlink messages, netlink(7): they come with the plan, and each that asks for an answer has to be confirmed.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"
#include "table.h"

#define LISTED_AT_ONCE (32u << 10) // bytes: what the kernel gives at once, netlink(7)
#define NUMBERED "message %u of the request"

// The message at `at` of the request, which it moves behind it; false where none is whole.
bool next_netlink(struct bytes request, size_t *at, struct netlink_header *header) {
    size_t left = request.length - *at;
    if (left < sizeof *header) return false;
    memcpy(header, request.start + *at, sizeof *header);
    if (header->length < sizeof *header || header->length > left || header->length % 4) return false;
    *at += header->length;
    return true;
}

static bool is_whole(struct bytes request) {
    struct netlink_header header;
    size_t at = 0;
    while (at < request.length)
        if (!next_netlink(request, &at, &header)) return false;
    return request.length > 0;
}

// The next answer of the kernel's own. It works through a request before it returns from sendto(2): what has not been
// answered by then never will be.
static int receive_answer(int netlink, struct netlink_answer *answer) {
    struct netlink_address from = {0};
    socklen_t size = sizeof from;
    // A refused message is quoted behind the answer; what does not fit here is cut off.
    ssize_t got = recvfrom(netlink, answer, sizeof *answer, MSG_DONTWAIT, (struct sockaddr *)&from, &size);
    if (got < 0) return -1;
    bool answers = got == sizeof *answer && from.port == 0 && answer->header.type == NETLINK_ERROR;
    if (!answers) errno = EPROTO;
    return answers ? 0 : -1;
}

// Every message that asks for it is answered, in order. A refusal may name one that does not: all of a batch.
static int check_answers(struct context *context, int netlink, struct bytes request, int tolerated) {
    struct netlink_header header;
    struct netlink_answer answer;
    for (size_t at = 0; at < request.length && next_netlink(request, &at, &header);) {
        if (!(header.flags & NETLINK_ACK)) continue;
        if (receive_answer(netlink, &answer) < 0) return explain(context, NUMBERED, header.number);
        if (answer.error && answer.error != -tolerated)
            return refuse(context, -answer.error, NUMBERED, answer.about.number);
        if (answer.about.number != header.number) return refuse(context, EPROTO, NUMBERED, header.number);
    }
    return 0;
}

int send_all(struct context *context, int netlink, struct bytes request) {
    const struct netlink_address kernel = {.family = AF_NETLINK};
    ssize_t sent = sendto(netlink, request.start, request.length, 0, (const struct sockaddr *)&kernel, sizeof kernel);
    return sent == (ssize_t)request.length ? 0 : explain(context, "the request");
}

int netlink_socket(struct context *context, unsigned protocol) {
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, (int)protocol);
    return netlink < 0 ? explain(context, "netlink protocol %u", protocol) : netlink;
}

// Each message of the request has to be confirmed, or refused with the errno `tolerated`: 0 for none.
int send_request(struct context *context, int netlink, struct bytes request, int tolerated) {
    if (!is_whole(request)) return refuse(context, EBADMSG, "the request is damaged");
    if (send_all(context, netlink, request) < 0) return -1;
    return check_answers(context, netlink, request, tolerated);
}

// By a socket of its own.
int send_once(struct context *context, unsigned protocol, struct bytes request, int tolerated) {
    int netlink = netlink_socket(context, protocol);
    int result = netlink < 0 ? -1 : send_request(context, netlink, request, tolerated);
    close_held(&netlink);
    return result;
}

// Those with `mark` in one answer; *ended when it was the last.
static int count_in(struct bytes answer, struct bytes mark, bool *ended) {
    struct netlink_header header;
    int count = 0;
    for (size_t at = 0, from = 0; at < answer.length && next_netlink(answer, &at, &header); from = at) {
        if (header.type == NETLINK_DONE || header.type == NETLINK_ERROR) *ended = true;
        else if (memmem(answer.start + from, at - from, mark.start, mark.length)) count++;
    }
    return count;
}

static int count_listed(struct context *context, int netlink, struct bytes request, struct bytes mark) {
    int count = 0;
    bool ended = false;
    if (send_all(context, netlink, request) < 0) return -1;
    uint8_t *answer = keep(LISTED_AT_ONCE);
    while (!ended) {
        ssize_t got = recv(netlink, answer, LISTED_AT_ONCE, MSG_DONTWAIT);
        if (got <= 0) break;
        count += count_in((struct bytes){answer, (size_t)got}, mark, &ended);
    }
    return ended ? count : explain(context, "the answer");
}

// How many messages with `mark` answer the requests to list something, each of which is one message; what cannot be
// listed is not there. One after the other: a socket lists one thing at a time.
int count_answers(struct context *context, int netlink, struct bytes requests, struct bytes mark) {
    struct netlink_header header;
    struct mark before = mark_memory();
    int count = 0;
    for (size_t at = 0, from = 0; at < requests.length && count >= 0; from = at) {
        if (!next_netlink(requests, &at, &header)) return refuse(context, EBADMSG, "the request is damaged");
        int found = count_listed(context, netlink, (struct bytes){requests.start + from, at - from}, mark);
        count = found < 0 ? -1 : count + found;
    }
    int error = errno;
    forget_since(before);
    errno = error;
    return count;
}

int do_send_netlink(struct context *context, const struct step_send_netlink *step) {
    int netlink = netlink_socket(context, step->protocol);
    int result = netlink < 0 ? -1 : send_request(context, netlink, step->request, 0);
    close_held(&netlink);
    return result;
}
