// The framed protocol between supervisor and init (volt/model/protocol.py).
#ifndef VOLT_FRAMES_H
#define VOLT_FRAMES_H

#include "volt.h"
#include "table.h"

#define FRAME_OTHERS 3

struct frame {
    uint16_t type;
    uint32_t length;
    uint8_t body[FRAME_LIMIT];
    int descriptor; // that travelled along, or -1
    int others[FRAME_OTHERS]; // behind it, of EXECUTE alone
    pid_t sender; // where the socket tells it, SO_PASSCRED of unix(7); else 0
};

int frame_pair(int pair[2]);
int send_frame(int socket, enum frame_type type, const void *body, uint32_t length, int descriptor);
int send_number(int socket, enum frame_type type, uint32_t number);
int send_failure(int socket, const struct failure *failure);
int receive_frame(int socket, struct frame *frame); // 1 a frame, 0 the other end is closed, -1 an error
void close_descriptors(struct frame *frame);
bool frame_number(const struct frame *frame, uint32_t *number);
bool frame_failure(const struct frame *frame, struct failure *failure);

#endif
