/* Model folders on disk: which files are taken, that every read brings exactly the bytes written,
 * whatever the strides and however many threads, that bytes are counted, and that a file which
 * changes under us is noticed. Golden checkpoints open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/arena.h"
#include "shard/checkpoint.h"
#include "tests/support/model_maker.h"

#define LENGTH(a) (sizeof(a) / sizeof(a)[0])

/* Byte `offset` of a tensor with this seed. */
static uint8_t byte_at(uint64_t seed, uint64_t offset)
{
    uint64_t z = (offset + 1) * 0x9e3779b97f4a7c15u ^ seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return (uint8_t)(z >> 40);
}

static void fill(void *context, uint64_t offset, size_t bytes, uint8_t *out)
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = byte_at(*(uint64_t *)context, offset + i);
}

/* Four tensors, listed against their alphabetical order. */
static uint64_t seeds[] = {4, 3, 2, 1};

static shoal_maker *make_four(uint64_t shard_bytes)
{
    static const int64_t shapes[][2] = {{700, 900}, {64, 0}, {300, 5000}, {16, 16}};
    static const char *const names[] = {"d.weight", "c.bias", "b.weight", "a.weight"};
    shoal_maker *maker = shoal_maker_begin();
    for (int i = 0; i < 4; i++)
        shoal_maker_tensor(maker, names[i], i == 1 ? SHOAL_F32 : SHOAL_U8, shapes[i][1] ? 2 : 1,
                           shapes[i], fill, &seeds[i]);
    shoal_maker_write(maker, shard_bytes);
    return maker;
}

static shoal_checkpoint *must_open(const char *path)
{
    shoal_checkpoint *checkpoint = NULL;
    if (shoal_checkpoint_open(path, &checkpoint) != SHOAL_OK)
        fail_msg("%s: %s", path, shoal_error_text());
    return checkpoint;
}

static const shoal_tensor *must_find(const shoal_checkpoint *checkpoint, const char *name)
{
    const shoal_tensor *t = shoal_checkpoint_find(checkpoint, name);
    assert_non_null(t);
    return t;
}

static void path_in(const shoal_maker *maker, const char *name, char *out, size_t room)
{
    snprintf(out, room, "%s/%s", shoal_maker_path(maker), name);
}

static void rename_in(const shoal_maker *maker, const char *from, const char *to)
{
    char a[512], b[512];
    path_in(maker, from, a, sizeof a);
    path_in(maker, to, b, sizeof b);
    assert_int_equal(rename(a, b), 0);
}

/* ---- the table ---- */

static void tensors_in_order(void **state)
{
    static const uint64_t shard_sizes[] = {0, 1, 640000, 1u << 30};
    static const int files[] = {1, 4, 3, 1};
    (void)state;
    for (size_t i = 0; i < LENGTH(shard_sizes); i++) {
        shoal_maker *maker = make_four(shard_sizes[i]);
        shoal_checkpoint *c = must_open(shoal_maker_path(maker));
        assert_int_equal(shoal_checkpoint_count(c), 4);
        assert_int_equal(shoal_checkpoint_files(c), files[i]);
        assert_int_equal(shoal_checkpoint_bytes(c), shoal_maker_bytes(maker));
        assert_int_equal(shoal_checkpoint_bytes_read(c), 0);
        for (size_t t = 0; t < 4; t++) {
            const shoal_tensor *tensor = shoal_checkpoint_at(c, t);
            assert_int_equal(tensor->name[0], 'a' + (int)t);
            assert_ptr_equal(shoal_checkpoint_find(c, tensor->name), tensor);
            assert_int_equal(shoal_checkpoint_index(c, tensor), t);
            assert_true(tensor->file >= 0 && tensor->file < files[i]);
            assert_int_equal(access(shoal_checkpoint_file(c, tensor->file), R_OK), 0);
        }
        assert_null(shoal_checkpoint_find(c, ""));
        assert_null(shoal_checkpoint_find(c, "a"));
        assert_null(shoal_checkpoint_find(c, "z"));
        assert_int_equal(must_find(c, "c.bias")->rank, 1);
        assert_int_equal(must_find(c, "c.bias")->bytes, 256);
        assert_int_equal(must_find(c, "d.weight")->shape[1], 900);
        shoal_checkpoint_close(c);
        shoal_maker_end(maker);
    }
}

