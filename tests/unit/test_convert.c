/* Conversions of made-up models: every source through every form and back, compared in the
 * canonical form; biases of every pattern; what is refused and what it leaves behind; a killed
 * conversion that goes on; the same bytes on any number of threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/convert_case.h"

static void folder_of(const maker *m, const char *tail, char out[320])
{
    snprintf(out, 320, "%s%s", m->folder, tail);
}

/* ---- all pairs ---- */

static const char *const targets[] = {"gptq",
                                      "gptq_v2",
                                      "awq",
                                      "marlin",
                                      "compressed-tensors",
                                      "gguf:q4_0",
                                      "gguf:q8_0",
                                      "hf:f32",
                                      "hf:bf16",
                                      "torchao-int8",
                                      "lmdeploy",
                                      "gguf:q4_1",
                                      "torchao-int4-tiled",
                                      "torchao-int4-cpu:avx512",
                                      "gguf:q5_0",
                                      "gguf:q5_1"};
#define TARGETS (sizeof targets / sizeof targets[0])

/* What becomes of a source: '=' all equal in the canonical form and back again, 'v' equal values
 * (floats, other zero points), 'm' the same with minimums that gptq_v2 holds as zero points on the
 * way back, '~' written with the loss it says, '-' refused. */
typedef struct {
    const char *name;
    case_source source;
    char expected[TARGETS + 1];
} row;

static const row rows[] = {
    {"4 bits, g32, symmetric", {4, 32, true, false, SHOAL_F16, {"", false}}, "===-===v~--m~~=m"},
    {"4 bits, g64, asymmetric", {4, 64, false, false, SHOAL_F16, {"", false}}, "-==-=-=v~--~~~=~"},
    {"4 bits, channel, symmetric",
     {4, -1, true, false, SHOAL_F16, {"", false}},
     "=======v~==m~~=m"},
    {"4 bits, g32, act-order", {4, 32, true, true, SHOAL_F16, {"", false}}, "==--=--v~-------"},
    {"4 bits, g128, bf16 scales",
     {4, 128, true, false, SHOAL_BF16, {"", false}},
     "=======v~--m===m"},
    {"8 bits, g128, symmetric", {8, 128, true, false, SHOAL_F16, {"", false}}, "==--=-=v~-------"},
    {"8 bits, channel, symmetric",
     {8, -1, true, false, SHOAL_F16, {"", false}},
     "==--=-=v~==-----"},
    {"4 bits, g64, powers", {4, 64, false, false, SHOAL_BF16, {"", false}}, "-==-=-=vv--mmm=m"},
    {"2 bits, g32, asymmetric", {2, 32, false, false, SHOAL_F16, {"", false}}, "-==-===v~--~~~=~"},
};

static char outcome_of(const char *source, const char *there, const char *target)
{
    char back[400];
    shoal_convert_result r;
    shoal_convert_request request = case_request(source, there, target);
    const shoal_status st = case_convert(&request, &r);
    if (st == SHOAL_ERR_DATA)
        return '-';
    if (st != SHOAL_OK)
        fail_msg("%s: %s", target, shoal_error_text());
    shoal_difference d = case_compare(source, there);
    assert_int_equal(r.loss.lossless, d.values == 0);
    assert_true(r.loss.max_abs_error == d.max_abs_error);
    assert_false(d.presence);
    if (!r.loss.lossless)
        return '~';
    const bool moved = d.codes || d.scales || d.minimums;
    if ((moved && !d.minimums) || strncmp(target, "hf:", 3) == 0)
        return 'v';
    snprintf(back, sizeof back, "%s.back", there);
    request = case_request(there, back, "gptq_v2");
    if (case_convert(&request, &r) != SHOAL_OK)
        fail_msg("%s and back: %s", target, shoal_error_text());
    d = case_compare(source, back);
    case_remove(back);
    return shoal_differs(&d) ? '!' : moved ? 'm' : '=';
}

