// Sending netlink messages, netlink(7): they come with the plan, and each that asks for an answer has to be confirmed.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kernel.h"
#include "volt.h"
#include "table.h"

#define NUMBERED "message %u of the request"

// The message at `at` of the request, which it moves behind it; false where none is whole.
static bool next_message(struct bytes request, size_t *at, struct netlink_header *header) {
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
        if (!next_message(request, &at, &header)) return false;
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
static int check_answers(struct context *context, int netlink, const struct step_send_netlink *step) {
    struct netlink_header header;
    struct netlink_answer answer;
    for (size_t at = 0; at < step->request.length && next_message(step->request, &at, &header);) {
        if (!(header.flags & NETLINK_ACK)) continue;
        if (receive_answer(netlink, &answer) < 0) return explain(context, NUMBERED, header.number);
        if (answer.error) return refuse(context, -answer.error, NUMBERED, answer.about.number);
        if (answer.about.number != header.number) return refuse(context, EPROTO, NUMBERED, header.number);
    }
    return 0;
}

static int send_request(struct context *context, int netlink, const struct step_send_netlink *step) {
    const struct netlink_address kernel = {.family = AF_NETLINK};
    ssize_t sent = sendto(netlink, step->request.start, step->request.length, 0, (const struct sockaddr *)&kernel,
                          sizeof kernel);
    if (sent != (ssize_t)step->request.length) return explain(context, "the request");
    return check_answers(context, netlink, step);
}

int do_send_netlink(struct context *context, const struct step_send_netlink *step) {
    if (!is_whole(step->request)) return refuse(context, EBADMSG, "the request is damaged");
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, (int)step->protocol);
    if (netlink < 0) return explain(context, "netlink protocol %u", step->protocol);
    int result = send_request(context, netlink, step);
    close_held(&netlink);
    return result;
}
