/* proto/digest.h - fingerprints: fast ones against accidents, slow ones against people.
 *
 * XXH3-128 finds damaged or mixed-up slices and plans; anyone can forge it. SHA-256 names source
 * files (provenance); HMAC-SHA256 proves that a peer holds the one-time token. Digests are plain
 * byte strings in the order their standards print them, so they compare with memcmp on every
 * machine. Only proto/digest.c sees xxHash and OpenSSL.
 *
 * The XXH3 functions cannot fail; the others return SHOAL_ERR_INTERNAL when the library refuses
 * (a build without SHA-256) and SHOAL_ERR_NOTFOUND or SHOAL_ERR_IO for files. */
#ifndef SHOAL_PROTO_DIGEST_H
#define SHOAL_PROTO_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

#define SHOAL_XXH128_BYTES 16
#define SHOAL_SHA256_BYTES 32

/* Big-endian ("canonical") form of the 128-bit hash, seed 0. `data` may be NULL when bytes is 0. */
void shoal_xxh128(const void *data, size_t bytes, uint8_t out[SHOAL_XXH128_BYTES]);

/* The same in pieces; lives on the caller's stack, owns nothing. `finish` does not end it: more
 * bytes may follow. */
typedef struct {
    _Alignas(64) unsigned char state[640];
} shoal_xxh128_stream;

void shoal_xxh128_begin(shoal_xxh128_stream *stream);
void shoal_xxh128_add(shoal_xxh128_stream *stream, const void *data, size_t bytes);
void shoal_xxh128_add_i64(shoal_xxh128_stream *stream,
                          int64_t value); /* as 8 bytes, little-endian */
void shoal_xxh128_finish(const shoal_xxh128_stream *stream, uint8_t out[SHOAL_XXH128_BYTES]);

SHOAL_MUST_USE shoal_status shoal_sha256(const void *data, size_t bytes,
                                         uint8_t out[SHOAL_SHA256_BYTES]);

/* Of a whole file's contents. */
SHOAL_MUST_USE shoal_status shoal_sha256_file(const char *path, uint8_t out[SHOAL_SHA256_BYTES]);

SHOAL_MUST_USE shoal_status shoal_hmac_sha256(const void *key, size_t key_bytes, const void *data,
                                              size_t bytes, uint8_t out[SHOAL_SHA256_BYTES]);

/* Equality in a time that depends on `bytes` only: for tokens and keys. */
bool shoal_secret_equal(const void *a, const void *b, size_t bytes);

/* Lower-case hexadecimal digits; `text` has room for 2 * bytes + 1. */
void shoal_hex(const uint8_t *data, size_t bytes, char *text);

/* The inverse: exactly 2 * bytes digits of either case and then the end of the string. False (and
 * `out` untouched) for anything else. */
bool shoal_unhex(const char *text, size_t bytes, uint8_t *out);

#endif
