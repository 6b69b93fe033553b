/* Quantization configs of every method: what they say, defaults, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "shard/quantization.h"

/* Quantization configs: names of both generations, defaults, and what is not read. */
static const struct {
    const char *text, *error; /* error NULL: parses */
    shoal_quantization want;
} config_cases[] = {
    {NULL, NULL, {.method = SHOAL_METHOD_NONE}},
    {"{\"bits\":4,\"group_size\":128,\"sym\":true}",
     NULL,
     {.method = SHOAL_METHOD_GPTQ,
      .bits = 4,
      .group = 128,
      .symmetric = true,
      .zeros = SHOAL_ZEROS_MINUS_ONE}},
    {"{\"quant_method\":\"gptq\",\"bits\":8,\"group_size\":-1,\"desc_act\":true}",
     NULL,
     {.method = SHOAL_METHOD_GPTQ,
      .bits = 8,
      .group = -1,
      .symmetric = true,
      .desc_act = true,
      .zeros = SHOAL_ZEROS_MINUS_ONE}},
    {"{\"method\":\"gptq\",\"format\":\"gptq_v2\",\"bits\":4,\"group_size\":32,"
     "\"desc_act\":true,\"sym\":false}",
     NULL,
     {.method = SHOAL_METHOD_GPTQ,
      .bits = 4,
      .group = 32,
      .desc_act = true,
      .act_order = true,
      .zeros = SHOAL_ZEROS_PLAIN}},
    {"{\"method\":\"gptq\",\"bits\":4,\"group_size\":32,\"desc_act\":true,"
     "\"meta\":{\"static_groups\":true,\"quantizer\":\"gptqmodel:0.9.0\"}}",
     NULL,
     {.method = SHOAL_METHOD_GPTQ,
      .bits = 4,
      .group = 32,
      .symmetric = true,
      .desc_act = true,
      .zeros = SHOAL_ZEROS_MINUS_ONE_WORD}},
    {"{\"method\":\"gptq\",\"bits\":4,\"group_size\":32,"
     "\"meta\":{\"quantizer\":[\"optimum:1\",\"gptqmodel:0.8.7\"]}}",
     NULL,
     {.method = SHOAL_METHOD_GPTQ,
      .bits = 4,
      .group = 32,
      .symmetric = true,
      .zeros = SHOAL_ZEROS_MINUS_ONE}},
    {"{\"method\":\"gptq\",\"bits\":3,\"group_size\":32,"
     "\"meta\":{\"quantizer\":[\"gptqmodel:7.7.0\"]}}",
     NULL,
     {.method = SHOAL_METHOD_GPTQ,
      .bits = 3,
      .group = 32,
      .symmetric = true,
      .zeros = SHOAL_ZEROS_MINUS_ONE}},
    {"{\"w_bit\":4,\"q_group_size\":128,\"zero_point\":true,\"version\":\"GEMM\"}",
     NULL,
     {.method = SHOAL_METHOD_AWQ, .bits = 4, .group = 128, .zeros = SHOAL_ZEROS_PLAIN}},
    {"{\"bits\":5,\"group_size\":128}", "5 bits", {0}},
    {"{\"bits\":4,\"group_size\":0}", "group_size is 0", {0}},
    {"{\"bits\":4}", "group_size is missing", {0}},
    {"{\"bits\":\"4\",\"group_size\":128}", "bits is not an integer", {0}},
    {"{\"bits\":4,\"group_size\":128,\"sym\":1}", "sym is not true or false", {0}},
    {"{\"bits\":4,\"group_size\":128,\"checkpoint_format\":\"marlin\"}", "'marlin'", {0}},
    {"{\"bits\":4,\"group_size\":128,\"is_marlin_format\":true}", "'marlin'", {0}},
    {"{\"bits\":4,\"group_size\":128,\"pack_dtype\":\"int16\"}", "int16", {0}},
    {"{\"bits\":4,\"group_size\":128,\"dynamic\":{\"-:.*gate.*\":{}}}",
     NULL,
     {.method = SHOAL_METHOD_GPTQ,
      .bits = 4,
      .group = 128,
      .symmetric = true,
      .zeros = SHOAL_ZEROS_MINUS_ONE}},
    {"{\"bits\":4,\"group_size\":128,\"dynamic\":{\"+:.*down.*\":{\"bits\":8}}}",
     "'+:.*down.*' changes bits",
     {0}},
    {"{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64,\"version\":\"gemv\"}", "'gemv'", {0}},
    {"{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":64,\"version\":\"gemv_fast\"}",
     "'gemv_fast'",
     {0}},
    {"{\"quant_method\":\"awq\",\"bits\":8,\"group_size\":64}", "awq with 8 bits", {0}},
    {"{\"quant_method\":\"fp8\"}", "'fp8'", {0}},
    {"{}", "quant_method is missing", {0}},
    {"[]", "not a JSON object", {0}},
    {"{", "quantization config", {0}},
};

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
        if (q.method != want->method || q.bits != want->bits || q.group != want->group ||
            q.symmetric != want->symmetric || q.desc_act != want->desc_act ||
            q.act_order != want->act_order || q.zeros != want->zeros)
            fail_msg("%s", config_cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
