// A bounds-checked reader of the binary form (volt/model/binary.py): what is cut short or odd damages it for good.
#ifndef VOLT_READ_H
#define VOLT_READ_H

#include "volt.h"

struct reader {
    const uint8_t *at, *end;
    bool damaged;
    struct context *context; // for slots and descriptors
};

struct reader reader_of(struct context *context, struct bytes bytes);
bool reader_ended(const struct reader *in); // all was read and nothing was wrong
uint16_t read_u16(struct reader *in);
uint32_t read_u32(struct reader *in);
uint64_t read_u64(struct reader *in);
bool read_switch(struct reader *in);
struct bytes read_bytes(struct reader *in);
const char *read_text(struct reader *in); // slots filled in
struct bytes read_messages(struct reader *in); // as they are: see fill_messages()
struct texts read_texts(struct reader *in);
uint16_t read_register_number(struct reader *in);
struct bytes fill_messages(struct context *context, struct bytes raw);
int read_descriptor(struct reader *in);
struct descriptors read_descriptors(struct reader *in);

#endif
