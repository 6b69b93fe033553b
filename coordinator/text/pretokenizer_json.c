/* "pre_tokenizer" of tokenizer.json, as steps of pretokenizer.h. */
#include <string.h>

#include "coordinator/text/json_fields.h"
#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/tokenizer_steps.h"

#define PRE "pre_tokenizer"

/* How GPT-2 cuts text; ByteLevel does it unless told otherwise. */
static const char gpt2_words[] = "'(?:s|t|re|ve|m|ll|d)| ?\\p{L}+| ?\\p{N}+|"
                                 " ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static const struct {
    const char *name;
    shoal_split_behavior behavior;
} behaviors[] = {
    {"Removed", SHOAL_SPLIT_REMOVED},
    {"Isolated", SHOAL_SPLIT_ISOLATED},
    {"MergedWithPrevious", SHOAL_SPLIT_WITH_PREVIOUS},
    {"MergedWithNext", SHOAL_SPLIT_WITH_NEXT},
    {"Contiguous", SHOAL_SPLIT_CONTIGUOUS},
};

static shoal_status read_behavior(const json_t *json, shoal_split_behavior *out)
{
    const char *name;
    SHOAL_TRY(shoal_json_name(json, PRE, "behavior", &name));
    for (size_t i = 0; i < sizeof behaviors / sizeof behaviors[0]; i++) {
        if (strcmp(name, behaviors[i].name) == 0) {
            *out = behaviors[i].behavior;
            return SHOAL_OK;
        }
    }
    return shoal_fail(SHOAL_ERR_DATA, PRE ": behavior \"%.64s\" is unknown", name);
}

static shoal_status add_split(shoal_tokenizer *t, shoal_pattern *pattern,
                              shoal_split_behavior behavior, bool invert)
{
    return shoal_pretokenizer_add(&t->pretokenizer,
                                  &(shoal_pretoken_step){.kind = SHOAL_PRETOKEN_SPLIT,
                                                         .pattern = pattern,
                                                         .behavior = behavior,
                                                         .invert = invert});
}

static shoal_status add_regex(shoal_tokenizer *t, const char *regex, shoal_split_behavior behavior)
{
    shoal_pattern *pattern;
    SHOAL_TRY(shoal_pattern_compile(regex, strlen(regex), &pattern));
    return add_split(t, pattern, behavior, false);
}

static shoal_status read_split(const json_t *json, shoal_tokenizer *t)
{
    shoal_split_behavior behavior = SHOAL_SPLIT_ISOLATED;
    bool invert = false;
    shoal_pattern *pattern = NULL;
    SHOAL_TRY(read_behavior(json, &behavior));
    SHOAL_TRY(shoal_json_bool(json, PRE, "invert", false, &invert));
    SHOAL_TRY(shoal_step_pattern(json, PRE, &pattern));
    return add_split(t, pattern, behavior, invert);
}

static shoal_status add_prefix_space(shoal_tokenizer *t)
{
    shoal_pretoken_step step = {.kind = SHOAL_PRETOKEN_PREFIX};
    SHOAL_TRY(shoal_strbuf_append(&step.text, " ", 1));
    return shoal_pretokenizer_add(&t->pretokenizer, &step);
}

static shoal_status read_byte_level(const json_t *json, shoal_tokenizer *t)
{
    bool prefix_space, use_regex;
    SHOAL_TRY(shoal_json_bool(json, PRE, "add_prefix_space", true, &prefix_space));
    SHOAL_TRY(shoal_json_bool(json, PRE, "use_regex", true, &use_regex));
    if (prefix_space)
        SHOAL_TRY(add_prefix_space(t));
    if (use_regex)
        SHOAL_TRY(add_regex(t, gpt2_words, SHOAL_SPLIT_ISOLATED));
    return shoal_pretokenizer_add(&t->pretokenizer,
                                  &(shoal_pretoken_step){.kind = SHOAL_PRETOKEN_BYTE_ALPHABET});
}

static shoal_status read_digits(const json_t *json, shoal_tokenizer *t)
{
    bool single;
    SHOAL_TRY(shoal_json_bool(json, PRE, "individual_digits", false, &single));
    return add_regex(t, "\\p{N}", single ? SHOAL_SPLIT_ISOLATED : SHOAL_SPLIT_CONTIGUOUS);
}

/* Punctuation of Unicode and what else ASCII counts as such. */
static const char punctuation[] = "[\\p{P}$+<=>^`|~]";

static shoal_status read_punctuation(const json_t *json, shoal_tokenizer *t)
{
    shoal_split_behavior behavior = SHOAL_SPLIT_ISOLATED;
    if (shoal_json_member(json, "behavior"))
        SHOAL_TRY(read_behavior(json, &behavior));
    return add_regex(t, punctuation, behavior);
}

/* Words as this one step counts them, which is not what \w means in a pattern of the file. */
#define WORD                                                                                       \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}\\x{24b6}-\\x{24e9}"                       \
    "\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"

