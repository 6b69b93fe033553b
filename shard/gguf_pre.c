/* shard/gguf_pre.c - see gguf_pre.h. */
#include "shard/gguf_pre.h"

#include <stdio.h>

#include "proto/bytes.h"
#include "shard/quoted.h"

/* ---- patterns ---- */

#define SPACES   "|\\s+(?!\\S)|\\s+"
#define GPT2     "'(?:s|t|re|ve|m|ll|d)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+" SPACES
#define SUFFIXES "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LINES    "\\s*[\\r\\n]+" SPACES
#define WORDS    SUFFIXES "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define SIGNS    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" LINES
#define LLAMA3   WORDS "\\p{N}{1,3}" SIGNS
#define MINICPM5 WORDS "\\p{N}+" SIGNS
#define QWEN35                                                                                     \
    SUFFIXES "|" BEFORE "[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" LINES
#define QWEN2       WORDS "\\p{N}" SIGNS
#define DIGIT       "\\p{N}"
#define HIGH        "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOW         "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define BEFORE      "[^\\r\\n\\p{L}\\p{N}]?"
#define CASED(end)  BEFORE HIGH "*" LOW "+" end "|" BEFORE HIGH "+" LOW "*" end "|"
#define SIGNS_SLASH "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" LINES
#define TEKKEN      CASED("") "\\p{N}" SIGNS_SLASH
#define GPT4O       CASED(SUFFIXES "?") "\\p{N}{1,3}" SIGNS_SLASH

/* Words up to punctuation; the parentheses and the bar are characters of the class. */
#define BLOOM " ?[^(\\s|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"
#define BAILING                                                                                    \
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|" \
    "\\s*[\\r\\n]" SPACES
#define SEED_CODER WORDS "\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" LINES
#define EXAONE_MOE                                                                                 \
    SUFFIXES "|" BEFORE                                                                            \
             "(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|"       \
             "\\s*[\\r\\n]" SPACES

#define DEEPSEEK_CODER_CJK "[\\x{4E00}-\\x{9FA5}\\x{0800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
/* Cased letters, as an older Unicode knew them. */
#define DEEPSEEK_LLM_LETTERS                                                                       \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}"                 \
    "\\x{1C4}-\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}"         \
    "\\x{37F}\\x{386}\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}"                  \
    "\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}"                       \
    "\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"                 \
    "\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}"                 \
    "\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}"        \
    "\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}"         \
    "\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}"                 \
    "\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}"                  \
    "\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}"                   \
    "\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}"        \
    "\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}"         \
    "\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}"                  \
    "\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}"                 \
    "\\x{FB13}-\\x{FB17}\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}"               \
    "\\x{104B0}-\\x{104D3}\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}"         \
    "\\x{118A0}-\\x{118DF}\\x{1E900}-\\x{1E943}"
#define DEEPSEEK_LLM_SIGNS                                                                         \
    "!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}"
#define DEEPSEEK3_CJK "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"
#define DEEPSEEK3_WORDS                                                                            \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|"                                       \
    "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" LINES