static void any_file_name(void **state)
{
    char path[512];
    (void)state;
    shoal_maker *maker = make_four(0);
    rename_in(maker, "model.safetensors", "gptq_model-4bit-128g.safetensors");
    shoal_checkpoint_close(must_open(shoal_maker_path(maker)));
    path_in(maker, "gptq_model-4bit-128g.safetensors", path, sizeof path);
    shoal_checkpoint_close(must_open(path)); /* the file itself */

    /* A second one without an index is a question, not a model. */
    shoal_maker_text(maker, "adapter.safetensors", "{}");
    shoal_checkpoint *c;
    assert_int_equal(shoal_checkpoint_open(shoal_maker_path(maker), &c), SHOAL_ERR_DATA);
    assert_non_null(strstr(shoal_error_text(), "adapter.safetensors"));
    assert_non_null(strstr(shoal_error_text(), "gptq_model-4bit-128g.safetensors"));

    /* model.safetensors is taken whatever lies beside it. */
    rename_in(maker, "gptq_model-4bit-128g.safetensors", "model.safetensors");
    shoal_checkpoint_close(must_open(shoal_maker_path(maker)));
    shoal_maker_end(maker);
}

static void index_comes_first(void **state)
{
    (void)state;
    shoal_maker *maker = make_four(1);
    shoal_maker_text(maker, "model.safetensors", "no model at all");
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    assert_int_equal(shoal_checkpoint_files(c), 4);
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
}

/* Hugging Face caches are folders of links. */
static void links_are_followed(void **state)
{
    char from[512], to[512];
    (void)state;
    shoal_maker *maker = make_four(0), *links = shoal_maker_begin();
    path_in(maker, "model.safetensors", from, sizeof from);
    path_in(links, "model.safetensors", to, sizeof to);
    assert_int_equal(symlink(from, to), 0);
    shoal_checkpoint *c = must_open(shoal_maker_path(links));
    assert_int_equal(shoal_checkpoint_verify_unchanged(c), SHOAL_OK);
    shoal_checkpoint_close(c);
    shoal_maker_end(links);
    shoal_maker_end(maker);
}

/* What the map does not name is not there. */
static void unmapped_tensor_is_left_out(void **state)
{
    static const char index[] =
        "{\"weight_map\":{\"a.weight\":\"model-00004-of-00004.safetensors\","
        "\"b.weight\":\"model-00003-of-00004.safetensors\"}}";
    (void)state;
    shoal_maker *maker = make_four(1);
    shoal_maker_text(maker, "model.safetensors.index.json", index);
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    assert_int_equal(shoal_checkpoint_count(c), 2);
    assert_int_equal(shoal_checkpoint_files(c), 2);
    assert_null(shoal_checkpoint_find(c, "c.bias"));
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);

    maker = make_four(1u << 30); /* all four in one file, the map names one */
    shoal_maker_text(maker, "model.safetensors.index.json",
                     "{\"metadata\":{\"total_size\":256.0},\"weight_map\":"
                     "{\"a.weight\":\"model-00001-of-00001.safetensors\"}}");
    c = must_open(shoal_maker_path(maker));
    assert_int_equal(shoal_checkpoint_count(c), 1);
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
}

/* ---- reading ---- */

static void check_rows(const uint8_t *got, uint64_t seed, uint64_t offset, uint64_t bytes,
                       uint64_t stride, uint64_t rows)
{
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t i = 0; i < bytes; i++)
            if (got[r * bytes + i] != byte_at(seed, offset + r * stride + i))
                fail_msg("byte %llu of row %llu, stride %llu", (unsigned long long)i,
                         (unsigned long long)r, (unsigned long long)stride);
}

static void every_stride(void **state)
{
    static const uint64_t runs[] = {1, 2, 63, 64, 900, 4096, 5000};
    static const uint64_t gaps[] = {0, 1, 64, 4095, 4096, 4097, 5001, 20000, 600000};
    uint64_t expected = 0;
    (void)state;
    shoal_maker *maker = make_four(640000);
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    const shoal_tensor *t = must_find(c, "b.weight"); /* 1.5 MB */
    uint8_t *out = malloc(t->bytes);
    assert_non_null(out);
    for (size_t i = 0; i < LENGTH(runs); i++)
        for (size_t g = 0; g < LENGTH(gaps); g++) {
            const uint64_t bytes = runs[i], stride = bytes + gaps[g], offset = 7 * (i + g);
            uint64_t rows = (t->bytes - offset - bytes) / stride + 1;
            memset(out, 0, t->bytes);
            assert_int_equal(shoal_checkpoint_read_rows(c, t, offset, bytes, stride, rows, out),
                             SHOAL_OK);
            check_rows(out, 2, offset, bytes, stride, rows);
            expected += rows * bytes;
            assert_int_equal(shoal_checkpoint_bytes_read(c), expected);
            /* one row more would leave the tensor */
            assert_int_equal(shoal_checkpoint_read_rows(c, t, offset, bytes, stride, rows + 1, out),
                             SHOAL_ERR_INTERNAL);
        }
    assert_int_equal(shoal_checkpoint_bytes_read(c), expected);
    free(out);
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
}

