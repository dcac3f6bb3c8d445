// Frames: what is sent is what is received; what is no frame ends the run and leaves no descriptor open.
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "frames.h"

#define HEADER 12

static int pair[2];
static struct frame frame;

static void begin(void) {
    CHECK(frame_pair(pair) == 0);
    memset(&frame, '~', sizeof frame);
}

// The same before and after means that none was left open.
static int open_descriptors(void) {
    DIR *entries = opendir("/proc/self/fd");
    int count = 0;
    CHECK(entries);
    while (readdir(entries)) count++;
    closedir(entries);
    return count;
}

static void send_bytes(const void *bytes, size_t length, const int *descriptors, size_t count) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(16 * sizeof(int))];
    } ancillary = {0};
    struct iovec message = {(void *)bytes, length};
    struct msghdr envelope = {.msg_iov = &message, .msg_iovlen = 1};
    if (count) {
        envelope.msg_control = &ancillary;
        envelope.msg_controllen = (socklen_t)CMSG_SPACE(count * sizeof(int));
        ancillary.header.cmsg_level = SOL_SOCKET;
        ancillary.header.cmsg_type = SCM_RIGHTS;
        ancillary.header.cmsg_len = (socklen_t)CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(&ancillary.header), descriptors, count * sizeof(int));
    }
    CHECK(sendmsg(pair[0], &envelope, 0) == (ssize_t)length);
}

// A frame without a body, for a test to spoil.
static const uint8_t good[HEADER] = {'V', 'O', 'L', 'T', FRAME_VERSION, 0, FRAME_STARTED, 0, 0, 0, 0, 0};

TEST(a_frame_arrives_as_it_was_sent) {
    begin();
    CHECK(send_frame(pair[0], FRAME_EXITED, "body", 4, -1) == 0);
    CHECK(receive_frame(pair[1], &frame) == 1);
    CHECK(frame.type == FRAME_EXITED);
    CHECK(frame.length == 4);
    CHECK(memcmp(frame.body, "body", 4) == 0);
    CHECK(frame.descriptor == -1);
}

TEST(who_has_sent_a_frame_is_known_where_the_socket_tells_it) {
    const int yes = 1, descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
    begin();
    CHECK(send_frame(pair[0], FRAME_STARTED, NULL, 0, -1) == 0);
    CHECK(receive_frame(pair[1], &frame) == 1);
    CHECK(frame.sender == 0);
    CHECK(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) == 0);
    CHECK(send_frame(pair[0], FRAME_TERMINAL, NULL, 0, descriptor) == 0);
    CHECK(receive_frame(pair[1], &frame) == 1);
    CHECK(frame.sender == getpid());
    CHECK(frame.descriptor >= 0);
    close_descriptors(&frame);
    close(descriptor);
}

TEST(a_frame_is_written_as_the_protocol_says) {
    uint8_t bytes[64];
    begin();
    CHECK(send_frame(pair[0], FRAME_STARTED, NULL, 0, -1) == 0);
    CHECK(read(pair[1], bytes, sizeof bytes) == HEADER);
    CHECK(memcmp(bytes, good, HEADER) == 0);
}

TEST(a_frame_may_be_as_long_as_the_limit) {
    static uint8_t body[FRAME_LIMIT + 1];
    body[FRAME_LIMIT - 1] = 7;
    begin();
    CHECK(send_frame(pair[0], FRAME_FAILED, body, FRAME_LIMIT + 1, -1) == 0); // cut by the sender
    CHECK(receive_frame(pair[1], &frame) == 1);
    CHECK(frame.length == FRAME_LIMIT);
    CHECK(frame.body[FRAME_LIMIT - 1] == 7);
}

TEST(a_number_travels) {
    uint32_t number = 0;
    begin();
    CHECK(send_number(pair[0], FRAME_SIGNAL, 0xfedcba98) == 0);
    CHECK(receive_frame(pair[1], &frame) == 1);
    CHECK(frame_number(&frame, &number));
    CHECK(number == 0xfedcba98);
    frame.length = 3;
    CHECK(!frame_number(&frame, &number));
    frame.length = 5;
    CHECK(!frame_number(&frame, &number));
}

TEST(a_failure_travels) {
    struct failure sent = {.happened = true, .number = 12, .error = -EACCES, .text = "gr\xc3\xbc\xc3\x9f"}, got;
    begin();
    CHECK(send_failure(pair[0], &sent) == 0);
    CHECK(receive_frame(pair[1], &frame) == 1);
    CHECK(frame_failure(&frame, &got));
    CHECK(got.happened);
    CHECK(got.number == 12);
    CHECK(got.error == -EACCES);
    CHECK_TEXT(got.text, sent.text);
}

TEST(a_failure_as_long_as_can_be_is_cut_to_a_frame) {
    static struct failure sent, got;
    memset(sent.text, 'x', sizeof sent.text - 1);
    begin();
    CHECK(send_failure(pair[0], &sent) == 0);
    CHECK(receive_frame(pair[1], &frame) == 1);
    CHECK(frame_failure(&frame, &got));
    CHECK(strlen(got.text) == FRAME_LIMIT - 8);
}

