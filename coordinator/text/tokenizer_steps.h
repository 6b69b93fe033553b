/* coordinator/text/tokenizer_steps.h - the steps around the model, from tokenizer.json: normalizer,
 * pre_tokenizer, post_processor, decoder. Private to tokenizer_json.c and the files *_json.c, one
 * for each of the four parts.
 *
 * Each takes the part's JSON value (NULL or null: the part is absent) and fills the tokenizer;
 * what is unsupported is SHOAL_ERR_DATA naming it. */
#ifndef SHOAL_COORDINATOR_TEXT_TOKENIZER_STEPS_H
#define SHOAL_COORDINATOR_TEXT_TOKENIZER_STEPS_H

#include <jansson.h>

#include "coordinator/text/growable.h"
#include "coordinator/text/pattern.h"
#include "coordinator/text/tokenizer.h"
#include "proto/status.h"

#define SHOAL_TOKENIZER_NEST_MAX 8         /* Sequences inside Sequences            */
#define SHOAL_STEP_COUNT_MAX     (1 << 20) /* a count that a step may be given      */

SHOAL_MUST_USE shoal_status shoal_tokenizer_read_normalizer(const json_t *json,
                                                            shoal_tokenizer *tokenizer);
SHOAL_MUST_USE shoal_status shoal_tokenizer_read_pretokenizer(const json_t *json,
                                                              shoal_tokenizer *tokenizer);
SHOAL_MUST_USE shoal_status shoal_tokenizer_read_decoder(const json_t *json,
                                                         shoal_tokenizer *tokenizer);

/* Needs the vocabulary: special tokens it names must be there. */
SHOAL_MUST_USE shoal_status shoal_tokenizer_read_post(const json_t *json,
                                                      shoal_tokenizer *tokenizer);

/* ---- what the four have in common ---- */

/* A part has a "type", which chooses the row; a Sequence holds a list of its like. */
typedef struct {
    const char *type;
    shoal_status (*read)(const json_t *json, shoal_tokenizer *tokenizer);
} shoal_step_row;

typedef struct {
    const char *name; /* the part, for sentences        */
    const char *list; /* what a Sequence calls its list */
    const shoal_step_row *rows;
    size_t count;
} shoal_step_part;

SHOAL_MUST_USE shoal_status shoal_step_read(const shoal_step_part *part, const json_t *json,
                                            shoal_tokenizer *tokenizer);

/* Members that several kinds of steps have; `where` names the part. Outputs are the caller's. */
SHOAL_MUST_USE shoal_status shoal_step_pattern(const json_t *json, const char *where,
                                               shoal_pattern **out);
SHOAL_MUST_USE shoal_status shoal_step_text(const json_t *json, const char *where, const char *key,
                                            shoal_strbuf *out);
SHOAL_MUST_USE shoal_status shoal_step_character(const json_t *json, const char *where,
                                                 const char *key, shoal_strbuf *out);
SHOAL_MUST_USE shoal_status shoal_step_count(const json_t *json, const char *where, const char *key,
                                             size_t *out);

typedef enum {
    SHOAL_METASPACE_ALWAYS,
    SHOAL_METASPACE_FIRST,
    SHOAL_METASPACE_NEVER
} shoal_metaspace_prefix;

/* The members of a Metaspace: *mark is the character that stands for a space. */
SHOAL_MUST_USE shoal_status shoal_step_metaspace(const json_t *json, const char *where,
                                                 shoal_metaspace_prefix *prefix,
                                                 shoal_strbuf *mark);

#endif
