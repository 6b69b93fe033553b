/* Weights that are streamed, from end to end: the bits of weights that are held for any number of
 * ranks and any choice of what streams, the memory that the plan promised, and a file that is
 * damaged, changed or cut short is an error that names rank and file, at load and in a step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "coordinator/engine.h"
#include "coordinator/runner.h"
#include "shard/pack_write.h"
#include "tests/support/model_recipe.h"

#define VOCAB     96 /* no whole number of panels */
#define TOKENS    20
#define PATH_ROOM 4096

static const shoal_recipe recipes[] = {
    {.family = "qwen2", /* four layers; heads of less than a panel, outputs of no whole number */
     .layers = 4,
     .hidden = 160,
     .intermediate = 448,
     .heads = 6,
     .kv_heads = 3,
     .head_dim = 32,
     .vocab = VOCAB,
     .context = 64,
     .qkv_bias = true,
     .bits = 4,
     .group = 32,
     .seed = 61},
    {.family = "mistral", /* act-order: gate and up in the order of down; floats in lm_head */
     .layers = 2,
     .hidden = 128,
     .intermediate = 384,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 64,
     .vocab = VOCAB,
     .context = 64,
     .bits = 4,
     .group = 64,
     .act_order = true,
     .seed = 62},
    {.family = "gemma2", /* floats, tied */
     .layers = 2,
     .hidden = 128,
     .intermediate = 320,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 32,
     .vocab = VOCAB,
     .context = 64,
     .tied = true,
     .seed = 63},
    {.family = "qwen2_moe", /* plain layer, experts, a shared one */
     .layers = 3,
     .hidden = 128,
     .intermediate = 384,
     .heads = 4,
     .kv_heads = 4,
     .head_dim = 32,
     .vocab = VOCAB,
     .context = 64,
     .qkv_bias = true,
     .experts = 5,
     .chosen = 2,
     .expert_intermediate = 256,
     .shared_intermediate = 448,
     .dense = 1,
     .expert_bias = true,
     .bits = 8,
     .group = 64,
     .seed = 64},
};

static int32_t prompt[TOKENS];

