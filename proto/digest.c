/* proto/digest.c - the doorkeeper of xxHash and OpenSSL. */
#include "proto/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#define XXH_STATIC_LINKING_ONLY /* shows the size of the state, to keep it on a stack */
#if SHOAL_XXHASH_DISPATCHES
#include <xxh_x86dispatch.h> /* xxhash.h, whose XXH3 functions become those of this machine's CPU */
#else
#include <xxhash.h>
#endif

#include "proto/arena.h"
#include "proto/bytes.h"

#define FILE_BLOCK ((size_t)1 << 20)

_Static_assert(sizeof(XXH3_state_t) <= sizeof(shoal_xxh128_stream), "room for the hash state");
_Static_assert(sizeof(XXH128_canonical_t) == SHOAL_XXH128_BYTES, "canonical form is 16 bytes");

static void store_hash(XXH128_hash_t hash, uint8_t out[SHOAL_XXH128_BYTES])
{
    XXH128_canonical_t canonical;

    XXH128_canonicalFromHash(&canonical, hash);
    memcpy(out, canonical.digest, SHOAL_XXH128_BYTES);
}

/* The library chooses its functions when they are first called, without a lock: once, before
 * threads can meet there. */
static void choose_functions(void)
{
    static const uint8_t block[1024];
    XXH3_state_t state;
    (void)XXH3_128bits(block, sizeof block);
    (void)XXH3_128bits_reset(&state);
    (void)XXH3_128bits_update(&state, block, sizeof block);
}

static void choose_once(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, choose_functions);
}

void shoal_xxh128(const void *data, size_t bytes, uint8_t out[SHOAL_XXH128_BYTES])
{
    choose_once();
    store_hash(XXH3_128bits(data, bytes), out);
}

void shoal_xxh128_begin(shoal_xxh128_stream *stream)
{
    choose_once();
    memset(stream, 0, sizeof *stream);
    (void)XXH3_128bits_reset((XXH3_state_t *)(void *)stream->state);
}

void shoal_xxh128_add(shoal_xxh128_stream *stream, const void *data, size_t bytes)
{
    if (bytes)
        (void)XXH3_128bits_update((XXH3_state_t *)(void *)stream->state, data, bytes);
}

void shoal_xxh128_add_i64(shoal_xxh128_stream *stream, int64_t value)
{
    uint8_t raw[8];

    shoal_store_le64(raw, (uint64_t)value);
    shoal_xxh128_add(stream, raw, sizeof raw);
}

void shoal_xxh128_finish(const shoal_xxh128_stream *stream, uint8_t out[SHOAL_XXH128_BYTES])
{
    store_hash(XXH3_128bits_digest((const XXH3_state_t *)(const void *)stream->state), out);
}

static shoal_status library_failed(const char *what)
{
    return shoal_fail(SHOAL_ERR_INTERNAL, "the crypto library refused %s", what);
}

shoal_status shoal_sha256(const void *data, size_t bytes, uint8_t out[SHOAL_SHA256_BYTES])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    if (EVP_Digest(data, bytes, digest, &length, EVP_sha256(), NULL) != 1 ||
        length != SHOAL_SHA256_BYTES)
        return library_failed("SHA-256");
    memcpy(out, digest, SHOAL_SHA256_BYTES);
    return SHOAL_OK;
}

/* Feed the file to `context` block by block. */
static shoal_status digest_blocks(int fd, const char *path, EVP_MD_CTX *context, void *block)
{
    for (;;) {
        const ssize_t got = read(fd, block, FILE_BLOCK);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return shoal_fail(SHOAL_ERR_IO, "read %s: %s", path, strerror(errno));
        if (got == 0)
            return SHOAL_OK;
        if (EVP_DigestUpdate(context, block, (size_t)got) != 1)
            return library_failed("SHA-256");
    }
}

shoal_status shoal_sha256_file(const char *path, uint8_t out[SHOAL_SHA256_BYTES])
{
    shoal_status st;
    void *block = NULL;
    EVP_MD_CTX *context = NULL;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return shoal_fail(errno == ENOENT ? SHOAL_ERR_NOTFOUND : SHOAL_ERR_IO, "open %s: %s", path,
                          strerror(errno));
    SHOAL_TRY_GOTO(shoal_alloc(SHOAL_MEM_OTHER, FILE_BLOCK, &block), close_file);
    context = EVP_MD_CTX_new();
    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        st = library_failed("SHA-256");
        goto free_context;
    }
    SHOAL_TRY_GOTO(digest_blocks(fd, path, context, block), free_context);
    if (EVP_DigestFinal_ex(context, digest, &length) != 1 || length != SHOAL_SHA256_BYTES) {
        st = library_failed("SHA-256");
        goto free_context;
    }
    memcpy(out, digest, SHOAL_SHA256_BYTES);

free_context:
    EVP_MD_CTX_free(context);
    shoal_free(block);
close_file:
    close(fd);
    return st;
}

shoal_status shoal_hmac_sha256(const void *key, size_t key_bytes, const void *data, size_t bytes,
                               uint8_t out[SHOAL_SHA256_BYTES])
{
    static const uint8_t nothing[1] = {0}; /* HMAC() takes a NULL key for "the previous one" */
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;

    if (key_bytes > INT32_MAX)
        return shoal_fail(SHOAL_ERR_INTERNAL, "a key of %zu bytes, at most %d", key_bytes,
                          INT32_MAX);
    if (!HMAC(EVP_sha256(), key_bytes ? key : nothing, (int)key_bytes, data, bytes, digest,
              &length) ||
        length != SHOAL_SHA256_BYTES)
        return library_failed("HMAC-SHA256");
    memcpy(out, digest, SHOAL_SHA256_BYTES);
    return SHOAL_OK;
}

bool shoal_secret_equal(const void *a, const void *b, size_t bytes)
{
    return CRYPTO_memcmp(a, b, bytes) == 0;
}

void shoal_hex(const uint8_t *data, size_t bytes, char *text)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes; i++) {
        text[2 * i] = digits[data[i] >> 4];
        text[2 * i + 1] = digits[data[i] & 15];
    }
    text[2 * bytes] = '\0';
}

/* Value of a hexadecimal digit, -1 for another character (the end of the string included). */
static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool shoal_unhex(const char *text, size_t bytes, uint8_t *out)
{
    if (strlen(text) != 2 * bytes)
        return false;
    for (size_t i = 0; i < 2 * bytes; i++)
        if (digit_value(text[i]) < 0)
            return false;
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(digit_value(text[2 * i]) << 4 | digit_value(text[2 * i + 1]));
    return true;
}
