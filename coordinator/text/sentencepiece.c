#include "coordinator/text/sentencepiece.h"

#include <math.h>
#include <string.h>

#include "coordinator/text/sentencepiece.pb-c.h"
#include "coordinator/text/sentencepiece_bpe.h"
#include "coordinator/text/sentencepiece_normalizer.h"
#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/unigram.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"

#define UNKNOWN_SURFACE " \xE2\x81\x87 " /* what the unknown token is decoded to: U+2047 */

typedef Shoal__Sentencepiece__Model model_message;
typedef Shoal__Sentencepiece__Piece piece_message;
typedef Shoal__Sentencepiece__Normalizer normalizer_message;

/* ---- the message ---- */

/* A byte of the file becomes at most some ten of memory in an honest model; an empty piece takes
 * two bytes and a hundred of memory. */
#define MEMORY_PER_BYTE 16u
#define MEMORY_BASE     (64u << 10)

static void *allocate(void *left, size_t bytes)
{
    size_t *budget = left;
    void *block = NULL;
    if (bytes > *budget || shoal_alloc(SHOAL_MEM_TEXT, bytes, &block) != SHOAL_OK)
        return NULL;
    *budget -= bytes;
    return block;
}

static void release(void *left, void *block)
{
    (void)left;
    shoal_free(block);
}

static void free_message(model_message *message)
{
    ProtobufCAllocator allocator = {allocate, release, NULL};
    shoal__sentencepiece__model__free_unpacked(message, &allocator);
}

/* A number of seven bits a byte, the low ones first; false where there is none. */
static bool take_varint(const uint8_t *data, size_t bytes, size_t *at, uint64_t *out)
{
    *out = 0;
    for (unsigned shift = 0; shift < 64 && *at < bytes; shift += 7) {
        const uint8_t b = data[(*at)++];
        *out |= (uint64_t)(b & 0x7F) << shift;
        if (b < 0x80)
            return true;
    }
    return false;
}

/* How many pieces the message has, before memory is taken for them; as far as it is one. */
static size_t count_pieces(const uint8_t *data, size_t bytes)
{
    enum { VARINT, EIGHT_BYTES, DELIMITED, FOUR_BYTES = 5 };
    size_t at = 0, count = 0;
    uint64_t tag, length;
    while (take_varint(data, bytes, &at, &tag)) {
        switch (tag & 7) {
        case VARINT:
            if (!take_varint(data, bytes, &at, &length))
                return count;
            length = 0;
            break;
        case EIGHT_BYTES: length = 8; break;
        case FOUR_BYTES: length = 4; break;
        case DELIMITED:
            if (!take_varint(data, bytes, &at, &length))
                return count;
            count += tag >> 3 == 1;
            break;
        default: return count;
        }
        if (length > bytes - at)
            return count;
        at += (size_t)length;
    }
    return count;
}

static shoal_status check_pieces(size_t count)
{
    if (count == 0 || count > SHOAL_VOCAB_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a model of %zu pieces (limit 1 to %u)", count,
                          SHOAL_VOCAB_MAX);
    return SHOAL_OK;
}

static shoal_status unpack(const void *model, size_t bytes, model_message **out)
{
    size_t budget = MEMORY_PER_BYTE * bytes + MEMORY_BASE;
    ProtobufCAllocator allocator = {allocate, release, &budget};
    if (bytes > SHOAL_SENTENCEPIECE_FILE_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a model of %zu bytes (limit %u)", bytes,
                          SHOAL_SENTENCEPIECE_FILE_MAX);
    const size_t pieces = count_pieces(model, bytes);
    if (pieces > SHOAL_VOCAB_MAX)
        return check_pieces(pieces);
    *out = shoal__sentencepiece__model__unpack(&allocator, bytes, model);
    if (!*out)
        return shoal_fail(SHOAL_ERR_DATA, "not a SentencePiece model: no such protobuf message");
    return SHOAL_OK;
}

/* ---- pieces ---- */

static shoal_status kind_of(const piece_message *piece, size_t id, unsigned *kind)
{
    switch (piece->type) {
    case SHOAL__SENTENCEPIECE__PIECE__TYPE__NORMAL: *kind = SHOAL_TOKEN_MODEL; break;
    case SHOAL__SENTENCEPIECE__PIECE__TYPE__UNKNOWN: *kind = SHOAL_TOKEN_UNKNOWN; break;
    case SHOAL__SENTENCEPIECE__PIECE__TYPE__CONTROL: *kind = SHOAL_TOKEN_SPECIAL; break;
    case SHOAL__SENTENCEPIECE__PIECE__TYPE__USER_DEFINED: *kind = SHOAL_TOKEN_USER; break;
    case SHOAL__SENTENCEPIECE__PIECE__TYPE__UNUSED: *kind = SHOAL_TOKEN_UNUSED; break;
    case SHOAL__SENTENCEPIECE__PIECE__TYPE__BYTE: *kind = SHOAL_TOKEN_BYTE; break;
    default:
        return shoal_fail(SHOAL_ERR_DATA, "piece %zu has the unknown type %d", id,
                          (int)piece->type);
    }
    return SHOAL_OK;
}

