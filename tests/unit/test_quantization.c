/* Quantization configs of every method: what they say, defaults, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "shard/quantization.h"

#define GPTQ(bits_, group_, symmetric_, desc_, act_, zeros_)                                       \
    {                                                                                              \
        .method = SHOAL_METHOD_GPTQ, .bits = bits_, .group = group_, .symmetric = symmetric_,      \
        .desc_act = desc_, .act_order = act_, .zeros = zeros_                                      \
    }
#define AWQ(layout_, symmetric_)                                                                   \
    {                                                                                              \
        .method = SHOAL_METHOD_AWQ, .bits = 4, .group = 64, .symmetric = symmetric_,               \
        .layout = layout_                                                                          \
    }
#define MARLIN(group_)                                                                             \
    {                                                                                              \
        .method = SHOAL_METHOD_GPTQ, .bits = 4, .group = group_, .symmetric = true,                \
        .zeros = SHOAL_ZEROS_MINUS_ONE, .layout = SHOAL_LAYOUT_MARLIN                              \
    }

#define COMPRESSED(bits_, group_, symmetric_, layout_, per_token_)                                 \
    {                                                                                              \
        .method = SHOAL_METHOD_COMPRESSED, .bits = bits_, .group = group_,                         \
        .symmetric = symmetric_, .layout = layout_, .per_token = per_token_                        \
    }

/* A compressed-tensors config with one group; `more` ends the group. */
#define CT(format, targets, weights, more)                                                         \
    "{\"quant_method\":\"compressed-tensors\",\"format\":\"" format                                \
    "\",\"config_groups\":{\"group_0\":{\"targets\":" targets ",\"weights\":" weights more "}}}"
#define WEIGHTS(bits, more) "{\"num_bits\":" bits "," more "}"
#define TOKEN                                                                                      \
    ",\"input_activations\":{\"num_bits\":8,\"type\":\"int\",\"dynamic\":true,"                    \
    "\"strategy\":\"token\"}"

