/* The books of kernels/backend_timed.h: calls go through, and every one is on the right line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/backend_timed.h"

/* A backend that remembers what it was asked for. */
typedef struct {
    shoal_backend base;
    const void *args;
    int calls, closed;
    shoal_status answer;
} witness;

static shoal_status note(shoal_backend *backend, const void *args)
{
    witness *w = (witness *)backend;
    w->args = args;
    w->calls++;
    return w->answer;
}

static shoal_status on_embed(shoal_backend *b, const shoal_embed_args *a)
{
    return note(b, a);
}

static shoal_status on_rope(shoal_backend *b, const shoal_rope_args *a)
{
    return note(b, a);
}

static shoal_status on_norm(shoal_backend *b, const shoal_norm_args *a)
{
    return note(b, a);
}

static shoal_status on_whole(shoal_backend *b, const shoal_whole_job *jobs, int count, int64_t rows)
{
    assert_in_range(count, 1, 3);
    assert_int_equal(rows, 5);
    return note(b, jobs);
}

static shoal_status on_attention(shoal_backend *b, const shoal_attention_args *a)
{
    return note(b, a);
}

static shoal_status on_cut(shoal_backend *b, const shoal_cut_args *a)
{
    return note(b, a);
}

static shoal_status on_gated(shoal_backend *b, const shoal_gated_args *a)
{
    return note(b, a);
}

static shoal_status on_quantize(shoal_backend *b, const shoal_quantize_args *a)
{
    return note(b, a);
}

static void on_close(shoal_backend *b)
{
    ((witness *)b)->closed++;
}

static const shoal_backend_ops ops = {
    .name = "witness",
    .embed = on_embed,
    .rope = on_rope,
    .norm = on_norm,
    .whole = on_whole,
    .attention = on_attention,
    .cut = on_cut,
    .gated = on_gated,
    .quantize = on_quantize,
    .close = on_close,
};

/* A linear of the given shape with `codes` bytes of weights, and an int8 act that feeds it. */
typedef struct {
    shoal_linear linear;
    shoal_act act;
    int8_t q;
} part;

static void make_part(part *p, int64_t n, int64_t k, uint64_t codes)
{
    *p = (part){.linear.spec = {.n = n, .k = k, .act = SHOAL_ACT_INT8},
                .linear.size = {.codes_bytes = codes}};
    p->act = (shoal_act){.like = &p->linear, .q = &p->q};
}

static void open_timed(witness *w, shoal_backend **timed)
{
    *w = (witness){.base = {&ops, SHOAL_CPU_REF}};
    assert_int_equal(shoal_backend_timed_open(&w->base, timed), SHOAL_OK);
    assert_int_equal((*timed)->cap, SHOAL_CPU_REF);
}

static void calls_go_through(void **state)
{
    witness w;
    shoal_backend *b;
    part p;
    (void)state;
    make_part(&p, 64, 128, 4096);
    open_timed(&w, &b);
    const int64_t positions[1] = {0};
    const shoal_kv_layer kv = {.kv_heads = 1, .head_dim = 64, .type = SHOAL_KV_F16};
    const shoal_embed_args embed = {.rows = 1, .hidden = 64};
    const shoal_rope_args rope = {.positions = positions, .rows = 1, .dim = 64};
    const shoal_norm_args norm = {.rows = 1, .hidden = 64};
    const shoal_whole_job whole = {.linear = &p.linear, .act = &p.act};
    const shoal_attention_args attention = {.kv = &kv, .head_dim = 64};
    const shoal_cut_args cut = {.linear = &p.linear, .act = &p.act, .rows = 1};
    const shoal_gated_args gated = {
        .gate = &p.linear, .up = &p.linear, .gate_act = &p.act, .up_act = &p.act, .act = &p.act};
    const shoal_quantize_args quantize = {.rows = 1};
#define GOES_THROUGH(call, argument)                                                               \
    assert_int_equal(call, SHOAL_OK);                                                              \
    assert_ptr_equal(w.args, argument)
    GOES_THROUGH(b->ops->embed(b, &embed), &embed);
    GOES_THROUGH(b->ops->rope(b, &rope), &rope);
    GOES_THROUGH(b->ops->norm(b, &norm), &norm);
    GOES_THROUGH(b->ops->whole(b, &whole, 1, 5), &whole);
    GOES_THROUGH(b->ops->attention(b, &attention), &attention);
    GOES_THROUGH(b->ops->cut(b, &cut), &cut);
    GOES_THROUGH(b->ops->gated(b, &gated), &gated);
    GOES_THROUGH(b->ops->quantize(b, &quantize), &quantize);
#undef GOES_THROUGH
    static const char *const names[] = {"embed",     "rope", "norm",  "whole",
                                        "attention", "cut",  "gated", "quantize"};
    int count;
    const shoal_timed_line *lines = shoal_backend_timed_lines(b, &count);
    assert_int_equal(count, 8);
    for (int i = 0; i < count; i++) {
        assert_string_equal(lines[i].op, names[i]);
        assert_int_equal(lines[i].calls, 1);
        assert_true(lines[i].seconds >= 0);
    }
    b->ops->close(b);
    assert_int_equal(w.closed, 1);
}