static shoal_status read_whitespace(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    shoal_pattern *pattern;
    static const char words[] = "[" WORD "]+|[^" WORD "\\s]+";
    SHOAL_TRY(shoal_pattern_compile(words, strlen(words), &pattern));
    return add_split(t, pattern, SHOAL_SPLIT_REMOVED, true);
}

static shoal_status read_whitespace_split(const json_t *json, shoal_tokenizer *t)
{
    (void)json;
    return add_regex(t, "\\s", SHOAL_SPLIT_REMOVED);
}

static shoal_status read_bert(const json_t *json, shoal_tokenizer *t)
{
    SHOAL_TRY(read_whitespace_split(json, t));
    return add_regex(t, punctuation, SHOAL_SPLIT_ISOLATED);
}

static shoal_status read_delimiter(const json_t *json, shoal_tokenizer *t)
{
    shoal_strbuf text = {0};
    shoal_pattern *pattern;
    SHOAL_TRY(shoal_step_character(json, PRE, "delimiter", &text));
    const shoal_status st = shoal_pattern_compile_literal(text.data, text.bytes, &pattern);
    shoal_strbuf_free(&text);
    return st == SHOAL_OK ? add_split(t, pattern, SHOAL_SPLIT_REMOVED, false) : st;
}

static shoal_status read_fixed_length(const json_t *json, shoal_tokenizer *t)
{
    size_t length = 5;
    if (shoal_json_member(json, "length"))
        SHOAL_TRY(shoal_step_count(json, PRE, "length", &length));
    if (length == 0)
        return shoal_fail(SHOAL_ERR_DATA, PRE ": \"length\" is 0");
    return shoal_pretokenizer_add(
        &t->pretokenizer, &(shoal_pretoken_step){.kind = SHOAL_PRETOKEN_LENGTH, .length = length});
}

/* ---- Metaspace: a visible character for the space, also before a word ---- */

static shoal_status add_metaspace(shoal_tokenizer *t, const shoal_strbuf *mark)
{
    shoal_pretoken_step step = {.kind = SHOAL_PRETOKEN_REPLACE};
    SHOAL_TRY(shoal_pattern_compile_literal(" ", 1, &step.pattern));
    const shoal_status st = shoal_strbuf_append(&step.text, mark->data, mark->bytes);
    if (st != SHOAL_OK) {
        shoal_pattern_free(step.pattern);
        return st;
    }
    return shoal_pretokenizer_add(&t->pretokenizer, &step);
}

static shoal_status add_metaspace_prefix(shoal_tokenizer *t, const shoal_strbuf *mark,
                                         bool first_only)
{
    shoal_pretoken_step step = {.kind = SHOAL_PRETOKEN_PREFIX, .first_only = first_only};
    SHOAL_TRY(shoal_strbuf_append(&step.text, mark->data, mark->bytes));
    return shoal_pretokenizer_add(&t->pretokenizer, &step);
}

static shoal_status add_metaspace_split(shoal_tokenizer *t, const shoal_strbuf *mark)
{
    shoal_pattern *pattern;
    SHOAL_TRY(shoal_pattern_compile_literal(mark->data, mark->bytes, &pattern));
    return add_split(t, pattern, SHOAL_SPLIT_WITH_NEXT, false);
}

static shoal_status read_metaspace(const json_t *json, shoal_tokenizer *t)
{
    shoal_status st = SHOAL_OK;
    shoal_strbuf mark = {0};
    shoal_metaspace_prefix prefix;
    bool cut;
    SHOAL_TRY(shoal_json_bool(json, PRE, "split", true, &cut));
    SHOAL_TRY(shoal_step_metaspace(json, PRE, &prefix, &mark));
    SHOAL_TRY_GOTO(add_metaspace(t, &mark), done);
    if (prefix != SHOAL_METASPACE_NEVER)
        SHOAL_TRY_GOTO(add_metaspace_prefix(t, &mark, prefix == SHOAL_METASPACE_FIRST), done);
    if (cut)
        st = add_metaspace_split(t, &mark);
done:
    shoal_strbuf_free(&mark);
    return st;
}

static const shoal_step_row rows[] = {
    {"Split", read_split},
    {"ByteLevel", read_byte_level},
    {"Metaspace", read_metaspace},
    {"Digits", read_digits},
    {"Punctuation", read_punctuation},
    {"Whitespace", read_whitespace},
    {"WhitespaceSplit", read_whitespace_split},
    {"BertPreTokenizer", read_bert},
    {"CharDelimiterSplit", read_delimiter},
    {"FixedLength", read_fixed_length},
};

static const shoal_step_part pretokenizer_part = {PRE, "pretokenizers", rows,
                                                  sizeof rows / sizeof rows[0]};

shoal_status shoal_tokenizer_read_pretokenizer(const json_t *json, shoal_tokenizer *t)
{
    return shoal_step_read(&pretokenizer_part, json, t);
}