/* Rows of one form stand together. */
static const shoal_gguf_pre rows[] = {
    {"gpt-2", false, false, false, {GPT2}},
    {"phi-2", false, false, false, {GPT2}},
    {"a.x-4.0", false, false, false, {GPT2}},
    {"exaone4", false, false, false, {GPT2}},
    {"gigachat", false, false, false, {GPT2}},
    {"granite-docling", false, false, false, {GPT2}},
    {"jais", false, false, false, {GPT2}},
    {"mellum", false, false, false, {GPT2}},
    {"trillion", false, false, false, {GPT2}},
    {"mpt", true, false, false, {GPT2}},
    {"olmo", true, false, false, {GPT2}},
    {"llama-bpe", false, true, true, {LLAMA3}},
    {"llama3", false, true, true, {LLAMA3}},
    {"llama-v3", false, true, true, {LLAMA3}},
    {"falcon3", false, true, true, {LLAMA3}},
    {"falcon-h1", false, true, true, {LLAMA3}},
    {"lfm2", false, true, true, {LLAMA3}},
    {"midm-2.0", false, true, true, {LLAMA3}},
    {"pixtral", false, true, true, {LLAMA3}},
    {"smaug-bpe", false, false, true, {LLAMA3}},
    {"dbrx", false, false, false, {LLAMA3}},
    {"chatglm-bpe", false, false, false, {LLAMA3}},
    {"glm4", false, true, false, {LLAMA3}},
    {"glm5", false, true, false, {LLAMA3}},
    {"minicpm5", false, true, false, {"\\p{N}{1,3}", MINICPM5}},
    {"qwen2", true, false, false, {QWEN2}},
    {"megrez", true, false, false, {QWEN2}},
    {"deepseek-r1-qwen", true, false, true, {QWEN2}},
    {"grok-2", false, false, false, {QWEN2}},
    {"hunyuan", false, false, false, {QWEN2}},
    {"kormo", false, false, false, {QWEN2}},
    {"solar-open", false, false, false, {QWEN2}},
    {"stablelm2", false, false, false, {QWEN2}},
    {"qwen35", true, false, false, {QWEN35}},
    {"falcon", false, false, false, {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {"starcoder", false, false, false, {DIGIT, GPT2}},
    {"codeshell", false, false, false, {DIGIT, GPT2}},
    {"exaone", false, false, false, {DIGIT, GPT2}},
    {"mellum2", false, false, false, {DIGIT, GPT2}},
    {"minerva-7b", false, false, false, {DIGIT, GPT2}},
    {"refact", false, false, false, {DIGIT, GPT2}},
    {"smollm", false, false, false, {DIGIT, GPT2}},
    {"command-r", true, false, true, {DIGIT, GPT2}},
    {"tekken", false, true, true, {TEKKEN}},
    {"gpt-4o", false, false, false, {GPT4O}},
    {"kanana2", false, false, false, {GPT4O}},
    {"llama4", false, false, false, {GPT4O}},
    {"minimax-m2", false, false, false, {GPT4O}},
    {"bloom", false, false, false, {BLOOM}},
    {"gpt3-finnish", false, false, false, {BLOOM}},
    {"poro-chat", false, false, false, {BLOOM}},
    {"viking", false, false, false, {BLOOM, DIGIT}},
    {"bailingmoe", false, false, false, {BAILING}},
    {"bailingmoe2", false, false, false, {BAILING}},
    {"llada-moe", false, false, false, {BAILING}},
    {"seed-coder", false, false, false, {SEED_CODER}},
    {"exaone-moe", false, false, false, {EXAONE_MOE}},
    {"deepseek-llm",
     false,
     false,
     true,
     {"[\\r\\n]", "\\s?[" DEEPSEEK_LLM_LETTERS "]+", "\\s?[" DEEPSEEK_LLM_SIGNS "]+", "\\s+$",
      DEEPSEEK_CODER_CJK, "\\p{N}+"}},
    {"deepseek-coder",
     false,
     false,
     true,
     {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DEEPSEEK_CODER_CJK, DIGIT}},
    {"deepseek-v3", false, false, true, {"\\p{N}{1,3}", DEEPSEEK3_CJK, DEEPSEEK3_WORDS}},
    {"hunyuan-dense", false, false, false, {"\\p{N}{1,3}", DEEPSEEK3_CJK, DEEPSEEK3_WORDS}},
    {"joyai-llm", false, false, false, {"\\p{N}{1,3}", DEEPSEEK3_CJK, DEEPSEEK3_WORDS}},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

/* ---- looking up ---- */

static shoal_status unknown(const char *name, size_t bytes)
{
    char text[64], shown[SHOAL_QUOTED_ROOM];
    if (bytes == 0)
        return shoal_fail(SHOAL_ERR_DATA,
                          "tokenizer.ggml.pre is missing: the file does not say how texts are cut; "
                          "use the model's tokenizer.json");
    (void)snprintf(text, sizeof text, "%.*s", (int)(bytes < sizeof text ? bytes : sizeof text - 1),
                   name);
    return shoal_fail(
        SHOAL_ERR_DATA,
        "tokenizer.ggml.pre \"%s\" is none of the %d known ways to cut texts; use the "
        "model's tokenizer.json",
        shoal_quoted(text, shown, sizeof shown), ROWS);
}

shoal_status shoal_gguf_pre_find(const char *name, size_t bytes, const shoal_gguf_pre **out)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (shoal_text_is(name, bytes, rows[i].name)) {
            *out = &rows[i];
            return SHOAL_OK;
        }
    }
    return unknown(name, bytes);
}