TEST(a_failure_cut_short_is_none) {
    struct failure got;
    begin();
    for (frame.length = 0; frame.length < 8; frame.length++) CHECK(!frame_failure(&frame, &got));
    CHECK(frame_failure(&frame, &got));
    CHECK_TEXT(got.text, "");
}

TEST(a_descriptor_travels_with_the_terminal) {
    struct stat sent, got;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    begin();
    CHECK(send_frame(pair[0], FRAME_TERMINAL, NULL, 0, null) == 0);
    CHECK(receive_frame(pair[1], &frame) == 1);
    CHECK(frame.descriptor >= 0);
    CHECK(frame.descriptor != null);
    CHECK(fcntl(frame.descriptor, F_GETFD) == FD_CLOEXEC);
    CHECK(fstat(null, &sent) == 0 && fstat(frame.descriptor, &got) == 0);
    CHECK(sent.st_ino == got.st_ino && sent.st_dev == got.st_dev);
}

TEST(a_descriptor_with_another_frame_ends_the_run) {
    begin();
    int before = open_descriptors();
    CHECK(send_frame(pair[0], FRAME_STARTED, NULL, 0, 0) == 0);
    errno = 0;
    CHECK(receive_frame(pair[1], &frame) == -1);
    CHECK(errno == EPROTO);
    CHECK(open_descriptors() == before);
}

static void check_many(size_t count) {
    static const int many[16] = {0};
    uint8_t bytes[HEADER];
    memcpy(bytes, good, HEADER);
    bytes[6] = FRAME_TERMINAL;
    begin();
    int before = open_descriptors();
    send_bytes(bytes, HEADER, many, count);
    CHECK(receive_frame(pair[1], &frame) == 1);
    CHECK(frame.descriptor >= 0);
    CHECK(close(frame.descriptor) == 0);
    CHECK(open_descriptors() == before);
    close(pair[0]);
    close(pair[1]);
}

TEST(of_many_descriptors_one_is_taken_and_none_is_left) {
    for (size_t count = 1; count <= 4; count++) check_many(count);
}

TEST(descriptors_that_have_no_room_are_not_left_open) {
    for (size_t count = 5; count <= 16; count++) check_many(count);
}

TEST(an_empty_message_is_no_frame_and_leaves_nothing_open) {
    static const int one[] = {0};
    begin();
    int before = open_descriptors();
    send_bytes("", 0, one, 1);
    CHECK(receive_frame(pair[1], &frame) <= 0);
    CHECK(open_descriptors() == before);
}

TEST(every_byte_of_the_head_but_the_type_has_to_fit) {
    for (size_t i = 0; i < HEADER; i++) {
        uint8_t bytes[HEADER];
        memcpy(bytes, good, HEADER);
        bytes[i] ^= 0x40;
        begin();
        send_bytes(bytes, HEADER, NULL, 0);
        CHECK(receive_frame(pair[1], &frame) == (i == 6 || i == 7 ? 1 : -1));
        close(pair[0]);
        close(pair[1]);
    }
}

TEST(a_frame_cut_short_ends_the_run) {
    for (size_t length = 1; length < HEADER; length++) {
        begin();
        send_bytes(good, length, NULL, 0);
        errno = 0;
        CHECK(receive_frame(pair[1], &frame) == -1);
        CHECK(errno == EPROTO);
        close(pair[0]);
        close(pair[1]);
    }
}

TEST(a_message_longer_than_any_frame_ends_the_run) {
    static uint8_t bytes[HEADER + FRAME_LIMIT + 1];
    memcpy(bytes, good, HEADER);
    bytes[8] = (uint8_t)(FRAME_LIMIT & 0xff);
    bytes[9] = (uint8_t)(FRAME_LIMIT >> 8);
    begin();
    send_bytes(bytes, sizeof bytes, NULL, 0);
    CHECK(receive_frame(pair[1], &frame) == -1);
    send_bytes(bytes, sizeof bytes - 1, NULL, 0);
    CHECK(receive_frame(pair[1], &frame) == 1);
}

TEST(a_closed_end_is_told_apart_from_an_error) {
    begin();
    close(pair[0]);
    CHECK(receive_frame(pair[1], &frame) == 0);
    begin();
    CHECK(send_frame(pair[1], FRAME_STARTED, NULL, 0, -1) == 0); // left unread: ECONNRESET
    close(pair[0]);
    CHECK(receive_frame(pair[1], &frame) == 0);
    CHECK(receive_frame(-1, &frame) == -1);
}

TEST(what_was_sent_before_the_end_is_there_although_our_own_was_not_read) {
    begin();
    CHECK(send_number(pair[1], FRAME_SIGNAL, 15) == 0);
    CHECK(send_number(pair[1], FRAME_SIGNAL, 18) == 0);
    CHECK(send_number(pair[0], FRAME_EXITED, 15) == 0);
    close(pair[0]);
    CHECK(receive_frame(pair[1], &frame) == 1);
    CHECK(frame.type == FRAME_EXITED);
    CHECK(receive_frame(pair[1], &frame) == 0);
}

TEST(nobody_to_receive_is_an_error_and_no_signal) {
    begin();
    close(pair[1]);
    CHECK(send_frame(pair[0], FRAME_TERMINAL, NULL, 0, 0) == -1);
    CHECK(errno == EPIPE);
}
