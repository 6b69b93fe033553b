#include "coordinator/text/word_level.h"

#include "coordinator/text/utf8.h"
#include "proto/arena.h"

typedef struct {
    shoal_token_model base; /* first: the two are converted into one another */
    int32_t unk;
} word_level;

static shoal_status encode(const shoal_token_model *model, shoal_token_scratch *scratch,
                           const char *word, size_t bytes, shoal_ids *out)
{
    (void)scratch;
    char shown[SHOAL_UTF8_SHOW];
    int32_t id = shoal_vocab_find(model->vocab, word, bytes, SHOAL_TOKEN_MODEL);
    if (id < 0)
        id = ((const word_level *)(const void *)model)->unk;
    if (id < 0)
        return shoal_fail(SHOAL_ERR_DATA, "\"%s\" is no token and there is none for unknown words",
                          shoal_utf8_show(word, bytes, shown));
    return shoal_ids_push(out, id);
}

static void destroy(shoal_token_model *model)
{
    shoal_free(model);
}

static const shoal_token_model_kind word_level_kind = {"WordLevel", encode, destroy};

shoal_status shoal_word_level_create(const shoal_vocab *vocab, int32_t unk, shoal_token_model **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(word_level), &block));
    word_level *m = block;
    *m = (word_level){{&word_level_kind, vocab}, unk};
    *out = &m->base;
    return SHOAL_OK;
}
