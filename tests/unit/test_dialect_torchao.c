/* torchao against codes that are known: every class, from pickles and from safetensors with
 * metadata, by random rectangles; which CPU packed; refusals. */
#include "tests/unit/dialect_case.h"

#include "tests/support/torch_maker.h"
#include "tests/unit/int4_packers.h"

enum { INT8, INT8_GROUPS, AQT_INT8, AQT_INT4, TILED, OPAQUE, AQT_TILED, AQT_CPU, NIBBLES, CLASSES };

typedef struct {
    made_linear l;
    shoal_int4_order order; /* of a CPU */
    int inner;              /* of tiles */
} made_class;

/* ---- what the linear is ---- */

static void fill_class(made_class *c, int which, maker *m)
{
    made_linear *l = &c->l;
    const bool int8 = which <= AQT_INT8;
    l->bits = int8 ? 8 : 4;
    l->symmetric = which != INT8_GROUPS && which != AQT_INT8;
    l->scale_dtype = maker_below(m, 2) ? SHOAL_BF16 : SHOAL_F32;
    made_fill(l, m);
    for (int64_t i = 0; which == AQT_INT8 && i < l->groups * l->n; i++)
        l->z[i] = 128;
    if (int8)
        return;
    l->mins = maker_alloc((size_t)(l->groups * l->n) * sizeof *l->mins);
    for (int64_t i = 0; i < l->groups * l->n; i++)
        l->mins[i] = made_number(m, l->scale_dtype);
}

/* ---- how it is stored ---- */

/* Element (row n, group g) of [groups][n] at n * groups + g, or as it is. */
static void *numbers(const made_linear *l, const float *from, bool by_row)
{
    uint8_t *out = maker_alloc((size_t)(l->groups * l->n) * 4);
    for (int64_t g = 0; g < l->groups; g++)
        for (int64_t n = 0; n < l->n; n++)
            maker_store(out, l->scale_dtype, (size_t)(by_row ? n * l->groups + g : g * l->n + n),
                        from[g * l->n + n]);
    return out;
}

static void add_bytes(torch_maker *t, const made_linear *l, const char *name, int shift, int size)
{
    uint8_t *codes = maker_alloc((size_t)(l->n * l->k * size));
    for (int64_t n = 0; n < l->n; n++)
        for (int64_t k = 0; k < l->k; k++) {
            const int code = l->u[k * l->n + n] - shift;
            if (size == 1)
                codes[n * l->k + k] = (uint8_t)code;
            else
                shoal_store_le32(codes + 4 * (n * l->k + k), (uint32_t)code);
        }
    torch_op_part(t, name, size == 1 ? SHOAL_I8 : SHOAL_I32, 2, (int64_t[]){l->n, l->k}, codes);
    free(codes);
}

static void add_numbers(torch_maker *t, const made_linear *l, const char *name, const float *from,
                        bool by_row)
{
    void *stored = numbers(l, from, by_row);
    const int64_t rows[2] = {l->n, l->groups}, columns[2] = {l->groups, l->n};
    torch_op_part(t, name, l->scale_dtype, by_row && l->groups == 1 ? 1 : 2,
                  by_row ? rows : columns, stored);
    free(stored);
}

static void add_zeros(torch_maker *t, const made_linear *l, bool wide)
{
    int64_t stored[4096];
    int8_t narrow[4096];
    for (int64_t g = 0; g < l->groups; g++)
        for (int64_t n = 0; n < l->n; n++) {
            stored[n * l->groups + g] = l->z[g * l->n + n] - 128;
            narrow[n * l->groups + g] = (int8_t)(l->z[g * l->n + n] - 128);
        }
    if (wide)
        torch_op_part(t, "zero_point", SHOAL_I64, 2, (int64_t[]){l->n, l->groups}, stored);
    else
        torch_op_part(t, "zero_point", SHOAL_I8, 2, (int64_t[]){l->n, l->groups}, narrow);
}

static void add_block(torch_maker *t, const made_linear *l)
{
    torch_op_text(t, "block_size");
    torch_op_numbers(t, (int64_t[]){1, made_group(l)}, 2);
}