static void test_all_pairs(void **state)
{
    (void)state;
    printf("%-28s", "");
    for (size_t t = 0; t < TARGETS; t++)
        printf(" %-18s", targets[t]);
    printf("\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        maker m = {.seed = 7 + i, .powers = strstr(rows[i].name, "powers") != NULL};
        char there[320], outcome[TARGETS + 1] = "";
        case_make(&m, &rows[i].source);
        folder_of(&m, ".to", there);
        printf("%-28s", rows[i].name);
        for (size_t t = 0; t < TARGETS; t++) {
            outcome[t] = outcome_of(m.folder, there, targets[t]);
            case_remove(there);
            printf(" %-18c", outcome[t]);
        }
        printf("\n");
        maker_forget(&m);
        assert_string_equal(outcome, rows[i].expected);
    }
}

/* ---- biases ---- */

/* Forms with one scale per output hold only such weights. */
static int group_for(const char *target)
{
    const bool per_output = strcmp(target, "torchao-int8") == 0 || strcmp(target, "lmdeploy") == 0;
    return per_output ? -1 : 128;
}

static void test_biases(void **state)
{
    (void)state;
    static const case_biases patterns[] = {
        {"", false},
        {"q_proj k_proj v_proj o_proj gate_proj up_proj down_proj", false},
        {"q_proj k_proj v_proj o_proj gate_proj up_proj down_proj", true},
        {"q_proj", false},
        {"k_proj", true},
        {"v_proj", false},
        {"o_proj down_proj", false},
    };
    for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++)
        for (size_t t = 0; t < TARGETS; t++) {
            maker m = {.seed = 100 + p};
            char there[320];
            shoal_convert_result r;
            case_make(
                &m, &(case_source){4, group_for(targets[t]), true, false, SHOAL_F16, patterns[p]});
            folder_of(&m, ".to", there);
            const shoal_convert_request request = case_request(m.folder, there, targets[t]);
            if (case_convert(&request, &r) != SHOAL_OK)
                fail_msg("%s: %s", targets[t], shoal_error_text());
            const shoal_difference d = case_compare(m.folder, there);
            assert_false(d.presence);
            assert_int_equal(r.consumed, m.count);
            case_remove(there);
            maker_forget(&m);
        }
}

/* ---- what is refused, and leaves nothing ---- */

static bool exists(const char *path, const char *tail)
{
    char full[640];
    snprintf(full, sizeof full, "%s%s", path, tail);
    return access(full, F_OK) == 0;
}

static void test_refusals(void **state)
{
    (void)state;
    maker m = {.seed = 3};
    char there[320];
    shoal_convert_result r;
    case_make(&m, &(case_source){8, 128, true, false, SHOAL_F16, {"", false}});
    folder_of(&m, ".to", there);
    shoal_convert_request request = case_request(m.folder, there, "awq");
    assert_int_equal(case_convert(&request, &r), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "q_proj as awq cannot be held: it has 8 bits"));
    assert_non_null(strstr(shoal_error_text(), "--allow-requantize"));
    assert_false(exists(there, "") || exists(there, ".partial"));
    request.target.allow_requantize = true;
    assert_int_equal(case_convert(&request, &r), SHOAL_OK);
    assert_false(r.loss.lossless);
    const shoal_difference d = case_compare(m.folder, there);
    assert_true(r.loss.max_abs_error == d.max_abs_error && d.max_abs_error > 0);
    assert_int_equal(case_convert(&request, &r), SHOAL_ERR_CREATE);
    assert_non_null(strstr(shoal_error_text(), "exists already"));
    request = case_request(m.folder, m.folder, "gptq");
    assert_int_equal(case_convert(&request, &r), SHOAL_ERR_CREATE);
    assert_non_null(strstr(shoal_error_text(), "--backup"));
    case_remove(there);
    maker_forget(&m);
    shoal_target target;
    assert_int_equal(shoal_target_parse("hf:int3", &target), SHOAL_ERR_USAGE);
    assert_int_equal(shoal_target_parse("gptq:x", &target), SHOAL_ERR_USAGE);
}

