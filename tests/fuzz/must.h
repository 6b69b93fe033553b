/* tests/fuzz/must.h - promises whose breach is a finding. */
#ifndef SHOAL_TESTS_FUZZ_MUST_H
#define SHOAL_TESTS_FUZZ_MUST_H

#include <stdbool.h>
#include <stdlib.h>

#include "proto/status.h"

static inline void must(bool holds)
{
    if (!holds)
        abort();
}

/* What was recorded last is a sentence of one line. */
static inline void must_be_sentence(void)
{
    must(shoal_error_text()[0] != '\0');
    for (const char *c = shoal_error_text(); *c; c++)
        must((unsigned char)*c >= 0x20 && *c != 0x7f);
}

/* Bad data was refused with such a one. */
static inline void must_be_refusal(shoal_status st)
{
    must(st == SHOAL_ERR_DATA);
    must_be_sentence();
}

#endif
