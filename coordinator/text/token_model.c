#include "coordinator/text/token_model.h"

#include "proto/arena.h"
#include "proto/bytes.h"

shoal_status shoal_token_scratch_reserve(shoal_token_scratch *scratch, int which, size_t count,
                                         size_t size)
{
    uint64_t need;
    if (!shoal_mul_u64(count, size, &need))
        return shoal_fail(SHOAL_ERR_TEMPORARY, "a word of %zu characters is too long", count);
    if (need <= scratch->bytes[which])
        return SHOAL_OK;
    if (need < 2 * (uint64_t)scratch->bytes[which])
        need = 2 * (uint64_t)scratch->bytes[which];
    SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, need, 1, &scratch->block[which]));
    scratch->bytes[which] = (size_t)need;
    return SHOAL_OK;
}

void shoal_token_scratch_free(shoal_token_scratch *scratch)
{
    shoal_free(scratch->block[0]);
    shoal_free(scratch->block[1]);
    shoal_strbuf_free(&scratch->text);
    *scratch = (shoal_token_scratch){0};
}