static void plain_reads(void **state)
{
    uint8_t out[256];
    (void)state;
    shoal_maker *maker = make_four(0);
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    const shoal_tensor *t = must_find(c, "a.weight");
    assert_int_equal(shoal_checkpoint_read(c, t, 0, 256, out), SHOAL_OK);
    check_rows(out, 1, 0, 256, 256, 1);
    assert_int_equal(shoal_checkpoint_read(c, t, 255, 1, out), SHOAL_OK);
    check_rows(out, 1, 255, 1, 1, 1);
    assert_int_equal(shoal_checkpoint_read(c, t, 256, 0, NULL), SHOAL_OK);
    assert_int_equal(shoal_checkpoint_read_rows(c, t, 0, 4, 8, 0, NULL), SHOAL_OK);
    assert_int_equal(shoal_checkpoint_bytes_read(c), 257);

    assert_int_equal(shoal_checkpoint_read(c, t, 256, 1, out), SHOAL_ERR_INTERNAL);
    assert_int_equal(shoal_checkpoint_read(c, t, 1, UINT64_MAX, out), SHOAL_ERR_INTERNAL);
    assert_int_equal(shoal_checkpoint_read(c, t, UINT64_MAX, 2, out), SHOAL_ERR_INTERNAL);
    assert_int_equal(shoal_checkpoint_read_rows(c, t, 0, 2, UINT64_MAX / 2, 4, out),
                     SHOAL_ERR_INTERNAL);
    assert_int_equal(shoal_checkpoint_read_rows(c, t, 0, 4, 3, 2, out), SHOAL_ERR_INTERNAL);
    assert_int_equal(shoal_checkpoint_bytes_read(c), 257);
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
}

typedef struct {
    const shoal_checkpoint *checkpoint;
    uint64_t seed;
    bool good;
} reader;

static void *read_much(void *context)
{
    reader *r = context;
    const shoal_tensor *t = shoal_checkpoint_find(r->checkpoint, "d.weight");
    uint8_t out[700];
    r->good = t != NULL;
    for (uint64_t column = 0; column < 900 && r->good; column++) {
        const uint64_t at = (column * 7 + r->seed * 131) % 900;
        r->good = shoal_checkpoint_read_rows(r->checkpoint, t, at, 1, 900, 700, out) == SHOAL_OK;
        for (uint64_t row = 0; row < 700 && r->good; row++)
            r->good = out[row] == byte_at(4, at + row * 900);
    }
    return NULL;
}