/* Rows of codes padded to `rows` x `k`, packed. */
static void *packed(const made_class *c, shoal_int4_order order, int64_t rows, int64_t k)
{
    uint8_t *u = maker_alloc((size_t)(rows * k)), *out = maker_alloc((size_t)(rows * k / 2));
    for (int64_t n = 0; n < c->l.n; n++)
        for (int64_t i = 0; i < c->l.k; i++)
            u[n * k + i] = c->l.u[i * c->l.n + n];
    pack_int4(order, c->inner, u, rows, k, out);
    free(u);
    return out;
}

/* Scales and zeros side by side, padded like the codes. */
static void add_pairs(torch_maker *t, const made_linear *l, int64_t groups, int64_t rows)
{
    uint8_t *pairs = maker_alloc((size_t)(groups * rows) * 8);
    for (int64_t g = 0; g < l->groups; g++)
        for (int64_t n = 0; n < l->n; n++) {
            maker_store(pairs, l->scale_dtype, (size_t)(2 * (g * rows + n)), l->s[g * l->n + n]);
            maker_store(pairs, l->scale_dtype, (size_t)(2 * (g * rows + n) + 1),
                        l->mins[g * l->n + n]);
        }
    torch_op_part(t, "scale_and_zero", l->scale_dtype, 3, (int64_t[]){groups, rows, 2}, pairs);
    free(pairs);
}

static void add_tiled(torch_maker *t, const made_class *c, const char *name)
{
    const int64_t rows = shoal_round_up(c->l.n, 8), k = shoal_round_up(c->l.k, 1024);
    void *words = packed(c, SHOAL_INT4_TILED, rows, k);
    torch_op_part(t, name, SHOAL_I32, 4,
                  (int64_t[]){rows / 8, k / (16 * c->inner), 32, c->inner / 2}, words);
    free(words);
    add_pairs(t, &c->l, k / c->l.group, rows);
}

static void add_cpu(torch_maker *t, const made_class *c, const char *name)
{
    void *bytes = packed(c, c->order, c->l.n, c->l.k);
    torch_op_part(t, name, SHOAL_U8, 2, (int64_t[]){c->l.n, c->l.k / 2}, bytes);
    free(bytes);
    add_pairs(t, &c->l, c->l.groups, c->l.n);
}

static void add_nibbles(torch_maker *t, const made_class *c)
{
    void *bytes = packed(c, SHOAL_INT4_NIBBLES, c->l.n, c->l.k);
    torch_op_part(t, "qdata", SHOAL_I8, 2, (int64_t[]){c->l.n, c->l.k / 2}, bytes);
    free(bytes);
    add_numbers(t, &c->l, "scale", c->l.s, false);
    add_numbers(t, &c->l, "zero_point", c->l.mins, false);
}

static void add_domain(torch_maker *t, int number)
{
    torch_op_text(t, "zero_point_domain");
    torch_ops(t, "ctorchao.quantization.quant_primitives\nZeroPointDomain\n");
    torch_op_integer(t, number);
    torch_ops(t, "\x85R");
}

/* AffineQuantizedTensor around an implementation, whose dict is then open. */
static void open_aqt(torch_maker *t, const made_linear *l, const char *type)
{
    torch_op_class(t, "ctorchao.dtypes.affine_quantized_tensor\nAffineQuantizedTensor\n", l->n,
                   l->k);
    add_block(t, l);
    torch_op_text(t, "tensor_impl");
    torch_op_class(t, type, l->n, l->k);
}

