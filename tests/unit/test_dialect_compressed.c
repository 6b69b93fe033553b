/* compressed-tensors against codes that are known: random rectangles of any shape, packed and as
 * bytes, with zeros and orders however they are stored; what is refused; and the packers of this
 * test against golden CRCs. */
#include <math.h>

#include "tests/unit/dialect_case.h"

typedef struct {
    made_linear made;
    bool packed;      /* in words, else a byte per code */
    bool byte_zeros;  /* zeros of packed codes as bytes */
    bool stores_zero; /* also where it says nothing */
    bool flat;        /* one group: scales [n] */
    bool unset_order; /* g_idx is there, and -1 */
} compressed;

/* Inputs along the words of a row. */
static void pack_codes(const made_linear *l, uint32_t *words)
{
    const int64_t row = (l->k * l->bits + 31) / 32;
    for (int64_t n = 0; n < l->n; n++)
        for (int64_t k = 0; k < l->k; k++)
            put_field(words + n * row, 1, k, l->bits, l->u[k * l->n + n]);
}

static void add_codes(const compressed *c, maker *m)
{
    const made_linear *l = &c->made;
    if (c->packed) {
        pack_codes(l, maker_add(m, "P.weight_packed", SHOAL_I32, l->n, (l->k * l->bits + 31) / 32));
        return;
    }
    int8_t *codes = maker_add(m, "P.weight", SHOAL_I8, l->n, l->k);
    for (int64_t k = 0; k < l->k; k++)
        for (int64_t n = 0; n < l->n; n++)
            codes[n * l->k + k] = (int8_t)(l->u[k * l->n + n] - 128);
}

static void add_zeros(const compressed *c, maker *m)
{
    const made_linear *l = &c->made;
    const int middle = 1 << (l->bits - 1);
    if (c->packed && !c->byte_zeros) {
        uint32_t *words =
            maker_add(m, "P.weight_zero_point", SHOAL_I32, (l->n * l->bits + 31) / 32, l->groups);
        for (int64_t g = 0; g < l->groups; g++)
            for (int64_t n = 0; n < l->n; n++)
                put_field(words + g, l->groups, n, l->bits, (unsigned)l->z[g * l->n + n]);
        return;
    }
    int8_t *zeros = maker_add(m, "P.weight_zero_point", SHOAL_I8, l->n, c->flat ? 0 : l->groups);
    for (int64_t g = 0; g < l->groups; g++)
        for (int64_t n = 0; n < l->n; n++)
            zeros[n * l->groups + g] = (int8_t)(l->z[g * l->n + n] - middle);
}

/* Fill the linear and add its tensors. */
static void compressed_make(compressed *c, maker *m)
{
    made_linear *l = &c->made;
    made_fill(l, m);
    add_codes(c, m);
    if (!l->symmetric || c->stores_zero)
        add_zeros(c, m);
    void *scales = maker_add(m, "P.weight_scale", l->scale_dtype, l->n, c->flat ? 0 : l->groups);
    for (int64_t g = 0; g < l->groups; g++)
        for (int64_t n = 0; n < l->n; n++)
            maker_store(scales, l->scale_dtype, (size_t)(n * l->groups + g), l->s[g * l->n + n]);
    if (c->packed) {
        int64_t *shape = maker_add(m, "P.weight_shape", SHOAL_I64, 2, 0);
        shape[0] = l->n;
        shape[1] = l->k;
    }
    if (!l->act_order)
        return;
    int32_t *g_idx = maker_add(m, "P.weight_g_idx", SHOAL_I32, l->k, 0);
    for (int64_t k = 0; k < l->k; k++) {
        if (c->unset_order)
            l->idx[k] = (int32_t)(k / made_group(l));
        g_idx[k] = c->unset_order ? -1 : l->idx[k];
    }
}

static const char *config_text(const compressed *c)
{
    static char text[512];
    const made_linear *l = &c->made;
    char group[32] = "null";
    if (l->group > 0)
        snprintf(group, sizeof group, "%d", (int)l->group);
    snprintf(text, sizeof text,
             "{\"quant_method\":\"compressed-tensors\",\"format\":\"%s-quantized\","
             "\"config_groups\":{\"group_0\":{\"targets\":[\"Linear\"],\"weights\":{"
             "\"num_bits\":%d,\"type\":\"int\",\"symmetric\":%s,\"strategy\":\"%s\","
             "\"group_size\":%s}}}}",
             c->packed ? "pack" : "int", l->bits, l->symmetric ? "true" : "false",
             l->group > 0 ? "group" : "channel", group);
    return text;
}

