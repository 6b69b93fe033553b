/* shard/name_pattern_code.h - a compiled name pattern: the program of a state machine. Not included
 * outside shard/name_pattern*.c. */
#ifndef SHOAL_SHARD_NAME_PATTERN_CODE_H
#define SHOAL_SHARD_NAME_PATTERN_CODE_H

#include <stdbool.h>
#include <stdint.h>

#include "shard/name_pattern.h"

#define CODE_MAX 2048

typedef enum { SET, SPLIT, JUMP, BEGIN, END, BOUNDARY, INSIDE, LOOK, LOOK_NOT, MATCH } operation;

/* Targets count from the instruction itself, so code can be moved and copied. */
typedef struct {
    operation op;
    int x; /* JUMP; SPLIT: there or on; LOOK, LOOK_NOT: the code after the body's MATCH */
    uint64_t bits[4]; /* SET: bytes that pass */
} instruction;

struct shoal_name_pattern {
    char *text;
    instruction *code; /* ends with MATCH */
    int count;
};

static inline bool is_alphanumeric(char byte)
{
    return (byte >= '0' && byte <= '9') || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

/* SHOAL_ERR_DATA: this pattern `what`. */
SHOAL_MUST_USE shoal_status shoal_name_pattern_refuse(const char *text, const char *what);

#endif