/* Quantization configs: names of both generations, defaults, and what is not read. */
static const struct {
    const char *text, *error; /* error NULL: parses */
    shoal_quantization want;
} config_cases[] = {
    {NULL, NULL, {.method = SHOAL_METHOD_NONE}},
    {"{\"bits\":4,\"group_size\":128,\"sym\":true}", NULL,
     GPTQ(4, 128, true, false, false, SHOAL_ZEROS_MINUS_ONE)},
    {"{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":-1,\"desc_act\":true}", NULL,
     GPTQ(8, -1, true, true, false, SHOAL_ZEROS_MINUS_ONE)},
    {"{\"method\":\"gptq\",\"format\":\"gptq_v2\",\"bits\":4,\"group_size\":32,"
     "\"desc_act\":true,\"sym\":false}",
     NULL, GPTQ(4, 32, false, true, true, SHOAL_ZEROS_PLAIN)},
    {"{\"method\":\"gptq\",\"bits\":4,\"group_size\":32,\"desc_act\":true,"
     "\"meta\":{\"static_groups\":true,\"quantizer\":\"gptqmodel:0.9.0\"}}",
     NULL, GPTQ(4, 32, true, true, false, SHOAL_ZEROS_MINUS_ONE_WORD)},
    {"{\"method\":\"gptq\",\"bits\":4,\"group_size\":32,"
     "\"meta\":{\"quantizer\":[\"optimum:1\",\"gptqmodel:0.8.7\"]}}",
     NULL, GPTQ(4, 32, true, false, false, SHOAL_ZEROS_MINUS_ONE)},
    {"{\"method\":\"gptq\",\"bits\":3,\"group_size\":32,"
     "\"meta\":{\"quantizer\":[\"gptqmodel:7.7.0\"]}}",
     NULL, GPTQ(3, 32, true, false, false, SHOAL_ZEROS_MINUS_ONE)},
    {"{\"w_bit\":4,\"q_group_size\":128,\"zero_point\":true,\"version\":\"GEMM\"}",
     NULL,
     {.method = SHOAL_METHOD_AWQ, .bits = 4, .group = 128, .layout = SHOAL_LAYOUT_PLAIN}},
    {"{\"bits\":5,\"group_size\":128}", "5 bits", {0}},
    {"{\"bits\":4,\"group_size\":0}", "group_size is 0", {0}},
    {"{\"bits\":4}", "group_size is missing", {0}},
    {"{\"bits\":\"4\",\"group_size\":128}", "bits is not an integer", {0}},
    {"{\"bits\":4,\"group_size\":128,\"sym\":1}", "sym is not true or false", {0}},
    {"{\"bits\":4,\"group_size\":128,\"checkpoint_format\":\"marlin\"}", NULL, MARLIN(128)},
    {"{\"bits\":4,\"group_size\":-1,\"is_marlin_format\":true}", NULL, MARLIN(-1)},
    {"{\"bits\":8,\"group_size\":128,\"is_marlin_format\":true}", "marlin with 8 bits", {0}},
    {"{\"quant_method\":\"marlin\",\"group_size\":128}", NULL, MARLIN(128)},
    {"{\"quant_method\":\"marlin\",\"bits\":8,\"group_size\":128}", "marlin with 8 bits", {0}},
    {"{\"quant_method\":\"marlin\"}", "group_size is missing", {0}},
    {"{\"bits\":4,\"group_size\":128,\"is_marlin_format\":true,\"sym\":false}", "sym false", {0}},
    {"{\"bits\":4,\"group_size\":128,\"is_marlin_format\":true,\"desc_act\":true}",
     "desc_act true",
     {0}},
    {"{\"bits\":4,\"group_size\":128,\"checkpoint_format\":\"gptq_p\"}", "'gptq_p'", {0}},
    {"{\"bits\":4,\"group_size\":128,\"pack_dtype\":\"int16\"}", "int16", {0}},
    {"{\"bits\":4,\"group_size\":128,\"dynamic\":{\"-:.*gate.*\":{}}}", NULL,
     GPTQ(4, 128, true, false, false, SHOAL_ZEROS_MINUS_ONE)},
    {"{\"bits\":4,\"group_size\":128,\"dynamic\":{\"+:.*down.*\":{\"bits\":8}}}", NULL,
     GPTQ(4, 128, true, false, false, SHOAL_ZEROS_MINUS_ONE)},
    {"{\"bits\":4,\"group_size\":128,\"dynamic\":{\"+:.*down.*\":{\"bits\":5}}}", "5 bits", {0}},
    {"{\"bits\":4,\"group_size\":128,\"dynamic\":{\"(down\":{}}}", "the pattern (down", {0}},
    {"{\"bits\":4,\"group_size\":128,\"dynamic\":[]}", "dynamic is not an object", {0}},
    {"{\"bits\":4,\"group_size\":128,\"dynamic\":{\"down\":8}}", "a rule of dynamic is not", {0}},
    {"{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64,\"version\":\"gemv\"}", NULL,
     AWQ(SHOAL_LAYOUT_GEMV, false)},
    {"{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64,\"version\":\"GEMV_fast\"}", NULL,
     AWQ(SHOAL_LAYOUT_GEMV_FAST, false)},
    {"{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64,\"version\":\"marlin\","
     "\"zero_point\":false}",
     NULL, AWQ(SHOAL_LAYOUT_MARLIN, true)},
    {"{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64,\"version\":\"marlin\","
     "\"zero_point\":true}",
     "zero_point is true",
     {0}},
    {"{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64,\"version\":\"exllama\"}",
     "'exllama'",
     {0}},
    {"{\"quant_method\":\"awq\",\"bits\":8,\"group_size\":64}", "awq with 8 bits", {0}},
    {CT("pack-quantized", "[\"Linear\"]", WEIGHTS("4", "\"group_size\":128"), ""), NULL,
     COMPRESSED(4, 128, true, SHOAL_LAYOUT_PACKED, false)},
    {CT("pack-quantized", "[\"Linear\"]",
        WEIGHTS("8", "\"strategy\":\"channel\",\"symmetric\":false"), TOKEN),
     NULL, COMPRESSED(8, -1, false, SHOAL_LAYOUT_PACKED, true)},
    {CT("int-quantized", "[\"Linear\"]", WEIGHTS("8", "\"strategy\":\"tensor\""), TOKEN), NULL,
     COMPRESSED(8, -1, true, SHOAL_LAYOUT_BYTES, true)},
    {CT("int-quantized", "[\"Linear\"]",
        WEIGHTS("8", "\"strategy\":\"group\",\"group_size\":64,\"actorder\":\"static\""), TOKEN),
     NULL, COMPRESSED(8, 64, true, SHOAL_LAYOUT_BYTES, false)},
    {CT("mixed-precision", "[\"Linear\"]", WEIGHTS("4", "\"group_size\":32"),
        ",\"format\":\"pack-quantized\""),
     NULL, COMPRESSED(4, 32, true, SHOAL_LAYOUT_PACKED, false)},
    {CT("mixed-precision", "[\"Linear\"]", WEIGHTS("4", "\"group_size\":32"), ""),
     "'mixed-precision'",
     {0}},
    {CT("naive-quantized", "[]", WEIGHTS("8", "\"group_size\":-1"), ""), "'naive-quantized'", {0}},
    {CT("float-quantized", "[]", WEIGHTS("8", "\"group_size\":-1"), ""), "'float-quantized'", {0}},
    {CT("pack-quantized", "[]", WEIGHTS("4", "\"type\":\"float\""), ""), "type 'float'", {0}},
    {CT("pack-quantized", "[]", WEIGHTS("3", "\"group_size\":128"), ""), "of 3 bits", {0}},
    {CT("int-quantized", "[]", WEIGHTS("4", "\"group_size\":128"), ""), "of 4 bits; 8 is", {0}},
    {CT("pack-quantized", "[]", WEIGHTS("4", "\"group_size\":0"), ""), "group_size is 0", {0}},
    {CT("pack-quantized", "[]", WEIGHTS("4", "\"strategy\":\"group\""), ""), "no group_size", {0}},
    {CT("pack-quantized", "[]", WEIGHTS("4", "\"strategy\":\"block\""), ""), "'block'", {0}},
    {CT("pack-quantized", "7", WEIGHTS("4", "\"group_size\":32"), ""),
     "targets is not a list",
     {0}},
    {CT("pack-quantized", "[7]", WEIGHTS("4", "\"group_size\":32"), ""),
     "holds no string at 0",
     {0}},
    {CT("pack-quantized", "[\"re:(\"]", WEIGHTS("4", "\"group_size\":32"), ""), "pattern (", {0}},
    {CT("pack-quantized", "[]", "4", ""), "weights is not an object", {0}},
    {CT("pack-quantized", "[]", WEIGHTS("4", "\"group_size\":32"), ",\"input_activations\":[]"),
     "input_activations is not an object",
     {0}},
    {"{\"quant_method\":\"compressed-tensors\"}", "config_groups is not an object", {0}},
    {"{\"quant_method\":\"compressed-tensors\",\"config_groups\":{},"
     "\"sparsity_config\":{\"format\":\"sparse-24-bitmask\"}}",
     "sparse",
     {0}},
    {"{\"quant_method\":\"compressed-tensors\",\"config_groups\":{},"
     "\"transform_config\":{\"config_groups\":{\"R1\":{}}}}",
     "transform_config",
     {0}},
    {"{\"quant_method\":\"fp8\"}", "'fp8'", {0}},
    {"{\"quant_method\":\"a\\u0007b\"}", "control character", {0}},
    {"{}", "quant_method is missing", {0}},
    {"[]", "not a JSON object", {0}},
    {"{", "quantization config", {0}},
};