/* A zero point of 0 has no word in v1; it is found while weights are read. */
static void test_zero_of_v1(void **state)
{
    (void)state;
    maker m = {.seed = 4};
    char there[320];
    shoal_convert_result r;
    case_make(&m, &(case_source){4, 128, false, false, SHOAL_F16, {"", false}});
    folder_of(&m, ".to", there);
    const shoal_convert_request request = case_request(m.folder, there, "gptq");
    assert_int_equal(case_convert(&request, &r), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "gptq_v2 holds 0"));
    assert_false(exists(there, "") || exists(there, ".partial"));
    maker_forget(&m);
}

/* ---- in place ---- */

static void test_in_place(void **state)
{
    (void)state;
    maker m = {.seed = 5};
    char aside[320];
    shoal_convert_result r;
    case_make(&m, &(case_source){4, 128, true, false, SHOAL_F16, {"q_proj", false}});
    folder_of(&m, ".backup", aside);
    shoal_convert_request request = case_request(m.folder, m.folder, "awq");
    request.backup = true;
    if (case_convert(&request, &r) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    const shoal_difference d = case_compare(m.folder, aside);
    assert_false(shoal_differs(&d));
    assert_false(exists(m.folder, "/.shoal-convert") || exists(m.folder, ".partial"));
    case_remove(aside);
    case_remove(m.folder);
    maker_forget(&m);
}

/* ---- what goes along ---- */

static void write_text(maker *m, const char *name, const char *text)
{
    FILE *f = maker_open(m, name);
    fputs(text, f);
    fclose(f);
}

/* Texts of a model go along, folders and what is written anew do not, and what is there but cannot
 * be read is not left out in silence. */
static void test_files(void **state)
{
    (void)state;
    maker m = {.seed = 9};
    char there[320], path[640];
    shoal_convert_result r;
    case_make(&m, &(case_source){4, 128, true, false, SHOAL_F16, {"", false}});
    write_text(&m, "tokenizer.json", "{}");
    write_text(&m, "quant_config.json", "{}");
    write_text(&m, "events.log", "");
    snprintf(path, sizeof path, "%s/notes.json", m.folder);
    assert_int_equal(mkdir(path, 0777), 0);
    folder_of(&m, ".to", there);
    const shoal_convert_request request = case_request(m.folder, there, "awq");
    assert_int_equal(case_convert(&request, &r), SHOAL_OK);
    assert_true(exists(there, "/tokenizer.json"));
    assert_false(exists(there, "/quant_config.json") || exists(there, "/events.log") ||
                 exists(there, "/notes.json"));
    case_remove(there);
    snprintf(path, sizeof path, "%s/merges.txt", m.folder);
    assert_int_equal(symlink("nowhere", path), 0);
    assert_int_equal(case_convert(&request, &r), SHOAL_ERR_IO);
    assert_non_null(strstr(shoal_error_text(), "merges.txt"));
    assert_false(exists(there, ""));
    folder_of(&m, ".to.partial", there);
    case_remove(there);
    case_remove(m.folder);
    maker_forget(&m);
}

/* ---- killed and started again ---- */

typedef struct {
    int modules;
} killer;

/* A listener that cannot stop a conversion can still count what is done anew. */
static void count_module(void *context, const char *name, const shoal_loss *loss)
{
    (void)name;
    (void)loss;
    ((killer *)context)->modules++;
}

static void rename_back(const char *from, const char *to)
{
    if (rename(from, to) != 0)
        fail_msg("cannot rename %s", from);
}

/* Fail as late as an allocation can: the count of a whole run is found from above. */
static void fail_late(const shoal_convert_request *request)
{
    shoal_convert_result r;
    shoal_status st = SHOAL_OK;
    for (uint64_t n = 3000; st == SHOAL_OK && n > 0; n -= 20) {
        shoal_mem_fail_nth(n);
        st = case_convert(request, &r);
        shoal_mem_fail_nth(0);
        if (st == SHOAL_OK)
            case_remove(request->destination);
    }
    assert_int_equal(st, SHOAL_ERR_TEMPORARY);
}

static void test_resume(void **state)
{
    (void)state;
    maker m = {.seed = 6};
    char there[320], other[320], partial[320], path[640], left[64];
    shoal_convert_result whole, r;
    case_make(&m, &(case_source){4, 128, true, false, SHOAL_F16, {"", false}});
    folder_of(&m, ".to", there);
    folder_of(&m, ".other", other);
    folder_of(&m, ".other.partial", partial);
    shoal_convert_request request = case_request(m.folder, there, "awq");
    request.file_bytes = 20000;
    assert_int_equal(case_convert(&request, &whole), SHOAL_OK);
    assert_true(whole.files > 3);
    request.destination = other;
    request.threads = 1;
    fail_late(&request);
    assert_true(exists(partial, "/.shoal-convert/fingerprint"));
    snprintf(path, sizeof path, "%s/.shoal-convert/model-00002-of-%05d.safetensors", partial,
             whole.files);
    assert_int_equal(unlink(path), 0); /* as if the second file were not finished */
    snprintf(left, sizeof left, "/model-00002-of-%05d.safetensors.tmp-1", whole.files);
    snprintf(path, sizeof path, "%s%s", partial, left);
    fclose(fopen(path, "w")); /* what a killed process had of it */
    assert_int_equal(case_convert(&request, &r), SHOAL_OK);
    assert_int_equal(r.resumed, r.files - 1);
    assert_false(exists(other, left));
    const shoal_difference d = case_compare(there, other);
    assert_false(shoal_differs(&d));
    /* another conversion does not take over what it finds */
    rename_back(other, partial);
    snprintf(path, sizeof path, "%s/.shoal-convert", partial);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof path, "%s/.shoal-convert/fingerprint", partial);
    FILE *f = fopen(path, "w");
    fputs("of something else", f);
    fclose(f);
    assert_int_equal(case_convert(&request, &r), SHOAL_ERR_CREATE);
    assert_non_null(strstr(shoal_error_text(), "something else"));
    case_remove(there);
    case_remove(partial);
    maker_forget(&m);
}

