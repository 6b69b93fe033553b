/* Model folders: what generation_config.json and quantization files add to config.json, and what is
 * said where a folder holds no model. */
#include "tests/unit/model_case.h"

#include <stdio.h>
#include <sys/resource.h>

#include "shard/model_folder.h"
#include "tests/support/model_maker.h"

static shoal_model *open_folder(const shoal_maker *maker)
{
    shoal_model *m = NULL;
    if (shoal_model_open(shoal_maker_path(maker), &m) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    return m;
}

static shoal_maker *make_folder(const char *changes)
{
    shoal_maker *maker = shoal_maker_begin();
    char *text = make_config("llama", changes);
    shoal_maker_text(maker, "config.json", text);
    free(text);
    return maker;
}

static void generation_config(void **state)
{
    (void)state;
    shoal_maker *maker = make_folder("{\"eos_token_id\": [2, 9]}");
    shoal_maker_text(maker, "generation_config.json",
                     "{\"eos_token_id\": [5, 9], \"bos_token_id\": 3, \"temperature\": 0.6}");
    shoal_model *m = open_folder(maker);
    assert_int_equal(m->bos, 3);
    assert_int_equal(m->eos_count, 3);
    assert_int_equal(m->eos[0], 5);
    assert_int_equal(m->eos[1], 9);
    assert_int_equal(m->eos[2], 2);
    shoal_model_close(m);

    shoal_maker_text(maker, "generation_config.json", "{}");
    m = open_folder(maker);
    assert_int_equal(m->bos, 1);
    assert_int_equal(m->eos_count, 2);
    shoal_model_close(m);

    shoal_maker_text(maker, "generation_config.json", "[");
    assert_int_equal(shoal_model_open(shoal_maker_path(maker), &m), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "generation_config.json"));
    shoal_maker_end(maker);
}

static void quantization_files(void **state)
{
    (void)state;
    shoal_maker *maker = make_folder("{}");
    shoal_model *m = open_folder(maker);
    assert_null(m->quantization_json);
    shoal_model_close(m);

    shoal_maker_text(maker, "quant_config.json", "{\"w_bit\": 4}");
    m = open_folder(maker);
    assert_string_equal(m->quantization_json, "{\"w_bit\":4}");
    shoal_model_close(m);

    shoal_maker_text(maker, "quantize_config.json", "{\"bits\": 4}");
    m = open_folder(maker);
    assert_string_equal(m->quantization_json, "{\"bits\":4}");
    shoal_model_close(m);

    char *text = make_config("llama", "{\"quantization_config\": {\"bits\": 8}}");
    shoal_maker_text(maker, "config.json", text);
    free(text);
    m = open_folder(maker);
    assert_string_equal(m->quantization_json, "{\"bits\":8}");
    shoal_model_close(m);
    shoal_maker_end(maker);
}

static void no_folder(void **state)
{
    char path[512];
    shoal_model *m;
    (void)state;
    shoal_maker *maker = shoal_maker_begin();
    assert_int_equal(shoal_model_open(shoal_maker_path(maker), &m), SHOAL_ERR_NOTFOUND);
    assert_non_null(strstr(shoal_error_text(), "config.json"));
    shoal_maker_text(maker, "model.gguf", "GGUF");
    assert_int_equal(shoal_model_open(shoal_maker_path(maker), &m), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "GGUF"));
    snprintf(path, sizeof path, "%s/model.gguf", shoal_maker_path(maker));
    assert_int_equal(shoal_model_open(path, &m), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "GGUF"));
    snprintf(path, sizeof path, "%s/none", shoal_maker_path(maker));
    assert_int_equal(shoal_model_open(path, &m), SHOAL_ERR_NOTFOUND);
    shoal_maker_end(maker);
}

static void memory_runs_out(void **state)
{
    (void)state;
    shoal_maker *maker = make_folder("{\"quantization_config\": {\"bits\": 8}}");
    shoal_maker_text(maker, "generation_config.json", "{}");
    shoal_status st = SHOAL_ERR_TEMPORARY;
    shoal_model *m = NULL;
    const uint64_t live = shoal_mem_live(SHOAL_MEM_CHECKPOINT) + shoal_mem_live(SHOAL_MEM_OTHER);
    for (uint64_t n = 1; st != SHOAL_OK; n++) {
        shoal_mem_fail_nth(n);
        st = shoal_model_open(shoal_maker_path(maker), &m);
        shoal_mem_fail_nth(0);
        if (st != SHOAL_OK) {
            assert_null(m);
            assert_int_equal(shoal_mem_live(SHOAL_MEM_CHECKPOINT) + shoal_mem_live(SHOAL_MEM_OTHER),
                             live);
        }
    }
    shoal_model_close(m);
    shoal_maker_end(maker);
}

/* A folder that cannot be looked into is not one that lacks something. */
static void no_descriptors(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json", "absent.json"};
    shoal_maker *maker = make_folder("{}");
    shoal_weights_kind kind;
    struct rlimit limit;
    char *file;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {0, limit.rlim_max};
    for (size_t i = 0; i < 2; i++) {
        bool there = false;
        assert_int_equal(shoal_folder_look(shoal_maker_path(maker), names[i], &there), SHOAL_OK);
        assert_int_equal(there, i == 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        assert_int_equal(shoal_folder_look(shoal_maker_path(maker), names[i], &there),
                         SHOAL_ERR_IO);
        assert_int_equal(shoal_folder_require(shoal_maker_path(maker), names[i]), SHOAL_ERR_IO);
        assert_int_equal(shoal_folder_weights(shoal_maker_path(maker), &kind, &file), SHOAL_ERR_IO);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    }
    shoal_maker_end(maker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(generation_config), cmocka_unit_test(quantization_files),
        cmocka_unit_test(no_folder),         cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(no_descriptors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
