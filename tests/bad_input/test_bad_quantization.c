/* Quantization configs that must be refused: a good dense model whose config.json says something
 * else of it, however strange, long or slow to match. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bad_input/bad_folder.h"

/* The good model with this text as its quantization config. */
static shoal_maker *quantized(const char *text)
{
    static const char before[] = "\"tie_word_embeddings\"";
    shoal_maker *maker = good();
    const size_t room = strlen(text) + sizeof before + 64;
    char *to = malloc(room);
    assert_non_null(to);
    snprintf(to, room, "\"quantization_config\": %s,\n%s", text, before);
    edit(maker, "config.json", 0, "{", before, to);
    free(to);
    return maker;
}

#define GPTQ_4                   "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":32"
#define GPTQ(more)               GPTQ_4 ",\"sym\":true" more "}"
#define DYNAMIC(pattern, change) GPTQ(",\"dynamic\":{\"" pattern "\":" change "}")
#define COMPRESSED(more)                                                                           \
    "{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\"," more "}"
#define GROUP(more) COMPRESSED("\"config_groups\":{\"g\":{\"targets\":[\"Linear\"]," more "}}")

static const struct {
    const char *id, *text, *says, *also;
} texts[] = {
    {"a dense model", GPTQ(""), "says gptq", "no linear"},
    {"a number", "7", "quantization", ""},
    {"a method that is no text", "{\"quant_method\":7}", "quant_method", "string"},
    {"a method with a bell", "{\"quant_method\":\"g\\u0007\"}", "control character", ""},
    {"bits of 2^40", "{\"quant_method\":\"gptq\",\"bits\":1099511627776}", "bits is", ""},
    {"group of -2", "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":-2}", "group_size", "-2"},
    {"dynamic is a list", GPTQ(",\"dynamic\":[1]"), "dynamic", "object"},
    {"a rule that is a number", DYNAMIC("+:.*", "7"), "a rule of dynamic is not an object", ""},
    {"a rule of 5 bits", DYNAMIC("+:.*", "{\"bits\":5}"), "5 bits", ""},
    {"a rule with a back reference", DYNAMIC("(a)\\\\1", "{}"), "escape", "pattern"},
    {"a rule with look-behind", DYNAMIC("(?<=a)b", "{}"), "kind of group", "pattern"},
    {"a rule with a bell", DYNAMIC("(\\u0007", "{}"), "group without end", "pattern"},
    {"a rule that is too large", DYNAMIC("((((.{99}){99}){99}){99})", "{}"), "too large", ""},
    {"awq of 8 bits", "{\"quant_method\":\"awq\",\"bits\":8,\"group_size\":32}", "8 bits", ""},
    {"awq of no version",
     "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":32,\"version\":\"x\"}", "'x'", "gemv"},
    {"marlin with order", GPTQ(",\"is_marlin_format\":true,\"desc_act\":true"), "marlin",
     "desc_act"},
    {"no groups", COMPRESSED("\"config_groups\":7"), "config_groups", "object"},
    {"a group that is a list", COMPRESSED("\"config_groups\":{\"g\":[]}"), "group", "object"},
    {"targets are text",
     COMPRESSED("\"config_groups\":{\"g\":{\"targets\":\"x\",\"weights\":{\"num_bits\":4,"
                "\"group_size\":32}}}"),
     "targets", "list"},
    {"float weights", GROUP("\"weights\":{\"num_bits\":8,\"type\":\"float\"}"), "'float'", "int"},
    {"naive", GROUP("\"format\":\"naive-quantized\",\"weights\":{\"num_bits\":8}"),
     "'naive-quantized'", "pack-quantized"},
    {"blocks", GROUP("\"weights\":{\"num_bits\":4,\"strategy\":\"block\"}"), "'block'", "channel"},
    {"ignore holds numbers", COMPRESSED("\"ignore\":[7],\"config_groups\":{}"), "ignore", "0"},
};

static shoal_maker *text_of(int which)
{
    return quantized(texts[which].text);
}

/* `count` rules, each longer than the one before and none for a module of the model. */
static shoal_maker *many_rules(int count)
{
    const size_t room = (size_t)count * 64 + 256;
    char *text = malloc(room);
    assert_non_null(text);
    size_t at = (size_t)snprintf(text, room, GPTQ_4 ",\"sym\":true,\"dynamic\":{");
    for (int i = 0; i < count; i++)
        at += (size_t)snprintf(text + at, room - at, "%s\"+:(.*.*)*x%d\":{}", i ? "," : "", i);
    snprintf(text + at, room - at, "}}");
    shoal_maker *maker = quantized(text);
    free(text);
    return maker;
}

/* A pattern of so many parentheses. */
static shoal_maker *deep_rule(int levels)
{
    const size_t room = (size_t)levels + 256;
    char *text = malloc(room);
    assert_non_null(text);
    const int at = snprintf(text, room, GPTQ_4 ",\"sym\":true,\"dynamic\":{\"");
    memset(text + at, '(', (size_t)levels);
    snprintf(text + at + levels, room - (size_t)(at + levels), "\":{}}}");
    shoal_maker *maker = quantized(text);
    free(text);
    return maker;
}

/* A look-ahead within a look-ahead and so on: every level multiplies the steps. */
static shoal_maker *slow_rule(int arg)
{
    (void)arg;
    return quantized(DYNAMIC("((?=.*(?=.*(?=.*(?=.*(?=.*(?=.*(?=.*(?=.*x|.*y)|.*z)|.*1)|.*2)"
                             "|.*3)|.*4)|.*5)|.*6)|.)*7",
                             "{}"));
}

static void configs(void **state)
{
    row rows[LENGTH(texts)];
    (void)state;
    for (size_t i = 0; i < LENGTH(texts); i++)
        rows[i] = (row){texts[i].id, text_of, (int)i, DATA, texts[i].says, texts[i].also, 0, 0};
    check_rows(rows, LENGTH(texts));
}

/* How long it takes is asked of the release alone: with a sanitizer the same steps take minutes. */
#if SANITIZED
enum { RULES = 500, SLOW_ROWS = 0 };
#else
enum { RULES = 4096, SLOW_ROWS = 1 };
#endif

static const row long_rows[] = {
    {"many rules", many_rules, RULES, DATA, "says gptq", "no linear", 5, 0},
    {"4097 rules", many_rules, 4097, DATA, "4096 rules", "", 5, 0},
    {"33 parentheses", deep_rule, 33, DATA, "nested too deep", "pattern", 0, 0},
    {"10 000 parentheses", deep_rule, 10000, DATA, "too long", "pattern", 0, 0},
    {"a slow pattern", slow_rule, 0, DATA, "takes too long", "pattern", 10, 0},
};

static void long_configs(void **state)
{
    (void)state;
    check_rows(long_rows, LENGTH(long_rows) - 1 + SLOW_ROWS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configs),
        cmocka_unit_test(long_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
