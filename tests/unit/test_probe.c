/* The layer probe passes on sound models and names the layer and linear of every injected fault:
 * a lost bias, a swapped zero point, a slice of scales from the wrong place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "tests/support/model_recipe.h"
#include "worker/assembly.h"
#include "worker/probe.h"

#define RANKS_MAX 3

typedef void (*tamper)(shoal_assembly *assembly, int rank);

typedef struct {
    const char *model;
    shoal_activations activations;
    shoal_comm *comm;
    tamper injure;
    shoal_status opened, probed;
    char text[SHOAL_ERROR_MAX];
} rank_job;

static void *rank_main(void *context)
{
    rank_job *job = context;
    static _Thread_local shoal_assembly assembly;
    shoal_worker_settings settings;
    shoal_worker_defaults(&settings);
    settings.model = job->model;
    settings.activations = job->activations;
    job->opened = shoal_assembly_open(&settings, job->comm, NULL, NULL, &assembly);
    if (job->opened == SHOAL_OK) {
        if (job->injure)
            job->injure(&assembly, job->comm->rank);
        job->probed = shoal_probe_run(&assembly, job->comm, NULL, NULL);
    }
    memcpy(job->text, shoal_error_text(), sizeof job->text);
    if (job->opened == SHOAL_OK)
        shoal_assembly_close(&assembly);
    shoal_comm_close(job->comm);
    return NULL;
}

/* Probe `recipe` on `ranks` ranks; every rank must come to the same verdict. */
static shoal_status probe_model(const shoal_recipe *recipe, shoal_activations activations,
                                int ranks, tamper injure, char *text)
{
    shoal_maker *maker = shoal_recipe_make(recipe);
    shoal_comm *comms[RANKS_MAX];
    rank_job jobs[RANKS_MAX] = {0};
    pthread_t threads[RANKS_MAX];
    assert_int_equal(shoal_comm_local_create(ranks, 1, comms), SHOAL_OK);
    for (int r = 0; r < ranks; r++) {
        jobs[r] = (rank_job){
            .model = shoal_maker_path(maker),
            .activations = activations,
            .comm = comms[r],
            .injure = injure,
        };
        assert_int_equal(pthread_create(&threads[r], NULL, rank_main, &jobs[r]), 0);
    }
    for (int r = 0; r < ranks; r++)
        pthread_join(threads[r], NULL);
    for (int r = 0; r < ranks; r++) {
        if (jobs[r].opened != SHOAL_OK)
            print_error("%s\n", jobs[r].text);
        assert_int_equal(jobs[r].opened, SHOAL_OK);
        assert_int_equal(jobs[r].probed, jobs[0].probed);
    }
    strcpy(text, jobs[0].text);
    shoal_maker_end(maker);
    return jobs[0].probed;
}

static const shoal_recipe plain = {.family = "qwen2",
                                   .layers = 2,
                                   .hidden = 256,
                                   .intermediate = 640,
                                   .heads = 6,
                                   .kv_heads = 2,
                                   .head_dim = 64,
                                   .vocab = 300,
                                   .context = 64,
                                   .qkv_bias = true,
                                   .bits = 4,
                                   .group = 128,
                                   .seed = 11};

static void sound_models_pass(void **state)
{
    (void)state;
    char text[SHOAL_ERROR_MAX];
    shoal_recipe dense = plain, shuffled = plain, wide = plain;
    dense.bits = 0;
    shuffled.act_order = true;
    wide.bits = 8;
    wide.group = -1;
    const shoal_recipe *const all[] = {&plain, &dense, &shuffled, &wide};
    for (size_t i = 0; i < 4; i++)
        for (int ranks = 1; ranks <= RANKS_MAX; ranks++)
            for (int f32 = 0; f32 < 2; f32++) {
                const shoal_status st =
                    probe_model(all[i], f32 ? SHOAL_ACTIVATIONS_F32 : SHOAL_ACTIVATIONS_AUTO, ranks,
                                NULL, text);
                if (st != SHOAL_OK)
                    print_error("model %zu, %d ranks: %s\n", i, ranks, text);
                assert_int_equal(st, SHOAL_OK);
            }
}

static void lose_bias(shoal_assembly *a, int rank)
{
    if (rank == 0)
        a->weights.layers[1].linear[SHOAL_ROLE_K].bias = NULL;
}

static void swap_zero(shoal_assembly *a, int rank)
{
    (void)rank;
    a->weights.layers[0].linear[SHOAL_ROLE_DOWN].spec.zero_const = 7;
}

/* The scales of the neighbouring group: what a slice cut one group too late would hold. */
static void shift_scales(shoal_assembly *a, int rank)
{
    shoal_linear *o = &a->weights.layers[1].linear[SHOAL_ROLE_O];
    if (rank == 1) {
        const size_t row = SHOAL_PANEL * shoal_dtype_bytes(o->spec.dtype);
        memmove(o->scales, o->scales + row, (size_t)o->size.scales_bytes - row);
    }
}

static void faults_are_named(void **state)
{
    (void)state;
    static const struct {
        tamper injure;
        const char *words[2];
    } faults[] = {
        {lose_bias, {"layer 1", "k_proj"}},
        {swap_zero, {"layer 0", "down_proj"}},
        {shift_scales, {"layer 1", "o_proj"}},
    };
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        char text[SHOAL_ERROR_MAX];
        assert_int_equal(probe_model(&plain, SHOAL_ACTIVATIONS_AUTO, 2, faults[i].injure, text),
                         SHOAL_ERR_DATA);
        for (int w = 0; w < 2; w++) {
            if (!strstr(text, faults[i].words[w]))
                print_error("no \"%s\" in: %s\n", faults[i].words[w], text);
            assert_non_null(strstr(text, faults[i].words[w]));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_models_pass),
        cmocka_unit_test(faults_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