static void write_pack(const shoal_maker *model, char out[PATH_ROOM])
{
    shoal_pack_result result;
    snprintf(out, PATH_ROOM, "%s/model.shoal", shoal_maker_path(model));
    const shoal_pack_request request = {shoal_maker_path(model), out, NULL, NULL, 1};
    if (shoal_pack_write(&request, NULL, NULL, &result) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
}

/* ---- runs ------------------------------------------------------------------------------------ */

typedef struct {
    const char *model, *offload;
    uint64_t memory;
    int ranks;
    int64_t chunk;
    bool probe;
} setting;

static shoal_status keep_row(void *context, int run, int64_t row, const float *logits,
                             int64_t vocab)
{
    (void)run;
    memcpy((float *)context + row * vocab, logits, (size_t)vocab * sizeof(float));
    return SHOAL_OK;
}

static shoal_status open_engine(const setting *s, shoal_engine **out)
{
    shoal_engine_request request = {.ranks = s->ranks, .ranks_given = true, .emulate = s->ranks};
    shoal_worker_defaults(&request.settings);
    request.settings.model = s->model;
    request.settings.offload = s->offload;
    request.settings.memory = s->memory;
    request.settings.threads = s->ranks == 1 ? 2 : 1;
    request.settings.prefill_chunk = s->chunk;
    request.settings.max_sequences = 1;
    request.settings.probe = s->probe;
    return shoal_engine_open(&request, out);
}

static shoal_status run_prompt(shoal_engine *engine, int64_t chunk, float *logits)
{
    shoal_run run = {.prompt = prompt, .prompt_count = TOKENS, .want = SHOAL_WANT_LOGITS};
    const shoal_run_hooks hooks = {.on_row = keep_row, .context = logits};
    return shoal_run_all(engine, chunk, &run, 1, &hooks, NULL);
}

/* Every step takes all that is streamed, but of experts those that are chosen. Rank 0 is asked, as
 * the others may not have counted their last step yet. */
static void expect_streamed(const shoal_engine *engine)
{
    const uint64_t planned = engine->memory[0].planned_streamed * engine->timing[0].steps;
    assert_true(engine->timing[0].steps > 0);
    assert_in_range(engine->timing[0].streamed_bytes, planned ? 1 : 0, planned);
}

/* Logits, and the most bytes that a rank planned to hold. */
static uint64_t logits_of(const setting *s, float *logits)
{
    shoal_engine *engine = NULL;
    uint64_t most = 0;
    if (open_engine(s, &engine) != SHOAL_OK || run_prompt(engine, s->chunk, logits) != SHOAL_OK)
        fail_msg("%s: %s", s->model, shoal_error_text());
    for (int r = 0; r < engine->ranks; r++) {
        const uint64_t planned = engine->memory[r].planned_resident;
        assert_int_equal(engine->memory[r].measured_read, engine->memory[r].planned_read);
        /* slots of a communicator are rounded up to its pages */
        assert_in_range(engine->memory[r].measured_resident, planned, planned + planned / 100);
        most = planned > most ? planned : most;
    }
    expect_streamed(engine);
    assert_int_equal(shoal_engine_close(engine), SHOAL_OK);
    return most;
}

static uint64_t expect_same(const setting *s, const float *want)
{
    static float got[TOKENS * VOCAB];
    memset(got, 0, sizeof got);
    const uint64_t held = logits_of(s, got);
    if (memcmp(got, want, sizeof got) != 0)
        fail_msg("%s on %d ranks, --offload %s, chunks of %d: other bits", s->model, s->ranks,
                 s->offload ? s->offload : "", (int)s->chunk);
    return held;
}

static void same_bits(const shoal_recipe *recipe)
{
    static float want[TOKENS * VOCAB];
    static const char *const specs[] = {"o_proj|down_proj=mmap", "layers\\.1\\..*=mmap,pinned",
                                        "q_proj=host,mmap"};
    char path[PATH_ROOM];
    shoal_maker *model = shoal_recipe_make(recipe);
    write_pack(model, path);
    (void)logits_of(&(setting){.model = shoal_maker_path(model), .ranks = 1, .chunk = TOKENS},
                    want);
    for (int ranks = 1; ranks <= 3; ranks++) {
        const setting all_held = {.model = path, .ranks = ranks, .chunk = TOKENS};
        setting s = all_held;
        const uint64_t most = expect_same(&s, want);
        s.offload = "mmap";
        s.chunk = 1 + ranks * 2; /* several steps */
        s.probe = ranks == 2;
        const uint64_t least = expect_same(&s, want);
        assert_true(least < most);
        s.memory = (least + most) / 2;
        const uint64_t some = expect_same(&s, want);
        assert_true(least <= some && some <= s.memory);
        s = all_held;
        s.offload = specs[ranks - 1];
        s.chunk = 8;
        (void)expect_same(&s, want);
    }
    shoal_maker_end(model);
}

static void test_same_bits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++)
        same_bits(&recipes[i]);
}

/* From now on this thread, and those it starts, may lock nothing, not even as root. Asked by
 * number, because AddressSanitizer has an mlock of its own that does nothing. */
static void forbid_locking(void)
{
    const struct rlimit none = {0, 0};
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    assert_int_equal(syscall(SYS_capget, &head, sets), 0);
    sets[0].effective &= ~(1u << CAP_IPC_LOCK);
    assert_int_equal(syscall(SYS_capset, &head, sets), 0);
    assert_int_equal(syscall(SYS_mlock, prompt, sizeof prompt), -1);
}

/* A system that locks nothing: a warning, and the same bits. */
static void test_unpinned(void **state)
{
    (void)state;
    static float want[TOKENS * VOCAB];
    shoal_maker *model = shoal_recipe_make(&recipes[0]);
    setting s = {.model = shoal_maker_path(model), .ranks = 1, .chunk = TOKENS};
    (void)logits_of(&s, want);
    forbid_locking();
    s.offload = "pinned";
    (void)expect_same(&s, want);
    shoal_maker_end(model);
}

/* ---- a file that is not what it was ---------------------------------------------------------- */