static shoal_status check_piece(const piece_message *piece, size_t id)
{
    const char *text = (const char *)piece->piece.data;
    if (piece->piece.len == 0)
        return shoal_fail(SHOAL_ERR_DATA, "piece %zu is empty", id);
    if (shoal_utf8_valid(text, piece->piece.len) != piece->piece.len)
        return shoal_fail(SHOAL_ERR_DATA, "piece %zu is not UTF-8", id);
    if (!isfinite(piece->score))
        return shoal_fail(SHOAL_ERR_DATA, "the score of piece %zu is not finite", id);
    return SHOAL_OK;
}

/* The vocabulary, and the id of the one unknown piece. */
static shoal_status read_pieces(const model_message *m, shoal_tokenizer *t, int32_t *unk)
{
    SHOAL_TRY(check_pieces(m->n_pieces));
    SHOAL_TRY(shoal_vocab_create(m->n_pieces, &t->vocab));
    *unk = -1;
    for (size_t id = 0; id < m->n_pieces; id++) {
        const piece_message *piece = m->pieces[id];
        unsigned kind = 0;
        SHOAL_TRY(check_piece(piece, id));
        SHOAL_TRY(kind_of(piece, id, &kind));
        if (kind == SHOAL_TOKEN_UNKNOWN && *unk >= 0)
            return shoal_fail(SHOAL_ERR_DATA, "pieces %d and %zu are both the unknown one", *unk,
                              id);
        if (kind == SHOAL_TOKEN_UNKNOWN)
            *unk = (int32_t)id;
        SHOAL_TRY(shoal_vocab_add(t->vocab, (int64_t)id, (const char *)piece->piece.data,
                                  piece->piece.len, kind));
    }
    if (*unk < 0)
        return shoal_fail(SHOAL_ERR_DATA, "the model has no unknown piece");
    return SHOAL_OK;
}

/* ---- the model ---- */

/* Scores by id. A user-defined piece of a unigram model has one above what its parts reach in an
 * honest model, where scores are logarithms: a tenth for each byte but the first, as in the
 * reference library. */
static void fill_scores(const model_message *m, bool unigram, double *scores)
{
    for (size_t id = 0; id < m->n_pieces; id++) {
        const piece_message *piece = m->pieces[id];
        scores[id] = piece->score;
        if (unigram && piece->type == SHOAL__SENTENCEPIECE__PIECE__TYPE__USER_DEFINED)
            scores[id] = (double)(float)(0.1 * ((double)piece->piece.len - 1));
    }
}

static shoal_status make_model(const model_message *m, const double *scores, int32_t unk,
                               shoal_tokenizer *t)
{
    const Shoal__Sentencepiece__Trainer *trainer = m->trainer;
    const bool byte_fallback = trainer && trainer->byte_fallback;
    if (!trainer || trainer->model_type == SHOAL__SENTENCEPIECE__TRAINER__KIND__UNIGRAM) {
        const shoal_unigram_options options = {
            .byte_fallback = byte_fallback, .fuse_unk = true, .float_sums = true, .unk = unk};
        return shoal_unigram_create(t->vocab, scores, &options, &t->model);
    }
    if (trainer->model_type == SHOAL__SENTENCEPIECE__TRAINER__KIND__BPE) {
        const shoal_sentencepiece_bpe_options options = {byte_fallback, unk};
        return shoal_sentencepiece_bpe_create(t->vocab, scores, &options, &t->model);
    }
    return shoal_fail(SHOAL_ERR_DATA, "SentencePiece models of kind %s are unsupported",
                      trainer->model_type == SHOAL__SENTENCEPIECE__TRAINER__KIND__WORD ? "WORD"
                                                                                       : "CHAR");
}

static shoal_status read_model(const model_message *m, int32_t unk, shoal_tokenizer *t)
{
    const bool unigram =
        !m->trainer || m->trainer->model_type == SHOAL__SENTENCEPIECE__TRAINER__KIND__UNIGRAM;
    void *scores;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, m->n_pieces, sizeof(double), &scores));
    fill_scores(m, unigram, scores);
    const shoal_status st = make_model(m, scores, unk, t);
    shoal_free(scores);
    return st;
}

/* ---- what is around it ---- */

