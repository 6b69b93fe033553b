/* Model folders that must be refused (MF-08 to MF-21): each row makes a folder, opens it as the
 * program does, and expects a code and a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bad_input/bad_folder.h"

/* ---- MF-08: names in the index, things that are no files ---- */

#define INDEX "model.safetensors.index.json"

static shoal_maker *index_text(const char *text)
{
    shoal_maker *maker = good();
    shoal_maker_text(maker, INDEX, text);
    return maker;
}

static const char *const index_texts[] = {
    "{\"weight_map\":{\"a\":\"../model.safetensors\"}}",
    "{\"weight_map\":{\"a\":\"..\"}}",
    "{\"weight_map\":{\"a\":\"/etc/x.safetensors\"}}",
    "{\"weight_map\":{\"a\":\"sub/model.safetensors\"}}",
    "{\"weight_map\":{\"a\":\"model\\u0000.safetensors\"}}",
    "{\"weight_map\":{\"a\":\"model\\u001b[2J.safetensors\"}}",
    "{\"weight_map\":{\"a\":\"model.safetensors\",\"b\":\"Model.safetensors\"}}",
    "{\"weight_map\":{\"a\":\"model.safetensors\",\"a\":\"model.safetensors\"}}",
    "{\"weight_map\":{\"a\":\"\"}}",
    "{\"weight_map\":{\"a\":7}}",
    "{\"weight_map\":{}}",
    "{\"metadata\":{}}",
    "{\"weight_map\":[\"a\"]}",
    "{\"weight_map\":{\"a\":\"model.onnx\"}}",
    "{\"weight_map\":{\"a\\n\":\"model.safetensors\"}}",
    "[]",
    "{",
    "{\"metadata\":{\"total_size\":-1},\"weight_map\":{\"a\":\"model.safetensors\"}}",
    "{\"metadata\":{\"total_size\":\"12\"},\"weight_map\":{\"a\":\"model.safetensors\"}}",
    "[[[[[[[[[[]]]]]]]]]]",
};

enum {
    I_UP,
    I_DOTS,
    I_ROOT,
    I_SUB,
    I_NUL,
    I_CONTROL,
    I_CASE,
    I_TWICE,
    I_EMPTY,
    I_NUMBER,
    I_NO_TENSORS,
    I_NO_MAP,
    I_LIST,
    I_ENDING,
    I_NEWLINE,
    I_NO_OBJECT,
    I_CUT,
    I_TOTAL_NEGATIVE,
    I_TOTAL_TEXT,
    I_DEEP
};

static shoal_maker *written_index(int which)
{
    return index_text(index_texts[which]);
}

static shoal_maker *long_file_name(int bytes)
{
    char *text = malloc((size_t)bytes + 128);
    assert_non_null(text);
    strcpy(text, "{\"weight_map\":{\"a\":\"");
    const size_t begin = strlen(text);
    memset(text + begin, 'n', (size_t)bytes);
    strcpy(text + begin + bytes, ".safetensors\"}}");
    shoal_maker *maker = index_text(text);
    free(text);
    return maker;
}

enum { FIFO, DIRECTORY, DEVICE, LOOP, DANGLING };

/* Put something else in the place of a file. */
static void put(const shoal_maker *maker, const char *name, int what)
{
    char path[512];
    path_of(maker, name, path, sizeof path);
    unlink(path);
    switch (what) {
    case FIFO: assert_int_equal(mkfifo(path, 0600), 0); break;
    case DIRECTORY: assert_int_equal(mkdir(path, 0700), 0); break;
    case DEVICE: assert_int_equal(symlink("/dev/zero", path), 0); break;
    case LOOP: assert_int_equal(symlink(name, path), 0); break;
    default: assert_int_equal(symlink("nowhere", path), 0); break;
    }
}

static shoal_maker *strange_shard(int what)
{
    shoal_maker *maker = good_shards();
    put(maker, "model-00003-of-00006.safetensors", what);
    return maker;
}

static shoal_maker *strange_single(int what)
{
    shoal_maker *maker = good();
    put(maker, "model.safetensors", what);
    return maker;
}