static bool same(const shoal_quantization *a, const shoal_quantization *b)
{
    return a->method == b->method && a->bits == b->bits && a->group == b->group &&
           a->symmetric == b->symmetric && a->desc_act == b->desc_act &&
           a->act_order == b->act_order && a->zeros == b->zeros && a->layout == b->layout &&
           a->per_token == b->per_token && a->left_out == b->left_out;
}

static void configs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof config_cases / sizeof config_cases[0]; i++) {
        const shoal_quantization *want = &config_cases[i].want;
        shoal_quantization q;
        const shoal_status st = shoal_quantization_parse(config_cases[i].text, &q);
        assert_int_equal(st, config_cases[i].error ? SHOAL_ERR_DATA : SHOAL_OK);
        if (config_cases[i].error) {
            if (!strstr(shoal_error_text(), config_cases[i].error))
                fail_msg("%s: %s", config_cases[i].text, shoal_error_text());
            continue;
        }
        if (!same(&q, want))
            fail_msg("%s", config_cases[i].text);
    }
}

typedef struct {
    const char *module;
    shoal_quantization want;
} rule_case;

static void check_rules(const char *text, const rule_case *cases, size_t count)
{
    shoal_quantization_config *config;
    if (shoal_quantization_open(text, &config) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    for (size_t i = 0; i < count; i++) {
        const shoal_quantization *q;
        assert_int_equal(shoal_quantization_of(config, cases[i].module, &q), SHOAL_OK);
        if (!same(q, &cases[i].want))
            fail_msg("%s", cases[i].module);
    }
    shoal_quantization_close(config);
}

/* "dynamic" of GPTQModel: the first rule that matches counts. */
static void dynamic_rules(void **state)
{
    static const char text[] =
        "{\"bits\":4,\"group_size\":128,\"sym\":true,\"desc_act\":true,"
        "\"checkpoint_format\":\"gptq\",\"meta\":{\"quantizer\":[\"gptqmodel:1.0.0\"]},"
        "\"dynamic\":{"
        "\"-:model\\\\.layers\\\\.0\\\\.\":{},"
        "\"+:.*down\":{\"bits\":8,\"group_size\":64},"
        "\"+:.*gate\":{\"bits\":3,\"sym\":false,\"desc_act\":false},"
        "\".*\\\\.1\\\\..*up$\":{\"group_size\":-1}}}";
    static const rule_case cases[] = {
        {"model.layers.0.down", {.left_out = true}},
        {"model.layers.1.down", GPTQ(8, 64, true, true, true, SHOAL_ZEROS_MINUS_ONE_WORD)},
        {"model.layers.1.gate", GPTQ(3, 128, false, false, false, SHOAL_ZEROS_MINUS_ONE)},
        {"model.layers.1.up", GPTQ(4, -1, true, true, false, SHOAL_ZEROS_MINUS_ONE_WORD)},
        {"model.layers.1.up_too", GPTQ(4, 128, true, true, true, SHOAL_ZEROS_MINUS_ONE_WORD)},
        {"lm_head", GPTQ(4, 128, true, true, true, SHOAL_ZEROS_MINUS_ONE_WORD)},
    };
    (void)state;
    check_rules(text, cases, sizeof cases / sizeof cases[0]);
}

/* Groups of compressed-tensors: what is ignored, then exact names, patterns, the class. */
static void group_rules(void **state)
{
    static const char text[] =
        "{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\","
        "\"ignore\":[\"lm_head\",\"re:.*\\\\.9\\\\..*\"],\"config_groups\":{"
        "\"all\":{\"targets\":[\"Linear\"],\"weights\":{\"num_bits\":4,\"group_size\":128}},"
        "\"some\":{\"targets\":[\"re:.*(down|up)_proj$\"],\"format\":\"int-quantized\","
        "\"weights\":{\"num_bits\":8,\"strategy\":\"channel\"}" TOKEN "},"
        "\"one\":{\"targets\":[\"layers.3.up_proj\"],\"weights\":{\"num_bits\":8,"
        "\"strategy\":\"channel\",\"symmetric\":false}},"
        "\"none\":{\"targets\":[\"re:.*gate$\"],\"weights\":null}}}";
    static const rule_case cases[] = {
        {"lm_head", {.left_out = true}},
        {"lm_head.q", COMPRESSED(4, 128, true, SHOAL_LAYOUT_PACKED, false)},
        {"layers.9.up_proj", {.left_out = true}},
        {"layers.2.up_proj", COMPRESSED(8, -1, true, SHOAL_LAYOUT_BYTES, true)},
        {"layers.3.up_proj", COMPRESSED(8, -1, false, SHOAL_LAYOUT_PACKED, false)},
        {"layers.3.up_proj.x", COMPRESSED(4, 128, true, SHOAL_LAYOUT_PACKED, false)},
        {"layers.3.gate", {.left_out = true}},
    };
    static const char narrow[] =
        CT("int-quantized", "[\"re:.*q_proj\"]", WEIGHTS("8", "\"group_size\":-1"), "");
    static const rule_case narrow_cases[] = {
        {"layers.0.q_proj", COMPRESSED(8, -1, true, SHOAL_LAYOUT_BYTES, false)},
        {"layers.0.k_proj", {.left_out = true}},
    };
    (void)state;
    check_rules(text, cases, sizeof cases / sizeof cases[0]);
    check_rules(narrow, narrow_cases, sizeof narrow_cases / sizeof narrow_cases[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configs),
        cmocka_unit_test(dynamic_rules),
        cmocka_unit_test(group_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