static void any_shape(void **state)
{
    static const int64_t groups[] = {8, 32, 40, 64, 128, -1};
    static const shoal_dtype scale_types[] = {SHOAL_F16, SHOAL_BF16, SHOAL_F32};
    maker m = {.seed = 61};
    (void)state;
    for (int round = 0; round < 160; round++) {
        compressed c = {.packed = round % 4 != 3};
        made_linear *l = &c.made;
        l->bits = c.packed && maker_below(&m, 3) ? 4 : 8;
        l->symmetric = maker_below(&m, 2);
        l->scale_dtype = scale_types[maker_below(&m, 3)];
        l->n = 1 + maker_below(&m, 150);
        l->k = 1 + maker_below(&m, 300);
        l->group = groups[maker_below(&m, 6)];
        l->act_order = l->group > 0 && l->group < l->k && maker_below(&m, 3) == 0;
        c.byte_zeros = maker_below(&m, 2);
        c.stores_zero = maker_below(&m, 3) == 0;
        c.flat = l->group < 0 && maker_below(&m, 2);
        c.unset_order = maker_below(&m, 3) == 0;
        compressed_make(&c, &m);
        check_linear(l, config_text(&c), true, &m);
    }
}

/* Strategy "tensor": one scale and one zero for all. */
static void one_scale(void **state)
{
    maker m = {.seed = 62};
    (void)state;
    for (int rank = 0; rank < 2; rank++) {
        compressed c = {.made = {.bits = 8, .n = 20, .k = 50, .group = -1}};
        made_linear *l = &c.made;
        l->scale_dtype = SHOAL_BF16;
        compressed_make(&c, &m);
        maker_remove(&m, "P.weight_scale");
        maker_remove(&m, "P.weight_zero_point");
        void *scale = maker_add(&m, "P.weight_scale", SHOAL_BF16, 1, 0);
        int8_t *zero = maker_add(&m, "P.weight_zero_point", SHOAL_I8, 1, 0);
        maker_find(&m, "P.weight_scale")->rank = rank;
        maker_find(&m, "P.weight_zero_point")->rank = rank;
        maker_store(scale, SHOAL_BF16, 0, 0.375f);
        *zero = -3;
        for (int64_t n = 0; n < l->n; n++) {
            l->s[n] = 0.375f;
            l->z[n] = 125;
        }
        check_linear(l, config_text(&c), true, &m);
    }
}

static void packers_match_golden_crcs(void **state)
{
    static uint8_t u[CRC_K * CRC_N];
    static uint32_t words[CRC_K * CRC_N / 4];
    (void)state;
    for (int bits = 4; bits <= 8; bits += 4) {
        crc_codes(bits, u);
        const made_linear l = {.bits = bits, .n = CRC_N, .k = CRC_K, .u = u};
        memset(words, 0, sizeof words);
        pack_codes(&l, words);
        assert_int_equal(crc32_of(words, (size_t)CRC_K * CRC_N * (size_t)bits / 8),
                         bits == 4 ? 0x7371fa3bu : 0x69860656u);
    }
}

/* Does the weight take one activation scale per token? */
static bool per_token(const char *activations, int64_t group)
{
    static const char head[] = "{\"quant_method\":\"compressed-tensors\","
                               "\"format\":\"int-quantized\",\"config_groups\":{\"g\":{"
                               "\"targets\":[\"Linear\"],\"weights\":{\"num_bits\":8,"
                               "\"group_size\":";
    maker m = {.seed = 63};
    compressed c = {.made = {.bits = 8, .symmetric = true, .n = 8, .k = 64, .group = group}};
    char text[512];
    opened o;
    c.made.scale_dtype = SHOAL_F32;
    snprintf(text, sizeof text, "%s%d},\"input_activations\":%s}}}", head, (int)group, activations);
    compressed_make(&c, &m);
    open_made(&m, text, 8, 64, &o);
    const bool result = o.weight.per_token;
    close_module(&o);
    maker_forget(&m);
    made_free(&c.made);
    return result;
}