static void add_class(torch_maker *t, const made_class *c, int which)
{
    static const char *const types[CLASSES] = {
        [INT8] = "ctorchao.quantization\nInt8Tensor\n",
        [INT8_GROUPS] = "ctorchao.quantization\nIntxUnpackedToInt8Tensor\n",
        [AQT_INT8] = "ctorchao.dtypes.uintx.plain_layout\nPlainAQTTensorImpl\n",
        [AQT_INT4] = "ctorchao.dtypes.uintx.plain_layout\nPlainAQTTensorImpl\n",
        [TILED] = "ctorchao.quantization\nInt4TilePackedTo4dTensor\n",
        [OPAQUE] = "ctorchao.prototype.quantization.int4\nInt4OpaqueTensor\n",
        [AQT_TILED] = ("ctorchao.dtypes.uintx.tensor_core_tiled_layout\n"
                       "TensorCoreTiledAQTTensorImpl\n"),
        [AQT_CPU] = "ctorchao.dtypes.uintx.int4_cpu_layout\nInt4CPUAQTTensorImpl\n",
        [NIBBLES] = "ctorchao.quantization\nInt4Tensor\n",
    };
    const made_linear *l = &c->l;
    const bool aqt =
        which == AQT_INT8 || which == AQT_INT4 || which == AQT_TILED || which == AQT_CPU;
    torch_op_text(t, "P.weight");
    if (aqt)
        open_aqt(t, l, types[which]);
    else
        torch_op_class(t, types[which], l->n, l->k);
    if (which == TILED || which == AQT_TILED)
        add_tiled(t, c, aqt ? "packed_weight" : "qdata");
    if (which == OPAQUE || which == AQT_CPU)
        add_cpu(t, c, aqt ? "packed_weight" : "qdata");
    if (which == NIBBLES)
        add_nibbles(t, c);
    if (l->bits == 8 || which == AQT_INT4) {
        add_bytes(t, l, aqt ? "int_data" : "qdata", l->bits == 8 ? 128 : 0,
                  which == AQT_INT4 ? 4 : 1);
        add_numbers(t, l, "scale", l->s, true);
    }
    if (which == INT8_GROUPS || which == AQT_INT8)
        add_zeros(t, l, which == AQT_INT8);
    if (which == AQT_INT4)
        add_numbers(t, l, "zero_point", l->mins, true);
    if (!aqt)
        add_block(t, l);
    torch_ops(t, "utR");
    if (!aqt)
        return;
    add_domain(t, which == AQT_INT8 ? 1 : 2);
    if (which == AQT_INT4) {
        torch_op_text(t, "quant_min");
        torch_op_integer(t, 0);
        torch_op_text(t, "quant_max");
        torch_op_integer(t, 15);
    }
    torch_ops(t, "utR");
}

/* ---- folders ---- */

static char folder[256];

static void write_file(const char *name, const void *data, size_t bytes)
{
    char path[320];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    fclose(f);
}

static void begin_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/shoal-test-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(folder));
}

static void end_folder(const char *name)
{
    char path[320];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
    rmdir(folder);
}

static void write_pickle(const made_class *c, int which)
{
    torch_maker t;
    torch_begin(&t);
    add_class(&t, c, which);
    torch_end(&t);
    begin_folder();
    write_file("pytorch_model.bin", t.file.at, t.file.size);
    torch_free(&t);
}

static void check_rects(opened *o, const made_linear *l, maker *m)
{
    int32_t *columns = maker_alloc((size_t)l->n * sizeof *columns);
    for (int i = 0; i < 12; i++) {
        o->weight.row_offset = i % 2 ? maker_below(m, l->n) : 0;
        o->weight.n = l->n - o->weight.row_offset;
        check_random_rect(o, l, NULL, i % 3 == 2 ? columns : NULL, m);
    }
    free(columns);
}

static const char *cpu_config(shoal_int4_order order)
{
    static char text[128];
    snprintf(text, sizeof text, "{\"quant_method\":\"torchao\",\"int4_cpu_layout\":\"%s\"}",
             shoal_int4_order_name(order));
    return text;
}

