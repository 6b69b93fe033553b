/* libFuzzer target: a pack file as a whole model.
 *
 * The first byte chooses: an even one is followed by the file, an odd one by the text of a header,
 * a zero byte, and what follows the header. A fuzzer cannot guess a checksum, so of the second kind
 * the preamble, the length of the file and all digests are made right, as far as the header says
 * what they are of. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/bytes.h"
#include "proto/digest.h"
#include "shard/pack_file.h"
#include "shard/pack_format.h"
#include "tests/fuzz/whole_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_MAX = 1 << 15, FILE_MAX = 1 << 16, HEX = 2 * SHOAL_XXH128_BYTES };

/* A file that is being made right; zeros behind what was given. */
typedef struct {
    uint8_t bytes[FILE_MAX];
    size_t header, size;
} draft;

static char *header_of(draft *d)
{
    return (char *)d->bytes + SHOAL_PACK_PREAMBLE;
}

/* Behind `key` in the header, at `from` or later; NULL where it is not. */
static char *behind(draft *d, char *from, const char *key)
{
    char *end = header_of(d) + d->header;
    char *at = memmem(from, (size_t)(end - from), key, strlen(key));
    return at ? at + strlen(key) : NULL;
}

/* Write the digest of some bytes over the hexadecimal one at `to`, if there is room for it. */
static void seal(draft *d, char *to, size_t begin, uint64_t bytes)
{
    uint8_t digest[SHOAL_XXH128_BYTES];
    char hex[HEX + 1];
    if (!to || header_of(d) + d->header - to < HEX || !shoal_range_inside(begin, bytes, FILE_MAX))
        return;
    shoal_xxh128(d->bytes + begin, bytes, digest);
    shoal_hex(digest, sizeof digest, hex);
    memcpy(to, hex, HEX);
}

/* The digests that the header has of digests and texts, then that of the header. */
static void seal_header(draft *d)
{
    char *at = behind(d, header_of(d), "\"digests\":");
    const uint64_t count = at ? strtoull(at, NULL, 10) : 0;
    size_t begin = SHOAL_PACK_PREAMBLE + d->header;
    if (count > FILE_MAX / SHOAL_XXH128_BYTES)
        return;
    seal(d, behind(d, header_of(d), "\"digests_xxh3\":\""), begin, count * SHOAL_XXH128_BYTES);
    begin += count * SHOAL_XXH128_BYTES;
    for (char *text = header_of(d); (text = behind(d, text, "\"bytes\":")) != NULL;) {
        const uint64_t bytes = strtoull(text, NULL, 10);
        seal(d, behind(d, text, "\"xxh3\":\""), begin, bytes);
        begin += bytes < FILE_MAX ? bytes : FILE_MAX;
    }
    shoal_store_le64(d->bytes + 16, d->header);
    shoal_xxh128(header_of(d), d->header, d->bytes + 24);
}

/* The digests of all runs, one after the other behind the header. */
static void seal_runs(draft *d, const shoal_tensor_list *list)
{
    uint8_t *to = d->bytes + SHOAL_PACK_PREAMBLE + d->header;
    for (size_t i = 0; i < list->count; i++) {
        const shoal_tensor *t = &list->items[i];
        for (uint64_t at = 0; at < t->bytes; at += t->run_bytes, to += SHOAL_XXH128_BYTES) {
            const uint64_t left = t->bytes - at;
            shoal_xxh128(d->bytes + t->offset + at, left < t->run_bytes ? left : t->run_bytes, to);
        }
    }
}

/* Open it as a pack file; what it lists is what the file holds. */
static shoal_status open_draft(draft *d)
{
    char path[64];
    shoal_regular_file file;
    shoal_pack_file *pack = NULL;
    shoal_tensor_list list = {0};
    const int fd = whole_file(d->bytes, d->size, path);
    must(shoal_regular_open(path, &file) == SHOAL_OK);
    const shoal_status st = shoal_pack_open(&file, path, &pack);
    if (st == SHOAL_OK) {
        must(shoal_pack_list(pack, 0, &list) == SHOAL_OK);
        seal_runs(d, &list);
    } else {
        must_be_refusal(st);
    }
    shoal_tensor_list_free(&list);
    shoal_pack_close(pack);
    shoal_regular_close(&file);
    close(fd);
    return st;
}

/* The length that a refusal asks for, where only that is wrong. */
static void settle_size(draft *d)
{
    unsigned long long is, wanted;
    const char *what = strstr(shoal_error_text(), "damaged pack file: ");
    if (what && sscanf(what, "damaged pack file: %llu bytes instead of %llu", &is, &wanted) == 2 &&
        wanted < FILE_MAX)
        d->size = wanted;
}

/* Header and rest to a file whose digests are right, or as right as they can be. */
static void complete(draft *d, const uint8_t *data, size_t size)
{
    const uint8_t *zero = memchr(data, 0, size);
    const size_t text = zero ? (size_t)(zero - data) : size, rest = zero ? size - text - 1 : 0;
    memset(d->bytes, 0, sizeof d->bytes);
    memcpy(d->bytes, SHOAL_PACK_MAGIC, 8);
    shoal_store_le32(d->bytes + 8, SHOAL_PACK_VERSION);
    shoal_store_le32(d->bytes + 12, SHOAL_PACK_ORDER);
    memcpy(header_of(d), data, text);
    d->header = text;
    if (rest > 0)
        memcpy(header_of(d) + text, zero + 1, rest);
    d->size = FILE_MAX - 1;
    seal_header(d);
    if (open_draft(d) != SHOAL_OK) {
        settle_size(d);
        (void)open_draft(d);
    }
    seal_header(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static draft d;
    char path[64];
    if (size == 0 || size > INPUT_MAX)
        return 0;
    if (data[0] % 2 == 1) {
        complete(&d, data + 1, size - 1);
    } else {
        memcpy(d.bytes, data + 1, size - 1);
        d.size = size - 1;
    }
    const int fd = whole_file(d.bytes, d.size, path);
    open_whole_model(path);
    close(fd);
    return 0;
}
