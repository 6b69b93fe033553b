#include "coordinator/text/gguf_pre.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/utf8.h"

/* ---- patterns ---- */

#define SPACES      "|\\s+(?!\\S)|\\s+"
#define GPT2        "'(?:s|t|re|ve|m|ll|d)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+" SPACES
#define SUFFIXES    "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LINES       "\\s*[\\r\\n]+" SPACES
#define WORDS       SUFFIXES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define SIGNS       "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" LINES
#define LLAMA3      WORDS "\\p{N}{1,3}" SIGNS
#define QWEN2       WORDS "\\p{N}" SIGNS
#define DIGIT       "\\p{N}"
#define HIGH        "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOW         "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define BEFORE      "[^\\r\\n\\p{L}\\p{N}]?"
#define CASED(end)  BEFORE HIGH "*" LOW "+" end "|" BEFORE HIGH "+" LOW "*" end "|"
#define SIGNS_SLASH "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" LINES
#define TEKKEN      CASED("") "\\p{N}" SIGNS_SLASH
#define GPT4O       CASED(SUFFIXES "?") "\\p{N}{1,3}" SIGNS_SLASH

#define DEEPSEEK_CODER_CJK "[\\x{4E00}-\\x{9FA5}\\x{0800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
#define DEEPSEEK3_CJK      "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"
#define DEEPSEEK3_WORDS                                                                            \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"                                       \
    "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" LINES

static const shoal_gguf_pre rows[] = {
    {"gpt-2", false, false, false, {GPT2}},
    {"phi-2", false, false, false, {GPT2}},
    {"mpt", true, false, false, {GPT2}},
    {"olmo", true, false, false, {GPT2}},
    {"llama-bpe", false, true, true, {LLAMA3}},
    {"smaug-bpe", false, false, true, {LLAMA3}},
    {"dbrx", false, false, false, {LLAMA3}},
    {"qwen2", true, false, false, {QWEN2}},
    {"deepseek-r1-qwen", true, false, true, {QWEN2}},
    {"starcoder", false, false, false, {DIGIT, GPT2}},
    {"refact", false, false, false, {DIGIT, GPT2}},
    {"smollm", false, false, false, {DIGIT, GPT2}},
    {"command-r", true, false, true, {DIGIT, GPT2}},
    {"tekken", false, true, true, {TEKKEN}},
    {"gpt-4o", false, false, false, {GPT4O}},
    {"deepseek-coder",
     false,
     false,
     true,
     {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DEEPSEEK_CODER_CJK, DIGIT}},
    {"deepseek-v3", false, false, true, {"\\p{N}{1,3}", DEEPSEEK3_CJK, DEEPSEEK3_WORDS}},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* ---- looking up ---- */

static shoal_status unknown(const char *name, size_t bytes)
{
    char shown[SHOAL_UTF8_SHOW], known[512] = "";
    size_t used = 0;
    for (size_t i = 0; i < ROWS && used < sizeof known; i++)
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "",
                                 rows[i].name);
    if (bytes == 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          "tokenizer.ggml.pre is missing: the file does not say how texts are cut; "
                          "use the model's tokenizer.json");
    return shoal_fail(SHOAL_ERR_DATA,
                      "tokenizer.ggml.pre \"%s\" is unknown; known are %s; use the model's "
                      "tokenizer.json",
                      shoal_utf8_show(name, bytes, shown), known);
}

shoal_status shoal_gguf_pre_find(const char *name, size_t bytes, const shoal_gguf_pre **out)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (bytes == strlen(rows[i].name) && memcmp(name, rows[i].name, bytes) == 0) {
            *out = &rows[i];
            return SHOAL_OK;
        }
    }
    return unknown(name, bytes);
}

/* ---- its steps ---- */

static shoal_status add_cut(shoal_tokenizer *t, const char *regex)
{
    shoal_pretoken_step step = {.kind = SHOAL_PRETOKEN_SPLIT, .behavior = SHOAL_SPLIT_ISOLATED};
    SHOAL_TRY(shoal_pattern_compile(regex, strlen(regex), &step.pattern));
    return shoal_pretokenizer_add(&t->pretokenizer, &step);
}

shoal_status shoal_gguf_pre_apply(const shoal_gguf_pre *pre, shoal_tokenizer *t)
{
    if (pre->nfc)
        SHOAL_TRY(
            shoal_normalizer_add(&t->normalizer, &(shoal_normal_step){.kind = SHOAL_NORMAL_FORM,
                                                                      .form = SHOAL_UNICODE_NFC}));
    for (size_t i = 0; i < SHOAL_GGUF_PRE_CUTS_MAX && pre->cuts[i]; i++)
        SHOAL_TRY(add_cut(t, pre->cuts[i]));
    SHOAL_TRY(shoal_pretokenizer_add(&t->pretokenizer,
                                     &(shoal_pretoken_step){.kind = SHOAL_PRETOKEN_BYTE_ALPHABET}));
    return shoal_decoder_add(&t->decoder, &(shoal_decode_step){.kind = SHOAL_DECODE_BYTE_LEVEL});
}