static void any_class(void **state)
{
    static const int64_t groups[] = {32, 64, 128};
    maker m = {.seed = 21};
    (void)state;
    for (int round = 0; round < 10 * CLASSES; round++) {
        const int which = round % CLASSES;
        const bool cpu = which == OPAQUE || which == AQT_CPU;
        made_class c = {.order = (shoal_int4_order)(SHOAL_INT4_AVX512 + round % 3),
                        .inner = 2 << maker_below(&m, 3)};
        c.l.group = which == INT8 || which == AQT_INT8 ? -1 : groups[maker_below(&m, 3)];
        c.l.n = 16 * (1 + maker_below(&m, 12));
        c.l.k = c.l.group < 0 ? 1 + maker_below(&m, 200) : c.l.group * (1 + maker_below(&m, 4));
        fill_class(&c, which, &m);
        write_pickle(&c, which);
        opened o;
        if (open_module(folder, cpu ? cpu_config(c.order) : NULL, c.l.n, c.l.k, &o) != SHOAL_OK)
            fail_msg("class %d: %s", which, shoal_error_text());
        check_rects(&o, &c.l, &m);
        close_module(&o);
        end_folder("pytorch_model.bin");
        made_free(&c.l);
    }
}

/* ---- which CPU ---- */

static void which_cpu(void **state)
{
    static const shoal_int4_order orders[] = {SHOAL_INT4_AVX512, SHOAL_INT4_AVX2,
                                              SHOAL_INT4_GENERIC, SHOAL_INT4_AVX512};
    maker m = {.seed = 22};
    (void)state;
    for (int i = 0; i < 4; i++) {
        made_class c = {.order = orders[i]};
        c.l.group = 64;
        c.l.n = 128;
        c.l.k = 256;
        fill_class(&c, OPAQUE, &m);
        for (int64_t g = 0; g < 4; g++) /* the quantizer gives a group its two extremes */
            for (int64_t n = 0; i < 3 && n < c.l.n; n++) {
                const int64_t at = maker_below(&m, 64);
                for (int64_t k = 0; k < 64; k++) {
                    uint8_t *u = &c.l.u[(64 * g + k) * c.l.n + n];
                    *u = (uint8_t)(1 + *u % 14);
                    if (k == at || k == (at + 7) % 64)
                        *u = k == at ? 0 : 15;
                }
            }
        write_pickle(&c, OPAQUE);
        opened o;
        const shoal_status st = open_module(folder, NULL, c.l.n, c.l.k, &o);
        assert_int_equal(st, i == 0 ? SHOAL_OK : SHOAL_ERR_DATA);
        if (i == 0)
            check_rects(&o, &c.l, &m);
        else
            assert_non_null(strstr(shoal_error_text(), "int4_cpu_layout"));
        close_module(&o);
        end_folder("pytorch_model.bin");
        made_free(&c.l);
    }
}

/* ---- safetensors ---- */

/* Two parts and what the metadata say of them. */
static void write_safetensors(const made_linear *l, const char *metadata)
{
    char header[2048];
    uint8_t file[16384], *data = file + 8;
    size_t at = (size_t)snprintf(header, sizeof header, "{\"__metadata__\":{%s}", metadata);
    const long long codes = l->n * l->k;
    at += (size_t)snprintf(header + at, sizeof header - at,
                           ",\"P._weight_qdata\":{\"dtype\":\"I8\",\"shape\":[%lld,%lld],"
                           "\"data_offsets\":[0,%lld]}",
                           (long long)l->n, (long long)l->k, codes);
    at += (size_t)snprintf(header + at, sizeof header - at,
                           ",\"P._weight_scale\":{\"dtype\":\"F32\",\"shape\":[%lld,1],"
                           "\"data_offsets\":[%lld,%lld]}}",
                           (long long)l->n, codes, codes + 4 * l->n);
    shoal_store_le64(file, at);
    memcpy(data, header, at);
    data += at;
    for (int64_t i = 0; i < codes; i++)
        *data++ = (uint8_t)(l->u[i % l->k * l->n + i / l->k] - 128);
    for (int64_t n = 0; n < l->n; n++, data += 4)
        memcpy(data, &l->s[n], 4);
    begin_folder();
    write_file("model.safetensors", file, (size_t)(data - file));
}

