// A keyed digest of 16 bytes (BLAKE2s), as volt/model/entry.py makes it.
#ifndef VOLT_DIGEST_H
#define VOLT_DIGEST_H

#include "volt.h"

#define DIGEST_LENGTH 16u

// Begun, fed any number of times, ended.
struct digest {
    uint32_t state[8];
    uint64_t count;  // bytes taken in, the key's block among them
    size_t filled;   // of the block
    uint8_t block[64];
};

void digest_begin(struct digest *digest, const uint8_t key[DIGEST_LENGTH]);
void digest_add(struct digest *digest, const void *data, size_t length);
void digest_end(struct digest *digest, uint8_t to[DIGEST_LENGTH]);
void digest(const void *data, size_t length, const uint8_t key[DIGEST_LENGTH], uint8_t to[DIGEST_LENGTH]);

#endif