static void shapes_have_lines(void **state)
{
    witness w;
    shoal_backend *b;
    part small, large;
    int count;
    (void)state;
    make_part(&small, 64, 128, 4096);
    make_part(&large, 192, 128, 12288);
    open_timed(&w, &b);
    const shoal_whole_job jobs[] = {{.linear = &large.linear, .act = &large.act},
                                    {.linear = &small.linear, .act = &large.act}};
    for (int i = 0; i < 3; i++)
        assert_int_equal(b->ops->whole(b, jobs, 2, 5), SHOAL_OK);
    assert_int_equal(b->ops->whole(b, jobs + 1, 1, 5), SHOAL_OK);
    const shoal_timed_line *lines = shoal_backend_timed_lines(b, &count);
    assert_int_equal(count, 2);
    assert_int_equal(lines[0].n, 256);
    assert_int_equal(lines[0].k, 128);
    assert_int_equal(lines[0].calls, 3);
    assert_true(lines[0].operations == 3.0 * 2 * 5 * 256 * 128);
    /* weights, fp32 outputs, int8 inputs once */
    assert_true(lines[0].bytes == 3.0 * (4096 + 12288 + 5 * 256 * 4 + 5 * 128));
    assert_int_equal(lines[1].n, 64);
    assert_int_equal(lines[1].calls, 1);

    shoal_backend_timed_reset(b);
    (void)shoal_backend_timed_lines(b, &count);
    assert_int_equal(count, 0);
    b->ops->close(b);
}

static void attention_counts_what_is_seen(void **state)
{
    witness w;
    shoal_backend *b;
    int count;
    (void)state;
    open_timed(&w, &b);
    const shoal_kv_layer kv = {.kv_heads = 2, .head_dim = 64, .type = SHOAL_KV_F16};
    const shoal_sequence_rows sequences[] = {{.row = 0, .rows = 1, .position = 9},
                                             {.row = 1, .rows = 3, .position = 0}};
    shoal_attention_args a = {.rows = 4,
                              .heads = 8,
                              .kv_heads = 2,
                              .head_dim = 64,
                              .sequences = sequences,
                              .sequence_count = 2,
                              .kv = &kv};
    assert_int_equal(b->ops->attention(b, &a), SHOAL_OK);
    const shoal_timed_line *lines = shoal_backend_timed_lines(b, &count);
    assert_true(lines[0].operations == 4.0 * (10 + 1 + 2 + 3) * 8 * 64);
    assert_true(lines[0].bytes == (10 + 3) * 2 * (2 * 64 * 2) + 4 * (2 * 8 + 2 * 2) * 64 * 4);

    shoal_backend_timed_reset(b);
    a.window = 4;
    assert_int_equal(b->ops->attention(b, &a), SHOAL_OK);
    assert_true(lines[0].operations == 4.0 * (4 + 1 + 2 + 3) * 8 * 64);
    assert_true(lines[0].bytes == (4 + 3) * 2 * (2 * 64 * 2) + 4 * (2 * 8 + 2 * 2) * 64 * 4);
    b->ops->close(b);
}

static void too_many_shapes_share(void **state)
{
    witness w;
    shoal_backend *b;
    part p;
    int count;
    uint64_t calls = 0;
    (void)state;
    open_timed(&w, &b);
    for (int i = 0; i < SHOAL_TIMED_LINES_MAX + 5; i++) {
        make_part(&p, 64 * (i + 1), 128, 0);
        const shoal_cut_args cut = {.linear = &p.linear, .act = &p.act, .rows = 1};
        assert_int_equal(b->ops->cut(b, &cut), SHOAL_OK);
    }
    const shoal_timed_line *lines = shoal_backend_timed_lines(b, &count);
    assert_int_equal(count, SHOAL_TIMED_LINES_MAX);
    for (int i = 0; i < count; i++)
        calls += lines[i].calls;
    assert_int_equal(calls, SHOAL_TIMED_LINES_MAX + 5);
    b->ops->close(b);
}

static void failures_pass_and_are_not_booked(void **state)
{
    witness w;
    shoal_backend *b;
    int count;
    (void)state;
    open_timed(&w, &b);
    w.answer = SHOAL_ERR_TEMPORARY;
    const shoal_norm_args norm = {.rows = 1, .hidden = 64};
    assert_int_equal(b->ops->norm(b, &norm), SHOAL_ERR_TEMPORARY);
    (void)shoal_backend_timed_lines(b, &count);
    assert_int_equal(count, 0);
    b->ops->close(b);

    w = (witness){.base = {&ops, SHOAL_CPU_REF}};
    shoal_mem_fail_nth(1);
    assert_int_equal(shoal_backend_timed_open(&w.base, &b), SHOAL_ERR_TEMPORARY);
    assert_int_equal(w.closed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_go_through),
        cmocka_unit_test(shapes_have_lines),
        cmocka_unit_test(attention_counts_what_is_seen),
        cmocka_unit_test(too_many_shapes_share),
        cmocka_unit_test(failures_pass_and_are_not_booked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