#define INT8_TENSOR                                                                                \
    "\"P.weight\":\"{\\\"_type\\\":\\\"Int8Tensor\\\",\\\"_data\\\":{\\\"block_size\\\":[1,24],"   \
    "\\\"act_quant_kwargs\\\":%s},\\\"_tensor_data_names\\\":[\\\"qdata\\\",\\\"scale\\\","        \
    "\\\"zero_point\\\"]}\",\"tensor_names\":\"[\\\"P.weight\\\"]\""

static void from_metadata(void **state)
{
    maker m = {.seed = 23};
    char metadata[1024];
    (void)state;
    for (int i = 0; i < 2; i++) {
        made_linear l = {
            .n = 40, .k = 24, .group = -1, .bits = 8, .symmetric = true, .scale_dtype = SHOAL_F32};
        opened o;
        made_fill(&l, &m);
        snprintf(metadata, sizeof metadata, INT8_TENSOR, i ? "{}" : "null");
        write_safetensors(&l, metadata);
        if (open_module(folder, "{\"quant_method\":\"torchao\"}", l.n, l.k, &o) != SHOAL_OK)
            fail_msg("%s", shoal_error_text());
        assert_int_equal(o.weight.per_token, i);
        check_rects(&o, &l, &m);
        close_module(&o);
        end_folder("model.safetensors");
        made_free(&l);
    }
}

static void refused(void **state)
{
    static const struct {
        const char *metadata, *config, *says;
        int64_t n;
    } rows[] = {
        {"", "torchao", "not a stored form", 40},
        {"\"P.weight\":\"{\\\"_type\\\":\\\"Float8Tensor\\\",\\\"_tensor_data_names\\\":["
         "\\\"qdata\\\"]}\"",
         "torchao", "class Float8Tensor", 40},
        {"\"P.weight\":\"{\\\"_tensor_data_names\\\":[\\\"qdata\\\"]}\"", "torchao", "_type", 40},
        {"\"P.weight\":\"{\\\"_type\\\":\\\"Int8Tensor\\\",\\\"_tensor_data_names\\\":[1]}\"",
         "torchao", "no list of names", 40},
        {"\"P.weight\":\"{\\\"_tensor_data_names\\\":\"", "torchao", "line 1", 40},
        {"\"P.weight\":\"{\\\"_type\\\":\\\"Int8Tensor\\\",\\\"_data\\\":{\\\"block_size\\\":[1]},"
         "\\\"_tensor_data_names\\\":[\\\"qdata\\\"]}\"",
         "torchao", "block_size", 40},
        {"\"P.weight\":\"{\\\"_type\\\":\\\"Int8Tensor\\\",\\\"_data\\\":{\\\"shape\\\":[40,23]},"
         "\\\"_tensor_data_names\\\":[\\\"qdata\\\"]}\"",
         "torchao", "[40, 23]", 40},
        {"\"P.weight\":\"{\\\"_type\\\":\\\"Int8Tensor\\\",\\\"_data\\\":{},"
         "\\\"_tensor_data_names\\\":[\\\"qdata\\\"]}\"",
         "torchao", "[41, 24]", 41},
    };
    maker m = {.seed = 24};
    char config[64];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        made_linear l = {
            .n = 40, .k = 24, .group = -1, .bits = 8, .symmetric = true, .scale_dtype = SHOAL_F32};
        opened o;
        made_fill(&l, &m);
        write_safetensors(&l, rows[i].metadata);
        snprintf(config, sizeof config, "{\"quant_method\":\"%s\"}", rows[i].config);
        assert_int_equal(open_module(folder, config, rows[i].n, l.k, &o), SHOAL_ERR_DATA);
        if (!strstr(shoal_error_text(), rows[i].says))
            fail_msg("'%s' lacks '%s'", shoal_error_text(), rows[i].says);
        close_module(&o);
        end_folder("model.safetensors");
        made_free(&l);
    }
    shoal_quantization q;
    assert_int_equal(
        shoal_quantization_parse("{\"quant_method\":\"torchao\",\"int4_cpu_layout\":\"neon\"}", &q),
        SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "'neon'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_class),
        cmocka_unit_test(which_cpu),
        cmocka_unit_test(from_metadata),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
