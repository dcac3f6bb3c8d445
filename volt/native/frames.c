// Sending and receiving frames: one message of a seqpacket socket each, little-endian.
#include "frames.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "read.h"

#define HEADER_LENGTH 12u // magic u32, version u16, type u16, length u32
#define FAILURE_HEAD 8u   // number u32, errno i32

static void put(uint8_t *to, uint32_t value, unsigned size) {
    for (unsigned i = 0; i < size; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static uint32_t get(const uint8_t *from, unsigned size) {
    uint32_t value = 0;
    for (unsigned i = 0; i < size; i++) value |= (uint32_t)from[i] << (8 * i);
    return value;
}

int frame_pair(int pair[2]) { return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair); }

static int send_with(int socket, struct iovec *message, int descriptor) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } ancillary = {0};
    struct msghdr envelope = {.msg_iov = message, .msg_iovlen = 1, .msg_control = &ancillary};
    envelope.msg_controllen = sizeof ancillary;
    ancillary.header.cmsg_level = SOL_SOCKET;
    ancillary.header.cmsg_type = SCM_RIGHTS;
    ancillary.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&ancillary.header), &descriptor, sizeof descriptor);
    return sendmsg(socket, &envelope, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int send_frame(int socket, enum frame_type type, const void *body, uint32_t length, int descriptor) {
    uint8_t bytes[HEADER_LENGTH + FRAME_LIMIT];
    if (length > FRAME_LIMIT) length = FRAME_LIMIT;
    put(bytes, FRAME_MAGIC, 4);
    put(bytes + 4, FRAME_VERSION, 2);
    put(bytes + 6, type, 2);
    put(bytes + 8, length, 4);
    if (length) memcpy(bytes + HEADER_LENGTH, body, length);
    struct iovec message = {bytes, HEADER_LENGTH + length};
    if (descriptor >= 0) return send_with(socket, &message, descriptor);
    // write(2), which every filter of system calls lets through: a payload may report from behind one.
    return write(socket, bytes, message.iov_len) == (ssize_t)message.iov_len ? 0 : -1;
}

int send_number(int socket, enum frame_type type, uint32_t number) {
    uint8_t body[4];
    put(body, number, 4);
    return send_frame(socket, type, body, sizeof body, -1);
}

int send_failure(int socket, const struct failure *failure) {
    uint8_t body[FRAME_LIMIT];
    size_t length = strlen(failure->text);
    if (length > FRAME_LIMIT - FAILURE_HEAD) length = FRAME_LIMIT - FAILURE_HEAD;
    put(body, failure->number, 4);
    put(body + 4, (uint32_t)failure->error, 4);
    memcpy(body + FAILURE_HEAD, failure->text, length);
    return send_frame(socket, FRAME_FAILED, body, (uint32_t)(FAILURE_HEAD + length), -1);
}

void close_descriptors(struct frame *frame) {
    close_held(&frame->descriptor);
    for (unsigned i = 0; i < FRAME_OTHERS; i++) close_held(&frame->others[i]);
}

static void take_sender(struct frame *frame, const struct cmsghdr *header) {
    struct ucred sender;
    memcpy(&sender, CMSG_DATA(header), sizeof sender);
    frame->sender = sender.pid;
}

// The descriptors that came along, in order; those for which there is no place are closed.
static void take_descriptors(struct frame *frame, struct msghdr *envelope) {
    unsigned taken = 0;
    frame->descriptor = -1;
    frame->sender = 0;
    for (unsigned i = 0; i < FRAME_OTHERS; i++) frame->others[i] = -1;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(envelope); header; header = CMSG_NXTHDR(envelope, header)) {
        if (header->cmsg_level != SOL_SOCKET) continue;
        if (header->cmsg_type == SCM_CREDENTIALS) take_sender(frame, header);
        if (header->cmsg_type != SCM_RIGHTS) continue;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof descriptor);
            if (taken > FRAME_OTHERS) close_held(&descriptor);
            else if (taken++ == 0) frame->descriptor = descriptor;
            else frame->others[taken - 2] = descriptor;
        }
    }
}

// These have one descriptor, and what came with it is wanted by nobody; EXECUTE has several; another frame has none.
static bool fitting(struct frame *frame) {
    if (frame->descriptor < 0 || frame->type == FRAME_EXECUTE) return true;
    for (unsigned i = 0; i < FRAME_OTHERS; i++) close_held(&frame->others[i]);
    return frame->type == FRAME_TERMINAL || frame->type == FRAME_SESSION || frame->type == FRAME_WATCH ||
           frame->type == FRAME_NETWORK;
}

int receive_frame(int socket, struct frame *frame) {
    uint8_t bytes[HEADER_LENGTH + FRAME_LIMIT];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(4 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
    } ancillary;
    struct iovec message = {bytes, sizeof bytes};
    struct msghdr envelope = {.msg_iov = &message, .msg_iovlen = 1, .msg_control = &ancillary};
    envelope.msg_controllen = sizeof ancillary;
    ssize_t got;
    // ECONNRESET: closed with our last frame unread. It is told once, and before what was sent to us ahead of that.
    do got = recvmsg(socket, &envelope, MSG_CMSG_CLOEXEC);
    while (got < 0 && (errno == EINTR || errno == ECONNRESET));
    if (got < 0) return -1;
    take_descriptors(frame, &envelope);
    if (got == 0) { // an empty message is no frame either; what came with it must not stay open
        close_descriptors(frame);
        return 0;
    }
    frame->type = got < (ssize_t)HEADER_LENGTH ? 0 : (uint16_t)get(bytes + 6, 2);
    frame->length = (uint32_t)got - HEADER_LENGTH;
    bool good = got >= (ssize_t)HEADER_LENGTH && get(bytes, 4) == FRAME_MAGIC && get(bytes + 4, 2) == FRAME_VERSION &&
                get(bytes + 8, 4) == frame->length && !(envelope.msg_flags & MSG_TRUNC);
    if (!good || !fitting(frame)) {
        close_descriptors(frame);
        errno = EPROTO;
        return -1;
    }
    memcpy(frame->body, bytes + HEADER_LENGTH, frame->length);
    return 1;
}

bool frame_number(const struct frame *frame, uint32_t *number) {
    if (frame->length != 4) return false;
    *number = get(frame->body, 4);
    return true;
}

bool frame_failure(const struct frame *frame, struct failure *failure) {
    if (frame->length < FAILURE_HEAD) return false;
    size_t length = frame->length - FAILURE_HEAD;
    if (length >= sizeof failure->text) length = sizeof failure->text - 1;
    failure->happened = true;
    failure->number = get(frame->body, 4);
    failure->error = (int)get(frame->body + 4, 4);
    memcpy(failure->text, frame->body + FAILURE_HEAD, length);
    failure->text[length] = '\0';
    return true;
}