static shoal_maker *strange_index(int what)
{
    shoal_maker *maker = good();
    put(maker, INDEX, what);
    return maker;
}

static shoal_maker *strange_config(int what)
{
    shoal_maker *maker = good();
    put(maker, "config.json", what);
    return maker;
}

static shoal_maker *strange_generation(int what)
{
    shoal_maker *maker = good();
    put(maker, "generation_config.json", what);
    return maker;
}

/* ---- MF-09: index against shards ---- */

static shoal_maker *absent_tensor(int arg)
{
    shoal_maker *maker = good_shards();
    (void)arg;
    edit(maker, INDEX, 0, "weight_map", "\"model.norm.weight\"", "\"model.norm.height\"");
    return maker;
}

static shoal_maker *wrong_shard(int arg)
{
    shoal_maker *maker = good_shards();
    (void)arg;
    edit(maker, INDEX, 0, "\"model.norm.weight\"", "-of-00006",
         "-of-00006.safetensors\",\"x\":\"model-00001-of-00006");
    return maker;
}

static shoal_maker *many_absent(int arg)
{
    char names[1024] = "\"weight_map\":{";
    shoal_maker *maker = good_shards();
    (void)arg;
    for (int i = 0; i < 25; i++) {
        char name[64];
        snprintf(name, sizeof name, "\"absent%d\":\"model-00001-of-00006.safetensors\",", 100 + i);
        if (strlen(names) + strlen(name) < sizeof names)
            strcat(names, name);
    }
    edit(maker, INDEX, 0, "{", "\"weight_map\":{", names);
    return maker;
}

/* The second shard's tensors once more in a shard of their own. */
static shoal_maker *tensor_twice(int arg)
{
    shoal_maker *maker = good_shards();
    size_t bytes;
    char *data = read_whole(maker, "model-00002-of-00006.safetensors", &bytes);
    (void)arg;
    shoal_maker_file(maker, "copy.safetensors", data, bytes);
    free(data);
    edit(maker, INDEX, 0, "weight_map", "model-00002-of-00006", "copy");
    edit(maker, INDEX, 0, "{", "\"weight_map\":{",
         "\"weight_map\":{\"only\":\"model-00002-of-00006.safetensors\",");
    return maker;
}

static shoal_maker *missing_shards(int count)
{
    shoal_maker *maker = good_shards();
    for (int i = 0; i < count; i++) {
        char name[64], path[512];
        snprintf(name, sizeof name, "model-%05d-of-00006.safetensors", 2 + i);
        path_of(maker, name, path, sizeof path);
        assert_int_equal(unlink(path), 0);
    }
    return maker;
}

static shoal_maker *wrong_total(int arg)
{
    shoal_maker *maker = good_shards();
    (void)arg;
    edit(maker, INDEX, 0, "{", "\"total_size\":", "\"total_size\":1");
    return maker;
}

/* ---- MF-13: config.json against itself and against the tensors ---- */

static const char *const config_edits[][2] = {
    {"\"hidden_size\": 64", "\"hidden_size\": 32"},
    {"\"num_attention_heads\": 4", "\"num_attention_heads\": 8"},
    {"\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"},
    {"\"num_key_value_heads\": 2", "\"num_key_value_heads\": 1"},
    {"\"vocab_size\": 80", "\"vocab_size\": 81"},
    {"\"intermediate_size\": 96", "\"intermediate_size\": 128"},
    {"\"num_hidden_layers\": 1", "\"num_hidden_layers\": 2"},
    {"\"head_dim\": 16", "\"head_dim\": 15"},
    {"\"head_dim\": 16", "\"head_dim\": 32"},
    {"\"model_type\": \"llama\"", "\"model_type\": \"lama\""},
    {"\"hidden_size\": 64", "\"hidden_size\": 64, \"hidden_size\": 64"},
    {"\"hidden_size\": 64", "\"hidden_size\": 1e300"},
    {"\"rope_theta\": 500000.0", "\"rope_theta\": NaN"},
    {"\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"mrope\", \"factor\": 2.0}"},
    {"\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 0"},
};

