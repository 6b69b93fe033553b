#include "kernels/linear_row.h"

#if defined(__x86_64__)
#include "kernels/x86/rows.h"
#endif

bool shoal_linear_edges(const shoal_linear *w, int32_t step)
{
    for (int64_t i = 0; i < w->size.segments; i++) {
        if (w->segments[i].k % step)
            return false;
    }
    return true;
}

static bool any(const shoal_linear *w)
{
    (void)w;
    return true;
}

#if defined(__x86_64__)
static bool int4(const shoal_linear *w)
{
    return w->spec.kind == SHOAL_WEIGHT_INT4 && w->spec.act == SHOAL_ACT_INT8 &&
           shoal_linear_edges(w, 8);
}

static bool int8(const shoal_linear *w)
{
    return w->spec.kind == SHOAL_WEIGHT_INT8 && w->spec.act == SHOAL_ACT_INT8 &&
           shoal_linear_edges(w, 4);
}

/* Tiles are 32 or 64 inputs deep. Runs of segments (super-groups) are the vector rows'. */
static bool int4_tiles(const shoal_linear *w)
{
    return int4(w) && !w->steps && shoal_linear_edges(w, 32);
}

static bool int8_tiles(const shoal_linear *w)
{
    return int8(w) && !w->steps && shoal_linear_edges(w, 32);
}

/* Float weights of any shape; integer weights are dequantized by whole K steps. */
static bool dense(const shoal_linear *w)
{
    return w->spec.kind == SHOAL_WEIGHT_FLOAT;
}

static bool steps(const shoal_linear *w)
{
    return shoal_linear_edges(w, w->spec.kind == SHOAL_WEIGHT_INT4 ? 8 : 4);
}

static bool dequantized(const shoal_linear *w)
{
    return w->spec.kind != SHOAL_WEIGHT_FLOAT && w->spec.act == SHOAL_ACT_F32 && steps(w);
}

/* The kind names the instruction; a linear of another machine's kind is the reference's. */
static bool bf16_of(const shoal_linear *w, shoal_bf16_kind kind)
{
    return w->spec.act == SHOAL_ACT_BF16 && w->bf16 == kind && steps(w);
}

static bool bf16_chains(const shoal_linear *w)
{
    return bf16_of(w, SHOAL_BF16_F32);
}

static bool bf16_dots(const shoal_linear *w)
{
    return bf16_of(w, SHOAL_BF16_AVX512) && shoal_cpu_has_bf16(SHOAL_CPU_AVX512VNNI);
}

static bool bf16_tiles(const shoal_linear *w)
{
    return bf16_of(w, SHOAL_BF16_AMX) && shoal_cpu_has_bf16(SHOAL_CPU_AMX);
}
#endif

const shoal_linear_row shoal_linear_rows[] = {
#if defined(__x86_64__)
    {"int4-amx", SHOAL_CPU_AMX, 16, int4_tiles, shoal_linear_accumulate_amx, &shoal_epilogue_avx512,
     shoal_linear_units_amx},
    {"int8-amx", SHOAL_CPU_AMX, 16, int8_tiles, shoal_linear_accumulate_amx, &shoal_epilogue_avx512,
     shoal_linear_units_amx},
    {"int4-avx512vnni", SHOAL_CPU_AVX512VNNI, 1, int4, shoal_linear_accumulate_avx512vnni,
     &shoal_epilogue_avx512, shoal_linear_units_avx512vnni},
    {"int8-avx512vnni", SHOAL_CPU_AVX512VNNI, 1, int8, shoal_linear_accumulate_avx512vnni,
     &shoal_epilogue_avx512, shoal_linear_units_avx512vnni},
    {"int4-avxvnni", SHOAL_CPU_AVXVNNI, 1, int4, shoal_linear_accumulate_avxvnni,
     &shoal_epilogue_avx2, shoal_linear_units_avxvnni},
    {"int8-avxvnni", SHOAL_CPU_AVXVNNI, 1, int8, shoal_linear_accumulate_avxvnni,
     &shoal_epilogue_avx2, shoal_linear_units_avxvnni},
    {"int4-avx2", SHOAL_CPU_AVX2, 1, int4, shoal_linear_accumulate_avx2, &shoal_epilogue_avx2,
     shoal_linear_units_avx2},
    {"int8-avx2", SHOAL_CPU_AVX2, 1, int8, shoal_linear_accumulate_avx2, &shoal_epilogue_avx2,
     shoal_linear_units_avx2},
    {"float-avx512", SHOAL_CPU_AVX512, 1, dense, shoal_linear_accumulate_float_avx512,
     &shoal_epilogue_avx512, shoal_linear_units_by_calls},
    {"dequant-avx512", SHOAL_CPU_AVX512, 1, dequantized, shoal_linear_accumulate_float_avx512,
     &shoal_epilogue_avx512, shoal_linear_units_by_calls},
    {"float-avx2", SHOAL_CPU_AVX2, 1, dense, shoal_linear_accumulate_float_avx2,
     &shoal_epilogue_avx2, shoal_linear_units_by_calls},
    {"dequant-avx2", SHOAL_CPU_AVX2, 1, dequantized, shoal_linear_accumulate_float_avx2,
     &shoal_epilogue_avx2, shoal_linear_units_by_calls},
    {"bf16-amx", SHOAL_CPU_AMX, 1, bf16_tiles, shoal_linear_accumulate_bf16_amx,
     &shoal_epilogue_avx512, shoal_linear_units_by_calls},
    {"bf16-avx512bf16", SHOAL_CPU_AVX512VNNI, 1, bf16_dots, shoal_linear_accumulate_bf16_dot,
     &shoal_epilogue_avx512, shoal_linear_units_by_calls},
    {"bf16-avx512", SHOAL_CPU_AVX512, 1, bf16_chains, shoal_linear_accumulate_bf16_avx512,
     &shoal_epilogue_avx512, shoal_linear_units_by_calls},
    {"bf16-avx2", SHOAL_CPU_AVX2, 1, bf16_chains, shoal_linear_accumulate_bf16_avx2,
     &shoal_epilogue_avx2, shoal_linear_units_by_calls},
#endif
    {"ref", SHOAL_CPU_REF, 1, any, shoal_linear_accumulate_ref, &shoal_epilogue_ref,
     shoal_linear_units_by_calls},
};

const size_t shoal_linear_row_count = sizeof shoal_linear_rows / sizeof shoal_linear_rows[0];

const shoal_linear_row *shoal_linear_pick(const shoal_linear *w, shoal_cpu_level cap, int64_t rows)
{
    size_t i = 0;
    for (; i + 1 < shoal_linear_row_count; i++) {
        const shoal_linear_row *row = &shoal_linear_rows[i];
        if (row->needs <= cap && shoal_cpu_has(row->needs) && rows >= row->rows_min &&
            row->applicable(w))
            break;
    }
    return &shoal_linear_rows[i];
}
