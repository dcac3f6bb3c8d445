// How a recorder writes what the loader has decoded: one JSON object for each step, texts and blobs in hex.
#ifndef VOLT_RECORD_H
#define VOLT_RECORD_H

#include "read.h"

void record_begin(const struct context *context, const char *what, const char *operation);
void record_number(const char *name, uint64_t value);
void record_text(const char *name, const char *text);
void record_texts(const char *name, struct texts texts);
void record_bytes(const char *name, struct bytes bytes);
void record_descriptor(const char *name, int descriptor);
void record_descriptors(const char *name, struct descriptors all);
void record_end(void);

#endif