enum {
    C_HIDDEN,
    C_HEADS,
    C_KV,
    C_KV_FEWER,
    C_VOCAB,
    C_FFN,
    C_LAYERS,
    C_ODD,
    C_HEAD_DIM,
    C_TYPE,
    C_TWICE,
    C_FLOAT,
    C_NAN,
    C_ROPE,
    C_EPS
};

static shoal_maker *changed_config(int which)
{
    return config(config_edits[which][0], config_edits[which][1]);
}

static shoal_maker *untied_without_head(int arg)
{
    shoal_recipe recipe = dense;
    (void)arg;
    recipe.tied = true;
    shoal_maker *maker = shoal_recipe_make(&recipe);
    edit(maker, "config.json", 0, "{", "\"tie_word_embeddings\": true",
         "\"tie_word_embeddings\": false");
    return maker;
}

static shoal_maker *few_layers(int arg)
{
    shoal_recipe recipe = dense;
    (void)arg;
    recipe.layers = 2;
    shoal_maker *maker = shoal_recipe_make(&recipe);
    edit(maker, "config.json", 0, "{", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
    return maker;
}

/* A bias that the family does not have belongs to a linear: it is taken, not dropped. */
static shoal_maker *unexpected_bias(int arg)
{
    shoal_recipe recipe = dense;
    (void)arg;
    recipe.qkv_bias = true;
    return shoal_recipe_make(&recipe);
}

static shoal_maker *empty_config(int bytes)
{
    shoal_maker *maker = good();
    char *text = calloc(1, (size_t)bytes + 1);
    assert_non_null(text);
    memset(text, ' ', (size_t)bytes);
    shoal_maker_file(maker, "config.json", text, (size_t)bytes);
    free(text);
    return maker;
}

static shoal_maker *deep_config(int levels)
{
    shoal_maker *maker = good();
    char *text = malloc((size_t)levels);
    assert_non_null(text);
    memset(text, '[', (size_t)levels);
    shoal_maker_file(maker, "config.json", text, (size_t)levels);
    free(text);
    return maker;
}

/* ---- other folders ---- */

static shoal_maker *nothing(int arg)
{
    (void)arg;
    return shoal_maker_begin();
}

static shoal_maker *other_weights(int which)
{
    static const char *const names[] = {"model.gguf", "model.onnx", "notes.txt"};
    char path[512];
    shoal_maker *maker = good();
    path_of(maker, "model.safetensors", path, sizeof path);
    unlink(path);
    shoal_maker_text(maker, names[which], "x");
    return maker;
}

static shoal_maker *lfs_pointer(int arg)
{
    shoal_maker *maker = good();
    (void)arg;
    shoal_maker_text(maker, "model.safetensors",
                     "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n");
    return maker;
}

/* ---- the table ---- */

static const row rows[] = {
    {"MF-08 ../", written_index, I_UP, DATA, "plain file name", "../model", 0, 0},
    {"MF-08 ..", written_index, I_DOTS, DATA, "plain file name", "'..'", 0, 0},
    {"MF-08 absolute", written_index, I_ROOT, DATA, "plain file name", "/etc/x", 0, 0},
    {"MF-08 subfolder", written_index, I_SUB, DATA, "plain file name", "sub/", 0, 0},
    {"MF-08 NUL", written_index, I_NUL, DATA, "NUL", INDEX, 0, 0},
    {"MF-08 control", written_index, I_CONTROL, DATA, "control character", "model?[2J", 0, 0},
    {"MF-08 4 KiB", long_file_name, 4096, DATA, "255 bytes", "", 0, 0},
    {"MF-08 case", written_index, I_CASE, DATA, "only in case", "Model.safetensors", 0, 0},
    {"MF-08 no name", written_index, I_EMPTY, DATA, "file name ''", "", 0, 0},
    {"MF-08 ending", written_index, I_ENDING, DATA, "does not end in", "model.onnx", 0, 0},
    {"MF-08 FIFO", strange_shard, FIFO, DATA, "a pipe", "model-00003", 0, 0},
    {"MF-08 directory", strange_shard, DIRECTORY, DATA, "a directory", "model-00003", 0, 0},
    {"MF-08 device", strange_shard, DEVICE, DATA, "a device", "model-00003", 0, 0},
    {"MF-08 link to itself", strange_shard, LOOP, IO, "symbolic links", "model-00003", 0, 0},
    {"MF-08 link to nothing", strange_shard, DANGLING, NOTFOUND, "model-00003", "", 0, 0},
    {"MF-08 single FIFO", strange_single, FIFO, DATA, "a pipe", "", 0, 0},
    {"MF-08 single device", strange_single, DEVICE, DATA, "a device", "", 0, 0},
    {"MF-08 index FIFO", strange_index, FIFO, DATA, "a pipe", INDEX, 0, 0},
    {"MF-08 config FIFO", strange_config, FIFO, DATA, "a pipe", "config.json", 0, 0},
    {"MF-08 config device", strange_config, DEVICE, DATA, "a device", "config.json", 0, 0},
    {"MF-08 config directory", strange_config, DIRECTORY, DATA, "a directory", "", 0, 0},
    {"MF-08 generation FIFO", strange_generation, FIFO, DATA, "a pipe", "generation_config", 0, 0},

    {"MF-09 absent tensor", absent_tensor, 0, DATA, "model.norm.height", "index", 0, 0},
    {"MF-09 absent from its shard", wrong_shard, 0, DATA, "names 1 tensor", ": x", 0, 0},
    {"MF-09 many absent", many_absent, 0, DATA, "absent109", "more", 0, 0},
    {"MF-09 in two shards", tensor_twice, 0, DATA, "in two files", "copy.safetensors", 0, 0},
    {"MF-09 missing shard", missing_shards, 1, NOTFOUND, "1 of 6", "model-00002-of-00006", 0, 0},
    {"MF-09 missing shards", missing_shards, 4, NOTFOUND, "4 of 6", "model-00005-of-00006", 0, 0},
    {"MF-09 total_size", wrong_total, 0, DATA, "total_size 1", "", 0, 0},
    {"MF-09 negative total", written_index, I_TOTAL_NEGATIVE, DATA, "total_size", "", 0, 0},
    {"MF-09 total is text", written_index, I_TOTAL_TEXT, DATA, "total_size", "", 0, 0},
    {"MF-09 same name twice", written_index, I_TWICE, DATA, "duplicate", INDEX, 0, 0},
    {"MF-09 no file name", written_index, I_NUMBER, DATA, "no file name", "", 0, 0},
    {"MF-09 empty map", written_index, I_NO_TENSORS, DATA, "weight_map is empty", "", 0, 0},
    {"MF-09 no map", written_index, I_NO_MAP, DATA, "weight_map is missing", "", 0, 0},
    {"MF-09 list", written_index, I_LIST, DATA, "weight_map is missing", "", 0, 0},
    {"MF-09 newline in a name", written_index, I_NEWLINE, DATA, "no tensor name", "'a?'", 0, 0},
    {"MF-09 no object", written_index, I_NO_OBJECT, DATA, "not a JSON object", "", 0, 0},
    {"MF-09 cut", written_index, I_CUT, DATA, "line 1", INDEX, 0, 0},
    {"MF-09 deep", written_index, I_DEEP, DATA, "deeper than 8", INDEX, 0, 0},

    {"MF-13 hidden", changed_config, C_HIDDEN, DATA, "[64, 64]", "32 inputs", 0, 0},
    {"MF-13 heads", changed_config, C_HEADS, DATA, "q_proj", "", 0, 0},
    {"MF-13 kv heads divide", changed_config, C_KV, DATA, "num_key_value_heads 3", "", 0, 0},
    {"MF-13 kv heads", changed_config, C_KV_FEWER, DATA, "k_proj", "", 0, 0},
    {"MF-13 vocabulary", changed_config, C_VOCAB, DATA, "embed_tokens", "", 0, 0},
    {"MF-13 intermediate", changed_config, C_FFN, DATA, "mlp", "", 0, 0},
    {"MF-13 layers missing", changed_config, C_LAYERS, DATA, "model.layers.1", "", 0, 0},
    {"MF-13 layers left over", few_layers, 0, DATA, "model.layers.1", "", 0, 0},
    {"MF-13 odd head_dim", changed_config, C_ODD, DATA, "head_dim is 15", "", 0, 0},
    {"MF-13 head_dim", changed_config, C_HEAD_DIM, DATA, "q_proj", "", 0, 0},
    {"MF-13 not tied, no head", untied_without_head, 0, DATA, "lm_head", "", 0, 0},
    {"MF-13 bias is taken", unexpected_bias, 0, SHOAL_OK, "", "", 0, 0},
    {"MF-13 model_type", changed_config, C_TYPE, DATA, "'lama'", "mistral", 0, 0},
    {"MF-13 said twice", changed_config, C_TWICE, DATA, "duplicate", "config.json", 0, 0},
    {"MF-13 float", changed_config, C_FLOAT, DATA, "hidden_size", "whole number", 0, 0},
    {"MF-13 NaN", changed_config, C_NAN, DATA, "config.json: line 1", "", 0, 0},
    {"MF-13 rope type", changed_config, C_ROPE, DATA, "'mrope'", "", 0, 0},
    {"MF-13 eps", changed_config, C_EPS, DATA, "rms_norm_eps is 0", "", 0, 0},
    {"MF-13 empty config", empty_config, 0, DATA, "config.json", "", 0, 0},
    {"MF-13 blank config", empty_config, 1000, DATA, "config.json", "", 0, 0},
    {"MF-13 config too large", empty_config, 16777217, DATA, "16777217", "16777216", 0, 0},
    {"MF-13 deep config", deep_config, 100000, DATA, "deeper than 32", "", 0, 0},

    {"empty folder", nothing, 0, NOTFOUND, "config.json", "", 0, 0},
    {"GGUF", other_weights, 0, DATA, "model.gguf", "not a GGUF file", 0, 0},
    {"ONNX", other_weights, 1, DATA, "ONNX", "not supported by this version", 0, 0},
    {"no weights", other_weights, 2, NOTFOUND, "no *.safetensors file", "", 0, 0},
    {"Git LFS", lfs_pointer, 0, DATA, "Git LFS", "", 0, 0},
};

static void bad_folders(void **state)
{
    (void)state;
    check_rows(rows, LENGTH(rows));
}

/* MF-21: files and folders that may not be read. */
static void no_permission(void **state)
{
    static const char *const names[] = {"config.json", "model.safetensors", ""};
    char path[512];
    (void)state;
    for (size_t i = 0; i < LENGTH(names); i++) {
        const row r = {"MF-21", NULL, 0, IO, "Permission denied", "shoal-model", 0, 0};
        shoal_maker *maker = good();
        assert_int_equal(chmod(shoal_maker_path(maker), 0755), 0);
        path_of(maker, names[i], path, sizeof path);
        assert_int_equal(chmod(path, 0), 0);
        assert_true(check_row(&r, maker, geteuid() == 0)); /* root may read everything */
        assert_int_equal(chmod(path, 0700), 0);
        shoal_maker_end(maker);
    }
}

/* MF-21: a file that another replaces between opening and the end of loading. */
static void replaced_while_open(void **state)
{
    char path[512];
    size_t bytes;
    shoal_checkpoint *c;
    (void)state;
    shoal_maker *maker = good();
    path_of(maker, "model.safetensors", path, sizeof path);
    char *data = read_whole(maker, "model.safetensors", &bytes);
    assert_int_equal(shoal_checkpoint_open(shoal_maker_path(maker), &c), SHOAL_OK);
    assert_int_equal(shoal_checkpoint_verify_unchanged(c), SHOAL_OK);
    unlink(path);
    shoal_maker_file(maker, "model.safetensors", data, bytes);
    assert_int_equal(shoal_checkpoint_verify_unchanged(c), SHOAL_ERR_IO);
    assert_non_null(strstr(shoal_error_text(), "replaced"));
    shoal_checkpoint_close(c);
    free(data);
    shoal_maker_end(maker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_folders),
        cmocka_unit_test(no_permission),
        cmocka_unit_test(replaced_while_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
