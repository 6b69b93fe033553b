/* Model folders that must be refused: each row makes a folder, opens it as the program does, and
 * expects a code and a sentence. The opening runs in a child process, so that a crash, a hang or a
 * hunger for memory is one row's failure and not the end of the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/bytes.h"
#include "shard/checkpoint.h"
#include "shard/manifest.h"
#include "shard/model.h"
#include "tests/support/model_recipe.h"
#include "tests/support/sanitized.h"

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])

#if SANITIZED
enum { SLOWER = 15, CHECK_MEMORY = 0 };
#else
enum { SLOWER = 2, CHECK_MEMORY = 1 }; /* other programs run on this machine too */
#endif

/* ---- opening, in a child ---- */

typedef struct {
    int status;
    char text[SHOAL_ERROR_MAX];
} outcome;

static shoal_status open_model(const char *folder)
{
    const shoal_manifest_options options = {0};
    shoal_model *model = NULL;
    shoal_checkpoint *checkpoint = NULL;
    shoal_manifest *manifest = NULL;
    shoal_status st = shoal_model_open(folder, &model);
    if (st == SHOAL_OK)
        st = shoal_model_check_supported(model);
    if (st == SHOAL_OK)
        st = shoal_checkpoint_open(folder, &checkpoint);
    if (st == SHOAL_OK)
        st = shoal_manifest_create(model, checkpoint, &options, &manifest);
    shoal_manifest_destroy(manifest);
    shoal_checkpoint_close(checkpoint);
    shoal_model_close(model);
    return st;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void child(const char *folder, bool as_nobody, int to)
{
    outcome o = {0};
    if (as_nobody && (setegid(65534) != 0 || seteuid(65534) != 0))
        o.status = -1;
    else
        o.status = (int)open_model(folder);
    snprintf(o.text, sizeof o.text, "%s", shoal_error_text());
    const int code = write(to, &o, sizeof o) == (ssize_t)sizeof o ? 0 : 9;
    if (as_nobody)
        _exit(code); /* a process that gave up its user cannot be looked through for leaks */
    exit(code);
}

/* Print what is wrong with a row; the table goes on. */
static bool complain(const char *id, const char *format, ...) SHOAL_PRINTF(2, 3);
static bool complain(const char *id, const char *format, ...)
{
    char text[SHOAL_ERROR_MAX + 256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    print_error("%s: %s\n", id, text);
    return false;
}

/* The outcome of opening a folder; a child that dies or takes over `seconds` fails the row. */
static bool open_in_child(const char *id, const char *folder, bool as_nobody, double seconds,
                          long memory_kib, outcome *out)
{
    int ends[2], status;
    struct rusage usage;
    const double begin = now();
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(ends[0]);
        child(folder, as_nobody, ends[1]);
    }
    close(ends[1]);
    struct pollfd wait_for = {.fd = ends[0], .events = POLLIN};
    const bool answered = poll(&wait_for, 1, (int)(seconds * SLOWER * 1000)) == 1 &&
                          read(ends[0], out, sizeof *out) == (ssize_t)sizeof *out;
    const double took = now() - begin;
    if (!answered)
        kill(pid, SIGKILL);
    close(ends[0]);
    assert_int_equal(wait4(pid, &status, 0, &usage), pid);
    if (!answered || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return complain(id, "no answer in %.1f s, wait status 0x%x", took, (unsigned)status);
    if (CHECK_MEMORY && usage.ru_maxrss > memory_kib)
        return complain(id, "%ld KiB of memory", usage.ru_maxrss);
    return true;
}

/* ---- a good model to damage ---- */

static const shoal_recipe dense = {
    .family = "llama",
    .layers = 1,
    .hidden = 64,
    .intermediate = 96,
    .heads = 4,
    .kv_heads = 2,
    .head_dim = 16,
    .vocab = 80,
    .context = 64,
    .seed = 1,
};

static shoal_maker *good(void)
{
    return shoal_recipe_make(&dense);
}

static shoal_maker *good_shards(void)
{
    shoal_recipe recipe = dense;
    recipe.shard_bytes = 20000;
    return shoal_recipe_make(&recipe);
}

static shoal_maker *good_gptq(void)
{
    shoal_recipe recipe = dense;
    recipe.bits = 4;
    recipe.group = 32;
    return shoal_recipe_make(&recipe);
}

static void path_of(const shoal_maker *maker, const char *name, char *out, size_t room)
{
    snprintf(out, room, "%s/%s", shoal_maker_path(maker), name);
}

static char *read_whole(const shoal_maker *maker, const char *name, size_t *bytes)
{
    char path[512];
    path_of(maker, name, path, sizeof path);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *bytes = (size_t)ftell(f);
    rewind(f);
    char *data = calloc(1, *bytes + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *bytes, f), *bytes);
    fclose(f);
    return data;
}

/* Replace the first `from` after the first `after` in a text file or in a header, whose length is
 * then written anew. */
static void edit(shoal_maker *maker, const char *name, size_t header_at, const char *after,
                 const char *from, const char *to)
{
    size_t bytes;
    char *data = read_whole(maker, name, &bytes);
    char *place = strstr(data + header_at, after);
    place = place ? strstr(place, from) : NULL;
    if (!place)
        fail_msg("no '%s' after '%s' in %s", from, after, name);
    const size_t begin = (size_t)(place - data), end = begin + strlen(from);
    const size_t grown = bytes - strlen(from) + strlen(to);
    char *out = malloc(grown + 1);
    assert_non_null(out);
    memcpy(out, data, begin);
    memcpy(out + begin, to, strlen(to));
    memcpy(out + begin + strlen(to), data + end, bytes - end);
    if (header_at)
        shoal_store_le64(out, shoal_load_le64(data) + strlen(to) - strlen(from));
    shoal_maker_file(maker, name, out, grown);
    free(out);
    free(data);
}

static shoal_maker *edited(shoal_maker *maker, const char *after, const char *from, const char *to)
{
    edit(maker, "model.safetensors", 8, after, from, to);
    return maker;
}

static shoal_maker *config(const char *from, const char *to)
{
    shoal_maker *maker = good();
    edit(maker, "config.json", 0, "{", from, to);
    return maker;
}

/* A model.safetensors of this header and so many zero bytes of data. */
static shoal_maker *with_header(const char *header, size_t bytes, uint64_t data)
{
    shoal_maker *maker = good();
    char *file = calloc(1, 8 + bytes + (size_t)data);
    assert_non_null(file);
    shoal_store_le64(file, bytes);
    memcpy(file + 8, header, bytes);
    shoal_maker_file(maker, "model.safetensors", file, 8 + bytes + (size_t)data);
    free(file);
    return maker;
}

static shoal_maker *text_header(const char *header, uint64_t data)
{
    return with_header(header, strlen(header), data);
}

/* ---- MF-01: lengths ---- */

static shoal_maker *short_file(int bytes)
{
    shoal_maker *maker = good();
    shoal_maker_file(maker, "model.safetensors", "\2\0\0\0\0\0\0", (size_t)bytes);
    return maker;
}

/* A sparse file that claims a header of a certain length. */
static shoal_maker *claims(uint64_t header, uint64_t file_bytes)
{
    char path[512];
    uint8_t prefix[8];
    shoal_maker *maker = good();
    shoal_store_le64(prefix, header);
    shoal_maker_file(maker, "model.safetensors", prefix, sizeof prefix);
    path_of(maker, "model.safetensors", path, sizeof path);
    assert_int_equal(truncate(path, (off_t)file_bytes), 0);
    return maker;
}

static shoal_maker *claimed_length(int which)
{
    static const uint64_t cases[][2] = {
        {0, 100},
        {101, 100},
        {1ull << 63, 100},
        {UINT64_MAX, 100},
        {100000001, 200000000},
        {100000000, 200000000}, /* allowed, but nothing in it */
    };
    return claims(cases[which][0], cases[which][1]);
}

/* ---- MF-02, 04, 05, 06: headers written out ---- */

#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static const struct {
    const char *header;
    uint64_t data;
} headers[] = {
    {"[{}]", 0},
    {"{\"\xff\":{}}", 0},
    {"{" T("a", "U8", "[1]", "[0,1]") "}<html>", 1},
    {"{" T("a", "U8", "[4]", "[4,0]") "}", 4},
    {"{" T("a", "U8", "[4]", "[-4,0]") "}", 4},
    {"{" T("a", "U8", "[4]", "[0.0,4.0]") "}", 4},
    {"{" T("a", "U8", "[4]", "[0,18446744073709551615]") "}", 4},
    {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[4]", "[2,6]") "}", 6},
    {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[4]", "[5,9]") "}", 9},
    {"{" T("a", "U8", "[4]", "[0,4]") "," T("b", "U8", "[0]", "[2,2]") "}", 4},
    {"{" T("a", "U8", "[4294967296,4294967296]", "[0,0]") "}", 0},
    {"{" T("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") "}", 1},
    {"{" T("a", "Q4", "[4]", "[0,4]") "}", 4},
    {"{" T("a", "F32", "[4]", "[0,4]") "}", 4},
    {"{" T("a", "F4", "[3]", "[0,2]") "}", 2},
    {"{" T("a", "U8", "[4]", "[0,4]") "," T("a", "U8", "[4]", "[4,8]") "}", 8},
    {"{}", 0},
};