static void flip_bit(const char *path, uint64_t at)
{
    uint8_t byte;
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
    byte ^= 16;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    close(fd);
}

/* Where a tensor of the file begins. */
static uint64_t place_of(const char *path, const char *name)
{
    shoal_checkpoint *c;
    assert_int_equal(shoal_checkpoint_open(path, &c), SHOAL_OK);
    const shoal_tensor *t = shoal_checkpoint_find(c, name);
    assert_non_null(t);
    const uint64_t at = t->offset;
    shoal_checkpoint_close(c);
    return at;
}

static void expect_words(const char *const *words)
{
    for (; *words; words++)
        if (!strstr(shoal_error_text(), *words))
            fail_msg("no \"%s\" in: %s", *words, shoal_error_text());
}

/* A run that is open, its file then changed by `damage` at `at`: the next step fails. */
static void damage_under(const char *path, int ranks, void (*damage)(const char *, uint64_t),
                         uint64_t at, const char *word)
{
    static float logits[TOKENS * VOCAB];
    const setting s = {.model = path, .offload = "mmap", .ranks = ranks, .chunk = TOKENS};
    shoal_engine *engine = NULL;
    if (open_engine(&s, &engine) != SHOAL_OK || run_prompt(engine, TOKENS, logits) != SHOAL_OK)
        fail_msg("%s", shoal_error_text());
    damage(path, at);
    assert_int_equal(run_prompt(engine, TOKENS, logits), SHOAL_ERR_IO);
    expect_words((const char *const[]){"rank ", "streams weights from", path, word, NULL});
    const shoal_status closed = shoal_engine_close(engine);
    assert_true(closed == SHOAL_OK || closed == SHOAL_ERR_IO);
}

static void cut_short(const char *path, uint64_t at)
{
    assert_int_equal(truncate(path, (off_t)at), 0);
}

static void test_damage(void **state)
{
    (void)state;
    char path[PATH_ROOM];
    shoal_engine *engine = NULL;
    shoal_maker *model = shoal_recipe_make(&recipes[0]);
    write_pack(model, path);
    const char *const name = "model.layers.2.mlp.down_proj.pack";
    const uint64_t at = place_of(path, name) + 1000;
    const setting s = {.model = path, .offload = "mmap", .ranks = 2, .chunk = TOKENS};
    flip_bit(path, at);
    assert_int_equal(open_engine(&s, &engine), SHOAL_ERR_DATA);
    expect_words((const char *const[]){name, "checksum", NULL});
    flip_bit(path, at);
    for (int ranks = 1; ranks <= 2; ranks++) {
        damage_under(path, ranks, flip_bit, at, "checksum");
        flip_bit(path, at);
    }
    damage_under(path, 1, cut_short, at, "ends at byte");
    shoal_maker_end(model);
}

/* What cannot be streamed is refused before anything is read. */
static void test_refused(void **state)
{
    (void)state;
    char path[PATH_ROOM];
    shoal_engine *engine = NULL;
    shoal_maker *model = shoal_recipe_make(&recipes[1]);
    setting s = {.model = shoal_maker_path(model), .offload = "mmap", .ranks = 1, .chunk = TOKENS};
    assert_int_equal(open_engine(&s, &engine), SHOAL_ERR_USAGE);
    expect_words((const char *const[]){"pack file", "shoal pack", s.model, NULL});
    write_pack(model, path);
    s.model = path;
    s.memory = 4096;
    assert_int_equal(open_engine(&s, &engine), SHOAL_ERR_NOFIT);
    shoal_engine_request request = {.ranks = 2, .ranks_given = true, .emulate = 2};
    shoal_worker_defaults(&request.settings);
    request.settings.model = path;
    request.settings.offload = "mmap";
    request.settings.push = true;
    assert_int_equal(shoal_engine_open(&request, &engine), SHOAL_ERR_USAGE);
    expect_words((const char *const[]){"--load push", NULL});
    shoal_maker_end(model);
}

int main(void)
{
    for (int t = 0; t < TOKENS; t++)
        prompt[t] = (t * 17 + t * t) % VOCAB;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_unpinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
