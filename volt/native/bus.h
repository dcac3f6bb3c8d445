// A message of D-Bus as far as we read it.
#ifndef VOLT_BUS_H
#define VOLT_BUS_H

#include "volt.h"

#define BUS_HEADER 16u // bytes, before the fields
#define BUS_STRINGS 3

struct bus_message {
    uint8_t type;
    uint32_t reply_to;
    const char *member;
    const char *strings[BUS_STRINGS]; // of the body: an error's words; a signal's path, unit and result
};

enum { METHOD_RETURN = 2, ERROR = 3, SIGNAL = 4 }; // D-Bus Specification, "Message Format"

// The whole length by its first 16 bytes; 0 where it is none, longer than any may be, or of another byte order.
size_t bus_message_length(const uint8_t *header);
// False where it is damaged; the texts lie within `whole`.
bool bus_parse(struct bytes whole, struct bus_message *message);

#endif
