// BLAKE2s (RFC 7693), keyed, with 16 bytes of digest: what an entry of the plan cache is sealed with.
#include "digest.h"

#include <string.h>

#define BLOCK 64u
#define ROUNDS 10

static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
static const uint8_t order[ROUNDS][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4}, {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13}, {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11}, {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5}, {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
};

static uint32_t rotate(uint32_t word, unsigned by) { return word >> by | word << (32 - by); }

// Inline, with places that are known: a cached launch digests its whole entry.
__attribute__((always_inline)) static inline void mix(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d, uint32_t x,
                                                      uint32_t y) {
    *a += *b + x;
    *d = rotate(*d ^ *a, 16);
    *c += *d;
    *b = rotate(*b ^ *c, 12);
    *a += *b + y;
    *d = rotate(*d ^ *a, 8);
    *c += *d;
    *b = rotate(*b ^ *c, 7);
}

static uint32_t word(const uint8_t *from) {
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static void compress(uint32_t state[8], const uint8_t block[BLOCK], uint64_t count, bool last) {
    uint32_t v[16], m[16];
    for (int i = 0; i < 8; i++) {
        v[i] = state[i];
        v[i + 8] = start[i];
    }
    v[12] ^= (uint32_t)count;
    v[13] ^= (uint32_t)(count >> 32);
    if (last) v[14] = ~v[14];
    for (int i = 0; i < 16; i++) m[i] = word(block + 4 * i);
    for (int round = 0; round < ROUNDS; round++) {
        const uint8_t *o = order[round];
        mix(v + 0, v + 4, v + 8, v + 12, m[o[0]], m[o[1]]);
        mix(v + 1, v + 5, v + 9, v + 13, m[o[2]], m[o[3]]);
        mix(v + 2, v + 6, v + 10, v + 14, m[o[4]], m[o[5]]);
        mix(v + 3, v + 7, v + 11, v + 15, m[o[6]], m[o[7]]);
        mix(v + 0, v + 5, v + 10, v + 15, m[o[8]], m[o[9]]);
        mix(v + 1, v + 6, v + 11, v + 12, m[o[10]], m[o[11]]);
        mix(v + 2, v + 7, v + 8, v + 13, m[o[12]], m[o[13]]);
        mix(v + 3, v + 4, v + 9, v + 14, m[o[14]], m[o[15]]);
    }
    for (int i = 0; i < 8; i++) state[i] ^= v[i] ^ v[i + 8];
}

void digest_begin(struct digest *digest, const uint8_t key[DIGEST_LENGTH]) {
    *digest = (struct digest){.filled = BLOCK};
    memcpy(digest->state, start, sizeof start);
    digest->state[0] ^= 0x01010000u ^ DIGEST_LENGTH << 8 ^ DIGEST_LENGTH;
    memcpy(digest->block, key, DIGEST_LENGTH);
}

// A full block waits until more comes: the last one is told apart.
void digest_add(struct digest *digest, const void *data, size_t length) {
    const uint8_t *at = data;
    while (length > 0) {
        if (digest->filled == BLOCK) {
            digest->count += BLOCK;
            compress(digest->state, digest->block, digest->count, false);
            digest->filled = 0;
        }
        size_t room = BLOCK - digest->filled, part = length < room ? length : room;
        memcpy(digest->block + digest->filled, at, part);
        digest->filled += part;
        at += part;
        length -= part;
    }
}

void digest_end(struct digest *digest, uint8_t to[DIGEST_LENGTH]) {
    memset(digest->block + digest->filled, 0, BLOCK - digest->filled);
    digest->count += digest->filled;
    compress(digest->state, digest->block, digest->count, true);
    for (unsigned i = 0; i < DIGEST_LENGTH; i++) to[i] = (uint8_t)(digest->state[i / 4] >> (8 * (i % 4)));
}

void digest(const void *data, size_t length, const uint8_t key[DIGEST_LENGTH], uint8_t to[DIGEST_LENGTH]) {
    struct digest one;
    digest_begin(&one, key);
    digest_add(&one, data, length);
    digest_end(&one, to);
}
