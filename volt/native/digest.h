// A keyed digest of 16 bytes (BLAKE2s), as volt/model/entry.py makes it.
#ifndef VOLT_DIGEST_H
#define VOLT_DIGEST_H

#include "volt.h"

#define DIGEST_LENGTH 16u

void digest(const void *data, size_t length, const uint8_t key[DIGEST_LENGTH], uint8_t to[DIGEST_LENGTH]);

#endif