static void activations(void **state)
{
    (void)state;
    static const char token[] = "{\"num_bits\":8,\"type\":\"int\",\"dynamic\":true,"
                                "\"strategy\":\"token\"}";
    assert_true(per_token(token, -1));
    assert_false(per_token(token, 32));
    assert_false(per_token("null", -1));
    assert_false(per_token("{\"num_bits\":8,\"type\":\"int\",\"dynamic\":false,"
                           "\"strategy\":\"tensor\"}",
                           -1));
}

/* ---- what is refused ---- */

static void spoil_scale(maker *m)
{
    maker_store(maker_find(m, "P.weight_scale")->data, SHOAL_F16, 5 * 4 + 2, INFINITY);
}

static void spoil_scale_shape(maker *m)
{
    spoil_replace(m, "P.weight_scale", SHOAL_F16, 4, 16);
}

static void spoil_no_scale(maker *m)
{
    maker_remove(m, "P.weight_scale");
}

static void spoil_no_zero(maker *m)
{
    maker_remove(m, "P.weight_zero_point");
}

static void spoil_zero_shape(maker *m)
{
    spoil_replace(m, "P.weight_zero_point", SHOAL_I32, 16, 4);
}

static void spoil_zero_value(maker *m)
{
    spoil_no_zero(m);
    ((int8_t *)maker_add(m, "P.weight_zero_point", SHOAL_I8, 16, 4))[9 * 4 + 1] = 8;
}

static void spoil_codes(maker *m)
{
    spoil_replace(m, "P.weight_packed", SHOAL_I32, 16, 12);
}

static void spoil_dtype(maker *m)
{
    maker_find(m, "P.weight_packed")->dtype = SHOAL_F32;
}

static void spoil_form(maker *m)
{
    maker_remove(m, "P.weight_packed");
    maker_add(m, "P.weight", SHOAL_I8, 16, 128);
}

static void spoil_size(maker *m)
{
    ((int64_t *)maker_find(m, "P.weight_shape")->data)[1] = 127;
}

static void spoil_order(maker *m)
{
    ((int32_t *)maker_add(m, "P.weight_g_idx", SHOAL_I32, 128, 0))[7] = 4;
}

static void spoil_order_size(maker *m)
{
    maker_add(m, "P.weight_g_idx", SHOAL_I32, 127, 0);
}

static void spoil_twice(maker *m)
{
    maker_add(m, "P.weight", SHOAL_F16, 16, 128);
}

static void refusals(void **state)
{
    static const struct {
        void (*spoil)(maker *);
        bool symmetric;
        const char *says[3];
    } cases[] = {
        {spoil_scale, false, {"P.weight_scale", "group 2, column 5", "infinite"}},
        {spoil_scale_shape, false, {"P.weight_scale has shape [4, 16]", "[16, 4]", ""}},
        {spoil_no_scale, false, {"P.weight_scale is missing", "", ""}},
        {spoil_no_zero, false, {"P.weight_zero_point is missing", "", ""}},
        {spoil_zero_shape, false, {"P.weight_zero_point has shape [16, 4]", "[2, 4]", ""}},
        {spoil_zero_value, false, {"P.weight_zero_point", "column 9, group 1 is 8", "4 bits"}},
        {spoil_nothing, true, {"P.weight_zero_point", "says symmetric", "zero point"}},
        {spoil_codes, false, {"P.weight_packed has shape [16, 12]", "[16, 16]", ""}},
        {spoil_dtype, false, {"P.weight_packed has dtype F32", "I32", ""}},
        {spoil_form, false, {"P.weight is a byte per weight", "says pack-quantized", ""}},
        {spoil_size, false, {"P.weight_shape says 16 by 127", "16 by 128", ""}},
        {spoil_order, false, {"P.weight_g_idx", "input 7 is in group 4 of 4", ""}},
        {spoil_order_size, false, {"P.weight_g_idx has shape [127]", "[128]", ""}},
        {spoil_twice, false, {"stored twice", "P.weight_packed", "P.weight"}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        maker m = {.seed = 70 + i};
        compressed c = {.made = {.bits = 4, .n = 16, .k = 128, .group = 32}, .packed = true};
        c.made.scale_dtype = SHOAL_F16;
        compressed_make(&c, &m);
        c.made.symmetric = cases[i].symmetric;
        cases[i].spoil(&m);
        check_refused(&m, config_text(&c), 16, 128, cases[i].says);
        made_free(&c.made);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packers_match_golden_crcs),
        cmocka_unit_test(any_shape),
        cmocka_unit_test(one_scale),
        cmocka_unit_test(activations),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