static shoal_status fill_normalizer(const model_message *m, const normalizer_message *spec,
                                    const shoal_vocab *vocab, shoal_sentencepiece_normalizer *n)
{
    n->dummy_prefix = spec->add_dummy_prefix;
    n->as_suffix = m->trainer && m->trainer->treat_whitespace_as_suffix;
    n->remove_extra = spec->remove_extra_whitespaces;
    n->escape = spec->escape_whitespaces;
    if (spec->precompiled_charsmap.len)
        SHOAL_TRY(shoal_charsmap_create(spec->precompiled_charsmap.data,
                                        spec->precompiled_charsmap.len, &n->charsmap));
    return shoal_piece_trie_of(vocab, SHOAL_TOKEN_USER, &n->user);
}

static shoal_status read_normalizer(const model_message *m, const normalizer_message *spec,
                                    shoal_tokenizer *t)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_sentencepiece_normalizer), &block));
    const shoal_status st = fill_normalizer(m, spec, t->vocab, block);
    if (st != SHOAL_OK) {
        shoal_sentencepiece_normalizer_destroy(block);
        return st;
    }
    const shoal_normal_step step = {.kind = SHOAL_NORMAL_SENTENCEPIECE, .sentencepiece = block};
    return shoal_normalizer_add(&t->normalizer, &step);
}

static shoal_status read_decoder(const model_message *m, const normalizer_message *spec,
                                 int32_t unk, shoal_tokenizer *t)
{
    const ProtobufCBinaryData *surface =
        m->trainer && m->trainer->has_unk_surface ? &m->trainer->unk_surface : NULL;
    shoal_decode_step step = {.kind = SHOAL_DECODE_SENTENCEPIECE};
    size_t bytes;
    if (spec->remove_extra_whitespaces)
        step.start = SIZE_MAX;
    else if (spec->add_dummy_prefix)
        step.start = 1;
    const char *piece = shoal_vocab_piece(t->vocab, unk, &bytes);
    SHOAL_TRY(shoal_pattern_compile_literal(piece, bytes, &step.pattern));
    const shoal_status st =
        surface ? shoal_strbuf_append(&step.text, (const char *)surface->data, surface->len)
                : shoal_strbuf_append(&step.text, UNKNOWN_SURFACE, strlen(UNKNOWN_SURFACE));
    if (st != SHOAL_OK) {
        shoal_pattern_free(step.pattern);
        return st;
    }
    return shoal_decoder_add(&t->decoder, &step);
}

/* A control piece by its name, or by the usual one when the model names none. */
static shoal_status push_control(const model_message *m, const shoal_vocab *vocab,
                                 const ProtobufCBinaryData *name, const char *usual, shoal_ids *out)
{
    const bool named = m->trainer && name->len;
    const char *text = named ? (const char *)name->data : usual;
    const int32_t id =
        shoal_vocab_find(vocab, text, named ? name->len : strlen(usual), SHOAL_TOKEN_SPECIAL);
    return id >= 0 ? shoal_ids_push(out, id) : SHOAL_OK;
}

static shoal_status read_around(const model_message *m, shoal_tokenizer *t)
{
    static const ProtobufCBinaryData none = {0};
    const Shoal__Sentencepiece__Trainer *trainer = m->trainer;
    SHOAL_TRY(push_control(m, t->vocab, trainer ? &trainer->bos_piece : &none, "<s>", &t->before));
    SHOAL_TRY(push_control(m, t->vocab, trainer ? &trainer->eos_piece : &none, "</s>", &t->after));
    SHOAL_TRY(shoal_added_set_create(&t->added_raw));
    return shoal_added_set_create(&t->added_normalized);
}

static shoal_status read_message(const model_message *m, shoal_tokenizer *t)
{
    const normalizer_message defaults = SHOAL__SENTENCEPIECE__NORMALIZER__INIT;
    const normalizer_message *spec = m->normalizer ? m->normalizer : &defaults;
    int32_t unk = -1;
    if (m->denormalizer && m->denormalizer->precompiled_charsmap.len)
        return shoal_fail(SHOAL_ERR_DATA, "SentencePiece models with a denormalizer are "
                                          "unsupported");
    SHOAL_TRY(read_pieces(m, t, &unk));
    SHOAL_TRY(read_model(m, unk, t));
    SHOAL_TRY(read_normalizer(m, spec, t));
    SHOAL_TRY(read_decoder(m, spec, unk, t));
    return read_around(m, t);
}

shoal_status shoal_tokenizer_read_sentencepiece(const void *model, size_t bytes, shoal_tokenizer *t)
{
    model_message *message;
    SHOAL_TRY(unpack(model, bytes, &message));
    const shoal_status st = read_message(message, t);
    free_message(message);
    return st;
}