/* ---- threads ---- */

/* The weights of two folders are the same bytes. */
static void expect_same_weights(const char *there, const char *other)
{
    char path[640], *a, *b;
    size_t x, y;
    snprintf(path, sizeof path, "%s/model.safetensors", there);
    case_read(path, &a, &x);
    snprintf(path, sizeof path, "%s/model.safetensors", other);
    case_read(path, &b, &y);
    assert_int_equal(x, y);
    assert_memory_equal(a, b, x);
    free(a);
    free(b);
}

static void test_threads(void **state)
{
    (void)state;
    maker m = {.seed = 8};
    char there[320], other[320];
    shoal_convert_result r;
    case_make(&m, &(case_source){4, 32, true, true, SHOAL_F16, {"q_proj", false}});
    folder_of(&m, ".to", there);
    folder_of(&m, ".other", other);
    shoal_convert_request request = case_request(m.folder, there, "gptq");
    request.threads = 1;
    killer k = {0};
    const shoal_convert_listener counting = {NULL, count_module, &k};
    assert_int_equal(shoal_convert(&request, &counting, &r), SHOAL_OK);
    assert_int_equal(k.modules, 7 + 1 + 5); /* linears, a bias, the rest */
    request.destination = other;
    request.threads = 5;
    assert_int_equal(case_convert(&request, &r), SHOAL_OK);
    expect_same_weights(there, other);
    case_remove(there);
    case_remove(other);
    maker_forget(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_pairs), cmocka_unit_test(test_biases),
        cmocka_unit_test(test_refusals),  cmocka_unit_test(test_zero_of_v1),
        cmocka_unit_test(test_in_place),  cmocka_unit_test(test_resume),
        cmocka_unit_test(test_threads),   cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests_name("convert", tests, NULL, NULL);
}