static void many_threads(void **state)
{
    enum { THREADS = 8 };
    pthread_t threads[THREADS];
    reader readers[THREADS];
    (void)state;
    shoal_maker *maker = make_four(0);
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    for (int i = 0; i < THREADS; i++) {
        readers[i] = (reader){c, (uint64_t)i, false};
        assert_int_equal(pthread_create(&threads[i], NULL, read_much, &readers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        assert_true(readers[i].good);
    assert_int_equal(shoal_checkpoint_bytes_read(c), (uint64_t)THREADS * 900 * 700);
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
}

/* ---- another source ---- */

typedef struct {
    const shoal_checkpoint *files;
    int asked;
    shoal_status answer;
} serving;

static shoal_status serve(void *context, int file, uint64_t offset, uint64_t bytes, uint64_t stride,
                          uint64_t rows, void *out)
{
    serving *s = context;
    s->asked++;
    if (s->answer != SHOAL_OK)
        return shoal_fail(s->answer, "the source is gone");
    return shoal_checkpoint_read_file(s->files, file, offset, bytes, stride, rows, out);
}

static void reads_ask_the_source(void **state)
{
    uint8_t out[512];
    (void)state;
    shoal_maker *maker = make_four(1);
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    shoal_checkpoint *server = must_open(shoal_maker_path(maker));
    serving s = {.files = server};
    const shoal_tensor *t = must_find(c, "d.weight");
    shoal_checkpoint_set_source(c, serve, &s);
    assert_int_equal(shoal_checkpoint_read(c, t, 100, 512, out), SHOAL_OK);
    check_rows(out, 4, 100, 512, 512, 1);
    assert_int_equal(shoal_checkpoint_read_rows(c, t, 3, 5, 900, 100, out), SHOAL_OK);
    check_rows(out, 4, 3, 5, 900, 100);
    assert_int_equal(s.asked, 2);
    assert_int_equal(shoal_checkpoint_bytes_read(c), 1012);
    assert_int_equal(shoal_checkpoint_bytes_read(server), 0);
    assert_int_equal(shoal_checkpoint_read(c, t, t->bytes, 1, out), SHOAL_ERR_INTERNAL);
    assert_int_equal(s.asked, 2);
    s.answer = SHOAL_ERR_UNAVAILABLE;
    assert_int_equal(shoal_checkpoint_read(c, t, 0, 1, out), SHOAL_ERR_UNAVAILABLE);
    assert_int_equal(shoal_checkpoint_bytes_read(c), 1012);
    shoal_checkpoint_set_source(c, NULL, NULL);
    assert_int_equal(shoal_checkpoint_read(c, t, 0, 1, out), SHOAL_OK);
    assert_int_equal(s.asked, 3);
    shoal_checkpoint_close(server);
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
}

static void raw_reads_are_bounded(void **state)
{
    uint8_t out[64];
    (void)state;
    shoal_maker *maker = make_four(0);
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    const uint64_t size = shoal_checkpoint_bytes(c);
    assert_int_equal(shoal_checkpoint_read_file(c, 0, size - 64, 64, 64, 1, out), SHOAL_OK);
    assert_int_equal(shoal_checkpoint_read_file(c, 0, size - 63, 64, 64, 1, out), SHOAL_ERR_DATA);
    assert_int_equal(shoal_checkpoint_read_file(c, 0, 0, 2, 0, 1ull << 60, out), SHOAL_ERR_DATA);
    assert_int_equal(shoal_checkpoint_read_file(c, 0, 0, 2, 1ull << 62, 1ull << 62, out),
                     SHOAL_ERR_DATA);
    assert_int_equal(shoal_checkpoint_read_file(c, 1, 0, 1, 1, 1, out), SHOAL_ERR_DATA);
    assert_int_equal(shoal_checkpoint_read_file(c, -1, 0, 1, 1, 1, out), SHOAL_ERR_DATA);
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
}

/* ---- files that change ---- */

static void cut_while_open(void **state)
{
    char path[512];
    uint8_t out[256];
    (void)state;
    shoal_maker *maker = make_four(0);
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    const shoal_tensor *t = must_find(c, "a.weight"); /* the last in the file */
    path_in(maker, "model.safetensors", path, sizeof path);
    assert_int_equal(truncate(path, (off_t)t->offset + 100), 0);
    assert_int_equal(shoal_checkpoint_read(c, t, 0, 100, out), SHOAL_OK);
    assert_int_equal(shoal_checkpoint_read(c, t, 0, 101, out), SHOAL_ERR_IO);
    assert_non_null(strstr(shoal_error_text(), "model.safetensors"));
    assert_int_equal(shoal_checkpoint_read_rows(c, t, 0, 1, 16, 16, out), SHOAL_ERR_IO);
    assert_int_equal(shoal_checkpoint_bytes_read(c), 100);
    assert_int_equal(shoal_checkpoint_verify_unchanged(c), SHOAL_ERR_IO);
    shoal_checkpoint_close(c);
    shoal_maker_end(maker);
}

static void touch(const char *path)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void append(const char *path)
{
    FILE *f = fopen(path, "ab");
    assert_non_null(f);
    fputc('x', f);
    fclose(f);
}

static void replace(const char *path)
{
    char other[600];
    snprintf(other, sizeof other, "%s.new", path);
    FILE *f = fopen(other, "wb");
    assert_non_null(f);
    fclose(f);
    assert_int_equal(rename(other, path), 0);
}

static void remove_file(const char *path)
{
    assert_int_equal(unlink(path), 0);
}

static void changes_are_noticed(void **state)
{
    static void (*const changes[])(const char *path) = {touch, append, replace, remove_file};
    static const char *const says[] = {"written", "bytes became", "replaced", "replaced"};
    char path[512];
    (void)state;
    for (size_t i = 0; i < LENGTH(changes); i++) {
        shoal_maker *maker = make_four(1);
        shoal_checkpoint *c = must_open(shoal_maker_path(maker));
        assert_int_equal(shoal_checkpoint_verify_unchanged(c), SHOAL_OK);
        path_in(maker, "model-00003-of-00004.safetensors", path, sizeof path);
        changes[i](path);
        assert_int_equal(shoal_checkpoint_verify_unchanged(c), SHOAL_ERR_IO);
        assert_non_null(strstr(shoal_error_text(), "model-00003-of-00004.safetensors"));
        assert_non_null(strstr(shoal_error_text(), says[i]));
        shoal_checkpoint_close(c);
        shoal_maker_end(maker);
    }
}

/* ---- resources ---- */

static int open_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void memory_runs_out(void **state)
{
    static const uint64_t shard_sizes[] = {0, 1};
    (void)state;
    for (size_t i = 0; i < LENGTH(shard_sizes); i++) {
        shoal_maker *maker = make_four(shard_sizes[i]);
        const uint64_t live = shoal_mem_live(SHOAL_MEM_CHECKPOINT);
        const int descriptors = open_descriptors();
        shoal_status st = SHOAL_ERR_TEMPORARY;
        shoal_checkpoint *c = NULL;
        for (uint64_t n = 1; st != SHOAL_OK; n++) {
            shoal_mem_fail_nth(n);
            st = shoal_checkpoint_open(shoal_maker_path(maker), &c);
            shoal_mem_fail_nth(0);
            assert_true(st == SHOAL_OK || c == NULL);
            if (st != SHOAL_OK) {
                assert_int_equal(shoal_mem_live(SHOAL_MEM_CHECKPOINT), live);
                assert_int_equal(open_descriptors(), descriptors);
            }
        }
        shoal_checkpoint_close(c);
        assert_int_equal(shoal_mem_live(SHOAL_MEM_CHECKPOINT), live);
        assert_int_equal(open_descriptors(), descriptors);
        shoal_maker_end(maker);
    }
}

/* More shards than the soft limit of descriptors allows. */
static void many_shards(void **state)
{
    enum { SHARDS = 80 };
    struct rlimit before, small;
    static const int64_t shape[] = {4};
    (void)state;
    shoal_maker *maker = shoal_maker_begin();
    for (int i = 0; i < SHARDS; i++) {
        char name[32];
        snprintf(name, sizeof name, "t%d", i);
        shoal_maker_tensor(maker, name, SHOAL_U8, 1, shape, NULL, NULL);
    }
    shoal_maker_write(maker, 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    small = before;
    small.rlim_cur = 40;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &small), 0);
    shoal_checkpoint *c = must_open(shoal_maker_path(maker));
    assert_int_equal(shoal_checkpoint_files(c), SHARDS);
    shoal_checkpoint_close(c);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    shoal_maker_end(maker);
}

/* ---- golden ---- */

static const char *golden_root(void)
{
    const char *root = getenv("SHOAL_GOLDEN");
    return root ? root : "../shared/golden";
}

static void golden_folders(void **state)
{
    static const char *const groups[] = {"arch", "quant"};
    int opened = 0;
    (void)state;
    for (size_t g = 0; g < LENGTH(groups); g++) {
        char path[512];
        struct dirent **entries;
        snprintf(path, sizeof path, "%s/%s", golden_root(), groups[g]);
        const int count = scandir(path, &entries, NULL, alphasort);
        if (count < 0) {
            print_message("skipped: no golden data\n");
            skip();
        }
        for (int i = 0; i < count; i++) {
            char folder[1024];
            snprintf(folder, sizeof folder, "%s/%s", path, entries[i]->d_name);
            if (entries[i]->d_name[0] != '.') {
                shoal_checkpoint_close(must_open(folder));
                opened++;
            }
            free(entries[i]);
        }
        free(entries);
    }
    print_message("golden folders: %d opened\n", opened);
    assert_true(opened > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_in_order),
        cmocka_unit_test(any_file_name),
        cmocka_unit_test(index_comes_first),
        cmocka_unit_test(links_are_followed),
        cmocka_unit_test(unmapped_tensor_is_left_out),
        cmocka_unit_test(every_stride),
        cmocka_unit_test(plain_reads),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(reads_ask_the_source),
        cmocka_unit_test(raw_reads_are_bounded),
        cmocka_unit_test(cut_while_open),
        cmocka_unit_test(changes_are_noticed),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(many_shards),
        cmocka_unit_test(golden_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
