/* "decoder" of tokenizer.json, as steps of decoder.h. */
#include <string.h>

#include "coordinator/text/json_fields.h"
#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/tokenizer_steps.h"

#define WHERE "decoder"

/* ---- steps without members ---- */

static shoal_status add_kind(shoal_tokenizer *t, shoal_decode_kind kind)
{
    return shoal_decoder_add(&t->decoder, &(shoal_decode_step){.kind = kind});
}

static shoal_status read_byte_level(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    return add_kind(t, SHOAL_DECODE_BYTE_LEVEL);
}

static shoal_status read_byte_fallback(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    return add_kind(t, SHOAL_DECODE_BYTE_FALLBACK);
}

static shoal_status read_fuse(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    return add_kind(t, SHOAL_DECODE_FUSE);
}

/* ---- steps with members ---- */

/* Add the step, or free what it owns when `st`, of filling it, is a failure. */
static shoal_status add_filled(shoal_tokenizer *t, shoal_decode_step *step, shoal_status st)
{
    if (st == SHOAL_OK)
        return shoal_decoder_add(&t->decoder, step);
    shoal_pattern_free(step->pattern);
    shoal_strbuf_free(&step->text);
    return st;
}

static shoal_status fill_literal(const char *from, const char *to, shoal_decode_step *step)
{
    SHOAL_TRY(shoal_pattern_compile_literal(from, strlen(from), &step->pattern));
    return shoal_strbuf_append(&step->text, to, strlen(to));
}

static shoal_status fill_replace(const json_t *json, shoal_decode_step *step)
{
    SHOAL_TRY(shoal_step_pattern(json, WHERE, &step->pattern));
    return shoal_step_text(json, WHERE, "content", &step->text);
}

static shoal_status read_replace(const json_t *json, shoal_tokenizer *t)
{
    shoal_decode_step step = {.kind = SHOAL_DECODE_REPLACE};
    return add_filled(t, &step, fill_replace(json, &step));
}

static shoal_status fill_strip(const json_t *json, shoal_decode_step *step)
{
    SHOAL_TRY(shoal_step_count(json, WHERE, "start", &step->start));
    SHOAL_TRY(shoal_step_count(json, WHERE, "stop", &step->stop));
    return shoal_step_character(json, WHERE, "content", &step->text);
}

static shoal_status read_strip(const json_t *json, shoal_tokenizer *t)
{
    shoal_decode_step step = {.kind = SHOAL_DECODE_STRIP};
    return add_filled(t, &step, fill_strip(json, &step));
}

static shoal_status fill_metaspace(const json_t *json, shoal_decode_step *step)
{
    shoal_strbuf mark = {0};
    shoal_metaspace_prefix prefix;
    SHOAL_TRY(shoal_step_metaspace(json, WHERE, &prefix, &mark));
    step->drop_in_first = prefix != SHOAL_METASPACE_NEVER;
    const shoal_status st = shoal_pattern_compile_literal(mark.data, mark.bytes, &step->pattern);
    shoal_strbuf_free(&mark);
    return st == SHOAL_OK ? shoal_strbuf_append(&step->text, " ", 1) : st;
}

static shoal_status read_metaspace(const json_t *json, shoal_tokenizer *t)
{
    shoal_decode_step step = {.kind = SHOAL_DECODE_REPLACE};
    return add_filled(t, &step, fill_metaspace(json, &step));
}

static shoal_status read_bpe(const json_t *json, shoal_tokenizer *t)
{
    shoal_decode_step step = {.kind = SHOAL_DECODE_WORD_END};
    const char *suffix;
    size_t bytes;
    SHOAL_TRY(shoal_json_text(json, WHERE, "suffix", &suffix, &bytes));
    SHOAL_TRY(shoal_pattern_compile_literal(suffix, bytes, &step.pattern));
    return shoal_decoder_add(&t->decoder, &step);
}

/* What English text looks like once spaces are put between all its tokens, and should. */
static const struct {
    const char *from, *to;
} cleanups[] = {
    {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
    {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
    {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
};

static shoal_status read_word_piece(const json_t *json, shoal_tokenizer *t)
{
    shoal_decode_step step = {.kind = SHOAL_DECODE_SPACE_UNLESS};
    bool cleanup;
    SHOAL_TRY(shoal_json_bool(json, WHERE, "cleanup", true, &cleanup));
    SHOAL_TRY(add_filled(t, &step, shoal_step_text(json, WHERE, "prefix", &step.text)));
    for (size_t i = 0; cleanup && i < sizeof cleanups / sizeof cleanups[0]; i++) {
        shoal_decode_step replace = {.kind = SHOAL_DECODE_REPLACE};
        SHOAL_TRY(
            add_filled(t, &replace, fill_literal(cleanups[i].from, cleanups[i].to, &replace)));
    }
    return SHOAL_OK;
}

static const shoal_step_row rows[] = {
    {"ByteLevel", read_byte_level},
    {"ByteFallback", read_byte_fallback},
    {"Fuse", read_fuse},
    {"Metaspace", read_metaspace},
    {"Replace", read_replace},
    {"Strip", read_strip},
    {"WordPiece", read_word_piece},
    {"BPEDecoder", read_bpe},
};

static const shoal_step_part decoder_part = {WHERE, "decoders", rows, sizeof rows / sizeof rows[0]};

/* Without a decoder pieces are shown with a space between them. */
shoal_status shoal_tokenizer_read_decoder(const json_t *json, shoal_tokenizer *t)
{
    if (json && !json_is_null(json))
        return shoal_step_read(&decoder_part, json, t);
    return add_kind(t, SHOAL_DECODE_SPACE);
}
