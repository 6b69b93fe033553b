/* shard/safetensors.h - the header of one safetensors file: bytes in, a checked list of tensors
 * out.
 *
 *     u64 LE n | n bytes of JSON, padded with spaces | data, one tensor after the other
 *
 * It opens no file and keeps no state. Everything a hostile header can say is refused here with a
 * sentence (SHOAL_ERR_DATA): what is accepted lies inside the file, overlaps nothing, leaves no
 * byte of the data unclaimed and has as many bytes as dtype and shape say. Time is linear in the
 * header, but for sorting; memory is the list of tensors, names stay in the header. */
#ifndef SHOAL_SHARD_SAFETENSORS_H
#define SHOAL_SHARD_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"
#include "shard/checkpoint.h"

#define SHOAL_SAFETENSORS_PREFIX     8
#define SHOAL_SAFETENSORS_HEADER_MAX 100000000u

/* A pair of a file's __metadata__; both stand in its header. */
typedef struct {
    const char *key, *value;
} shoal_metadata_entry;

/* Tensors of any number of files, and what their metadata say. Zero-initialise; free with
 * shoal_tensor_list_free. */
typedef struct {
    shoal_tensor *items;
    size_t count, room;
    shoal_metadata_entry *metadata;
    size_t metadata_count, metadata_room;
} shoal_tensor_list;

void shoal_tensor_list_free(shoal_tensor_list *list);
SHOAL_MUST_USE shoal_status shoal_tensor_list_add(shoal_tensor_list *list,
                                                  const shoal_tensor *tensor);

/* From the first bytes of a file (all of them where it has less than 8) the length of its header,
 * inside the file and the cap. `where` names the file in messages. */
SHOAL_MUST_USE shoal_status shoal_safetensors_header_bytes(const char *where, const uint8_t *prefix,
                                                           uint64_t file_bytes, uint64_t *out);

/* Append the tensors of a header, in the order of the file's JSON, as tensors of `file`. The
 * header is changed by reading it and must live as long as the names. On failure the list is as
 * before. */
SHOAL_MUST_USE shoal_status shoal_safetensors_parse(const char *where, char *header,
                                                    uint64_t header_bytes, uint64_t file_bytes,
                                                    int file, shoal_tensor_list *list);

#endif