enum {
    H_NO_BRACE,
    H_UTF8,
    H_GARBAGE,
    H_BACKWARDS,
    H_NEGATIVE,
    H_FLOAT,
    H_HUGE,
    H_OVERLAP,
    H_HOLE,
    H_HOLLOW,
    H_OVERFLOW,
    H_RANK,
    H_DTYPE,
    H_BYTES,
    H_HALF_BYTE,
    H_TWICE,
    H_NOTHING
};

static shoal_maker *written_header(int which)
{
    return text_header(headers[which].header, headers[which].data);
}

static shoal_maker *nul_in_header(int arg)
{
    static const char header[] = "{\"a\0\":{}}";
    (void)arg;
    return with_header(header, sizeof header - 1, 0);
}

/* ---- MF-03: much of everything ---- */

static shoal_maker *deep(int levels)
{
    char *header = calloc(1, (size_t)levels + 64);
    assert_non_null(header);
    strcpy(header, "{\"a\":{\"x\":");
    memset(header + strlen(header), '[', (size_t)levels);
    shoal_maker *maker = text_header(header, 0);
    free(header);
    return maker;
}

static shoal_maker *million_tensors(int count)
{
    char *header = malloc((size_t)count * 72 + 16), *to = header;
    assert_non_null(header);
    *to++ = '{';
    for (int i = 0; i < count; i++)
        to += sprintf(to, "%s\"t%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                      i ? "," : "", i);
    *to++ = '}';
    shoal_maker *maker = with_header(header, (size_t)(to - header), 0);
    free(header);
    return maker;
}

static shoal_maker *padded_header(int bytes)
{
    shoal_maker *maker = good();
    char *spaces = malloc((size_t)bytes + 2);
    assert_non_null(spaces);
    spaces[0] = '{';
    memset(spaces + 1, ' ', (size_t)bytes);
    spaces[bytes + 1] = '\0';
    edit(maker, "model.safetensors", 8, "{", "{", spaces);
    free(spaces);
    return maker;
}

static shoal_maker *long_key(int bytes)
{
    char *header = malloc((size_t)bytes + 128);
    assert_non_null(header);
    header[0] = '{';
    header[1] = '"';
    memset(header + 2, 'k', (size_t)bytes);
    strcpy(header + 2 + bytes, "\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}");
    shoal_maker *maker = text_header(header, 0);
    free(header);
    return maker;
}

/* ---- MF-05, 06: shapes and dtypes that the model cannot use ---- */

static shoal_maker *scalar_weight(int arg)
{
    (void)arg;
    return edited(good(), "model.norm.weight", "\"shape\":[64]", "\"shape\":[1,64]");
}

static shoal_maker *empty_weight(int arg)
{
    shoal_maker *maker = good();
    size_t bytes;
    char *data = read_whole(maker, "model.safetensors", &bytes);
    (void)arg;
    /* the last tensor: lm_head [80, 64] */
    edit(maker, "model.safetensors", 8, "lm_head.weight", "[80,64]", "[0,64]");
    free(data);
    data = read_whole(maker, "model.safetensors", &bytes);
    const uint64_t header = shoal_load_le64(data), all = bytes - 8 - header;
    char from[64], to[64];
    snprintf(from, sizeof from, "%llu]}", (unsigned long long)all);
    snprintf(to, sizeof to, "%llu]}", (unsigned long long)(all - 80 * 64 * 2));
    shoal_maker_file(maker, "model.safetensors", data, bytes - 80 * 64 * 2);
    edit(maker, "model.safetensors", 8, "lm_head.weight", from, to);
    free(data);
    return maker;
}

static shoal_maker *float_codes(int arg)
{
    (void)arg;
    return edited(good_gptq(), "q_proj.qweight", "I32", "F32");
}

/* ---- MF-07: cut files ---- */

static shoal_maker *cut_file(int permille)
{
    shoal_maker *maker = good();
    size_t bytes;
    char *data = read_whole(maker, "model.safetensors", &bytes);
    shoal_maker_file(maker, "model.safetensors", data, bytes * (size_t)permille / 1000);
    free(data);
    return maker;
}

static shoal_maker *cut_shard(int arg)
{
    static const char name[] = "model-00002-of-00006.safetensors";
    shoal_maker *maker = good_shards();
    size_t bytes;
    char *data = read_whole(maker, name, &bytes);
    (void)arg;
    shoal_maker_file(maker, name, data, bytes - 1);
    free(data);
    return maker;
}

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
    "{\"weight_map\":{\"a\":\"pytorch_model.bin\"}}",
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
    I_PICKLE,
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
    {"\"rope_scaling\": null", "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}"},
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
    C_DYNAMIC,
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
    static const char *const names[] = {"model.gguf", "pytorch_model.bin", "notes.txt"};
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

static shoal_maker *good_one(int shards)
{
    return shards ? good_shards() : good();
}

/* ---- the table ---- */

enum { DATA = SHOAL_ERR_DATA, NOTFOUND = SHOAL_ERR_NOTFOUND, IO = SHOAL_ERR_IO };

typedef struct {
    const char *id;
    shoal_maker *(*make)(int arg);
    int arg;
    int status;
    const char *says, *also;
    double seconds;  /* 0: 2 */
    long memory_mib; /* 0: 64 */
} row;

static const row rows[] = {
    {"good", good_one, 0, SHOAL_OK, "", "", 0, 0},
    {"good, in shards", good_one, 1, SHOAL_OK, "", "", 0, 0},

    {"MF-01 0 bytes", short_file, 0, DATA, "0 bytes", "model.safetensors", 0, 0},
    {"MF-01 1 byte", short_file, 1, DATA, "1 bytes", "at least 8", 0, 0},
    {"MF-01 7 bytes", short_file, 7, DATA, "7 bytes", "at least 8", 0, 0},
    {"MF-01 N = 0", claimed_length, 0, DATA, "header of 0 bytes", "file of 100", 0, 0},
    {"MF-01 N > file", claimed_length, 1, DATA, "header of 101 bytes", "file of 100", 0, 0},
    {"MF-01 N = 2^63", claimed_length, 2, DATA, "9223372036854775808", "file of 100", 0, 0},
    {"MF-01 N = 2^64-1", claimed_length, 3, DATA, "18446744073709551615", "file of 100", 0, 0},
    {"MF-01 N over the cap", claimed_length, 4, DATA, "100000001", "200000000", 0, 0},
    {"MF-01 N at the cap", claimed_length, 5, DATA, "'{'", "", 0, 256},

    {"MF-02 no brace", written_header, H_NO_BRACE, DATA, "'{'", "model.safetensors", 0, 0},
    {"MF-02 UTF-8", written_header, H_UTF8, DATA, "UTF-8", "", 0, 0},
    {"MF-02 NUL", nul_in_header, 0, DATA, "NUL", "", 0, 0},
    {"MF-02 garbage behind", written_header, H_GARBAGE, DATA, "spaces", "", 0, 0},

    {"MF-03 depth", deep, 10000, DATA, "8 levels", "tensor a", 0, 0},
    {"MF-03 tensors", million_tensors, 1000001, DATA, "1000000", "", 10, 1200},
    {"MF-03 white space", padded_header, 50000000, SHOAL_OK, "", "", 5, 256},
    {"MF-03 long key", long_key, 10000000, DATA, "10000000 bytes", "1024", 2, 128},
    {"MF-03 same key twice", written_header, H_TWICE, DATA, "two tensors are called a", "", 0, 0},

    {"MF-04 begin > end", written_header, H_BACKWARDS, DATA, "begins at 4", "tensor a", 0, 0},
    {"MF-04 negative", written_header, H_NEGATIVE, DATA, "negative", "tensor a", 0, 0},
    {"MF-04 float", written_header, H_FLOAT, DATA, "whole", "tensor a", 0, 0},
    {"MF-04 2^64-1", written_header, H_HUGE, DATA, "18446744073709551615", "tensor a", 0, 0},
    {"MF-04 overlap", written_header, H_OVERLAP, DATA, "a and b overlap", "", 0, 0},
    {"MF-04 hole", written_header, H_HOLE, DATA, "between a and b", "1 bytes", 0, 0},
    {"MF-04 empty inside", written_header, H_HOLLOW, DATA, "a and b overlap", "", 0, 0},

    {"MF-05 overflow", written_header, H_OVERFLOW, DATA, "overflow", "tensor a", 0, 0},
    {"MF-05 rank 9", written_header, H_RANK, DATA, "8 dimensions", "tensor a", 0, 0},
    {"MF-05 rank of a norm", scalar_weight, 0, DATA, "model.norm.weight", "", 0, 0},
    {"MF-05 no rows", empty_weight, 0, DATA, "lm_head.weight", "[0, 64]", 0, 0},

    {"MF-06 unknown dtype", written_header, H_DTYPE, DATA, "'Q4'", "tensor a", 0, 0},
    {"MF-06 bytes", written_header, H_BYTES, DATA, "4 bytes", "needs 16", 0, 0},
    {"MF-06 half a byte", written_header, H_HALF_BYTE, DATA, "12 bits", "", 0, 0},
    {"MF-06 float codes", float_codes, 0, DATA, "q_proj", "F32", 0, 0},

    {"MF-07 half a file", cut_file, 500, DATA, "cut off", "", 0, 0},
    {"MF-07 nearly all", cut_file, 999, DATA, "cut off", "", 0, 0},
    {"MF-07 header cut", cut_file, 5, DATA, "cut off", "", 0, 0},
    {"MF-07 shard", cut_shard, 0, DATA, "model-00002-of-00006", "cut off", 0, 0},

    {"MF-08 ../", written_index, I_UP, DATA, "plain file name", "../model", 0, 0},
    {"MF-08 ..", written_index, I_DOTS, DATA, "plain file name", "'..'", 0, 0},
    {"MF-08 absolute", written_index, I_ROOT, DATA, "plain file name", "/etc/x", 0, 0},
    {"MF-08 subfolder", written_index, I_SUB, DATA, "plain file name", "sub/", 0, 0},
    {"MF-08 NUL", written_index, I_NUL, DATA, "NUL", INDEX, 0, 0},
    {"MF-08 control", written_index, I_CONTROL, DATA, "control character", "model?[2J", 0, 0},
    {"MF-08 4 KiB", long_file_name, 4096, DATA, "255 bytes", "", 0, 0},
    {"MF-08 case", written_index, I_CASE, DATA, "only in case", "Model.safetensors", 0, 0},
    {"MF-08 no name", written_index, I_EMPTY, DATA, "file name ''", "", 0, 0},
    {"MF-08 pickle", written_index, I_PICKLE, DATA, "PyTorch", "pytorch_model.bin", 0, 0},
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
    {"MF-13 rope type", changed_config, C_DYNAMIC, DATA, "'dynamic'", "", 0, 0},
    {"MF-13 eps", changed_config, C_EPS, DATA, "rms_norm_eps is 0", "", 0, 0},
    {"MF-13 empty config", empty_config, 0, DATA, "config.json", "", 0, 0},
    {"MF-13 blank config", empty_config, 1000, DATA, "config.json", "", 0, 0},
    {"MF-13 config too large", empty_config, 16777217, DATA, "16777217", "16777216", 0, 0},
    {"MF-13 deep config", deep_config, 100000, DATA, "deeper than 32", "", 0, 0},

    {"empty folder", nothing, 0, NOTFOUND, "config.json", "", 0, 0},
    {"GGUF", other_weights, 0, DATA, "GGUF", "not supported by this version", 0, 0},
    {"pickle", other_weights, 1, DATA, "PyTorch", "not supported by this version", 0, 0},
    {"no weights", other_weights, 2, NOTFOUND, "no *.safetensors file", "", 0, 0},
    {"no header", written_header, H_NOTHING, DATA, "no tensors", "", 0, 0},
    {"Git LFS", lfs_pointer, 0, DATA, "Git LFS", "", 0, 0},
};

static bool check_row(const row *r, const shoal_maker *maker, bool as_nobody)
{
    outcome o;
    if (!open_in_child(r->id, shoal_maker_path(maker), as_nobody, r->seconds > 0 ? r->seconds : 2,
                       (r->memory_mib ? r->memory_mib : 64) * 1024, &o))
        return false;
    if (o.status != r->status)
        return complain(r->id, "status %d instead of %d: %s", o.status, r->status, o.text);
    if (o.status == SHOAL_OK)
        return true;
    if (!strstr(o.text, r->says) || !strstr(o.text, r->also))
        return complain(r->id, "no '%s' and '%s' in: %s", r->says, r->also, o.text);
    for (const char *c = o.text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return complain(r->id, "a control character in the sentence");
    return true;
}

static void bad_folders(void **state)
{
    size_t failed = 0;
    (void)state;
    for (size_t i = 0; i < LENGTH(rows); i++) {
        shoal_maker *maker = rows[i].make(rows[i].arg);
        failed += !check_row(&rows[i], maker, false);
        shoal_maker_end(maker);
    }
    print_message("%zu folders, %zu failed\n", LENGTH(rows), failed);
    assert_int_equal(failed, 0);
}

/* MF-07: every prefix of a small file, then random ones of a larger file. */
static void every_prefix(void **state)
{
    static const int64_t shape[] = {3, 5};
    char path[512];
    size_t bytes;
    shoal_checkpoint *c = NULL;
    (void)state;
    shoal_maker *maker = shoal_maker_begin();
    shoal_maker_tensor(maker, "first", SHOAL_BF16, 2, shape, NULL, NULL);
    shoal_maker_tensor(maker, "second", SHOAL_U8, 1, shape, NULL, NULL);
    shoal_maker_write(maker, 0);
    char *data = read_whole(maker, "model.safetensors", &bytes);
    path_of(maker, "model.safetensors", path, sizeof path);
    assert_int_equal(shoal_checkpoint_open(path, &c), SHOAL_OK);
    shoal_checkpoint_close(c);
    for (size_t cut = 0; cut < bytes; cut++) {
        shoal_maker_file(maker, "model.safetensors", data, cut);
        assert_int_equal(shoal_checkpoint_open(path, &c), SHOAL_ERR_DATA);
        assert_non_null(strstr(shoal_error_text(), "model.safetensors"));
    }
    free(data);
    shoal_maker_end(maker);

    maker = good();
    uint64_t seed = 7;
    data = read_whole(maker, "model.safetensors", &bytes);
    path_of(maker, "model.safetensors", path, sizeof path);
    for (int i = 0; i < 64; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        shoal_maker_file(maker, "model.safetensors", data, (size_t)(seed >> 20) % bytes);
        assert_int_equal(shoal_checkpoint_open(path, &c), SHOAL_ERR_DATA);
    }
    free(data);
    shoal_maker_end(maker);
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
        cmocka_unit_test(every_prefix),
        cmocka_unit_test(no_permission),
        cmocka_unit_test(replaced_while_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
