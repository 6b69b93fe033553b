/* coordinator/text/template_lexer.h - a template's source as lexemes.
 *
 * White space is settled here, as model files expect it: trim_blocks (the line end behind a block
 * or comment goes), lstrip_blocks (white space before one on its line goes), the signs `-` and `+`
 * inside the tags, and no line end at the end of the template. Comments and raw blocks leave
 * nothing but data. */
#ifndef SHOAL_COORDINATOR_TEXT_TEMPLATE_LEXER_H
#define SHOAL_COORDINATOR_TEXT_TEMPLATE_LEXER_H

#include "coordinator/text/template_value.h"

#define SHOAL_TEMPLATE_BYTES_MAX (1u << 20)

typedef enum {
    SHOAL_LEXEME_DATA,
    SHOAL_LEXEME_OUTPUT_BEGIN, /* {{ */
    SHOAL_LEXEME_OUTPUT_END,
    SHOAL_LEXEME_BLOCK_BEGIN, /* {% */
    SHOAL_LEXEME_BLOCK_END,
    SHOAL_LEXEME_NAME,
    SHOAL_LEXEME_LITERAL, /* a string, an integer or a float */
    SHOAL_LEXEME_OPERATOR,
    SHOAL_LEXEME_END
} shoal_lexeme_kind;

typedef struct {
    shoal_lexeme_kind kind;
    int line;
    shoal_text text;   /* as written; DATA: what is to be put out */
    shoal_value value; /* LITERAL */
} shoal_lexeme;

/* The lexemes in heap memory, the last one END. `name` stands for the template in sentences. */
SHOAL_MUST_USE shoal_status shoal_lex(shoal_heap *heap, const char *name, shoal_text source,
                                      const shoal_lexeme **out);

#endif
