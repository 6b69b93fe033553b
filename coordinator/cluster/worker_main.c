#include "coordinator/cluster/worker_main.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "coordinator/cluster/hello.h"
#include "coordinator/cluster/mailbox.h"
#include "coordinator/engine.h"
#include "proto/arena.h"
#include "proto/log.h"
#include "worker/fault.h"

#define CONNECT_MS       10000
#define PROGRESS_SECONDS 0.05

/* Rows of logits travel together, up to about this many bytes. */
#define LOGITS_BYTES (1u << 20)

typedef struct {
    int rank, size;
    bool force_network;
    shoal_mailbox *mailbox;
    shoal_wire_message load; /* settings borrow its strings */
    shoal_worker_settings settings;
    shoal_comm *comm;
    shoal_worker *worker;
    double told; /* when progress was last told */
    /* rank 0: rows of logits that wait to be sent */
    uint64_t step_number;
    float *rows;
    int64_t rows_room, width;
    int row_sequence, row_first, row_count;
} worker_program;

/* ---- joining --------------------------------------------------------------------------------- */

static shoal_status read_token(const char *where, char *out, size_t room)
{
    out[0] = '\0';
    if (strncmp(where, "env:", 4) == 0) {
        const char *text = getenv(where + 4);
        (void)snprintf(out, room, "%s", text ? text : "");
        (void)unsetenv(where + 4);
    } else {
        const int fd = open(where, O_RDONLY | O_CLOEXEC);
        const ssize_t n = fd < 0 ? -1 : read(fd, out, room - 1);
        const int error = errno;
        if (fd >= 0)
            (void)close(fd);
        if (n < 0)
            return shoal_fail(error == ENOENT ? SHOAL_ERR_NOTFOUND : SHOAL_ERR_IO,
                              "token file %s: %s", where, strerror(error));
        out[n] = '\0';
    }
    out[strcspn(out, "\r\n")] = '\0';
    return out[0] ? SHOAL_OK : shoal_fail(SHOAL_ERR_USAGE, "no token in %s", where);
}

static int local_slot(void)
{
    const char *text = getenv("OMPI_COMM_WORLD_LOCAL_RANK");
    const long slot = text ? strtol(text, NULL, 10) : 0;
    return slot > 0 && slot < SHOAL_RANKS_MAX ? (int)slot : 0;
}

static shoal_status join(worker_program *p, const char *address, const char *token_file)
{
    char token[SHOAL_LINK_TOKEN_MAX + 2], build[SHOAL_BUILD_MAX];
    shoal_rank_identity me;
    static const uint32_t order = 0x01020304;
    shoal_link *link;
    shoal_build_name(build);
    shoal_engine_identify(&me);
    SHOAL_TRY(read_token(token_file, token, sizeof token));
    SHOAL_TRY(shoal_link_connect(address, CONNECT_MS, &link));
    const shoal_wire_hello hello = {
        .rank = p->rank,
        .size = p->size,
        .slot = local_slot(),
        .pid = me.pid,
        .host = me.host,
        .build = build,
        .kernel_level = me.level,
        .byte_order = {(const uint8_t *)&order, sizeof order},
    };
    shoal_status st = shoal_link_introduce(link, token, strlen(token), &hello, CONNECT_MS);
    if (st == SHOAL_OK)
        st = shoal_mailbox_open(link, &p->mailbox);
    if (st != SHOAL_OK)
        shoal_link_close(link);
    return st;
}

/* ---- loading --------------------------------------------------------------------------------- */

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

static shoal_status await_load(worker_program *p)
{
    shoal_mailbox_next(p->mailbox, &p->load);
    if (p->load.type == SHOAL_WIRE_BYE)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "the coordinator ended the start");
    if (p->load.type != SHOAL_WIRE_LOAD)
        return shoal_fail(SHOAL_ERR_DATA, "the coordinator sent %s where Load was due",
                          shoal_wire_name(p->load.type));
    const shoal_wire_load *l = &p->load.load;
    p->settings = (shoal_worker_settings){
        .model = l->model,
        .quantize = or_null(l->quantize),
        .keep_regex = or_null(l->keep_regex),
        .offload = or_null(l->offload),
        .cpu = or_null(l->cpu),
        .activations = (shoal_activations)l->activations,
        .kv = l->kv,
        .reduce = (shoal_payload)l->reduce,
        .threads = l->threads,
        .prefill_chunk = l->prefill_chunk,
        .max_sequences = l->max_sequences,
        .context = l->context,
        .kv_tokens = l->kv_tokens,
        .memory = l->memory,
        .capacity = l->capacity_count ? l->capacity : NULL,
        .expert_parallel = l->expert_parallel,
        .push = l->push,
        .probe = l->probe,
    };
    if (p->settings.threads == 0)
        p->settings.threads = shoal_default_threads(shoal_ranks_on_node(p->size));
    return SHOAL_OK;
}

static void tell_progress(void *context, uint64_t done, uint64_t total)
{
    worker_program *p = context;
    const double now = shoal_clock_seconds();
    if (done < total && now - p->told < PROGRESS_SECONDS)
        return;
    p->told = now;
    const shoal_wire_message message = {.type = SHOAL_WIRE_LOAD_PROGRESS,
                                        .load_progress = {done, total}};
    shoal_mailbox_send(p->mailbox, &message);
}

/* The rows in use, as the message wants them. */
typedef struct {
    shoal_wire_kernel rows[SHOAL_ENGINE_KERNELS_MAX];
    size_t count;
} kernel_list;

static void add_kernel(void *context, const char *role, const char *layout, const char *decode,
                       const char *prefill)
{
    kernel_list *list = context;
    if (list->count < SHOAL_ENGINE_KERNELS_MAX)
        list->rows[list->count++] = (shoal_wire_kernel){role, layout, decode, prefill};
}

static void say_ready(worker_program *p)
{
    shoal_worker_facts f;
    kernel_list kernels = {.count = 0};
    shoal_worker_describe(p->worker, &f);
    shoal_worker_rows(p->worker, add_kernel, &kernels);
    const shoal_wire_message message = {
        .type = SHOAL_WIRE_READY,
        .ready = {.vocab = f.vocab,
                  .context = f.context,
                  .pages = f.pages,
                  .rows_max = f.rows_max,
                  .sequences_max = f.sequences_max,
                  .planned_read = f.planned_read,
                  .measured_read = f.measured_read,
                  .planned_resident = f.planned_resident,
                  .measured_resident = f.measured_resident,
                  .planned_streamed = f.planned_streamed,
                  .pinned = f.pinned,
                  .load_seconds = f.load_seconds,
                  .arithmetic = f.arithmetic,
                  .kernels = kernels.rows,
                  .kernel_count = kernels.count},
    };
    shoal_mailbox_send(p->mailbox, &message);
}

static shoal_status open_worker(worker_program *p)
{
    SHOAL_TRY(await_load(p));
    shoal_mailbox_phase(p->mailbox, SHOAL_PHASE_LOAD);
    SHOAL_FAULT(COMM_INIT);
    SHOAL_TRY(shoal_comm_mpi_open(p->settings.threads, p->force_network, &p->comm));
    if (p->comm->size != p->load.load.ranks || p->comm->rank != p->rank)
        return shoal_fail(SHOAL_ERR_CONFIG, "MPI says rank %d of %d, the coordinator rank %d of %d",
                          p->comm->rank, p->comm->size, p->rank, p->load.load.ranks);
    SHOAL_TRY(shoal_worker_open(&p->settings, p->comm, tell_progress, p, &p->worker));
    shoal_mailbox_watch(p->mailbox, p->worker);
    shoal_mailbox_phase(p->mailbox, SHOAL_PHASE_IDLE);
    SHOAL_FAULT(READY);
    say_ready(p);
    return SHOAL_OK;
}

/* ---- steps (rank 0) -------------------------------------------------------------------------- */

static void send_rows(worker_program *p)
{
    if (p->row_count == 0)
        return;
    const uint64_t bytes = (uint64_t)p->row_count * (uint64_t)p->width * sizeof(float);
    const shoal_wire_message message = {
        .type = SHOAL_WIRE_STEP_RESULT,
        .step_result = {.number = p->step_number,
                        .sequence = p->row_sequence,
                        .first_row = p->row_first,
                        .row_count = p->row_count,
                        .width = p->width,
                        .logits = {(const uint8_t *)p->rows, bytes}},
    };
    shoal_mailbox_send(p->mailbox, &message);
    p->row_count = 0;
}

static shoal_status keep_row(void *context, int sequence, int row, const float *logits,
                             int64_t vocab)
{
    worker_program *p = context;
    const bool follows = sequence == p->row_sequence && row == p->row_first + p->row_count;
    if (p->row_count > 0 && (!follows || p->row_count == p->rows_room))
        send_rows(p);
    if (!p->rows) {
        void *block;
        const int64_t bytes = vocab * (int64_t)sizeof(float);
        p->rows_room = bytes < LOGITS_BYTES ? LOGITS_BYTES / bytes : 1;
        SHOAL_TRY(
            shoal_alloc_array(SHOAL_MEM_WIRE, (uint64_t)p->rows_room, (uint64_t)bytes, &block));
        p->rows = block;
        p->width = vocab;
    }
    if (p->row_count == 0) {
        p->row_sequence = sequence;
        p->row_first = row;
    }
    memcpy(p->rows + p->row_count * p->width, logits, (size_t)vocab * sizeof *logits);
    p->row_count++;
    return SHOAL_OK;
}

static void copy_result(const shoal_sequence_result *from, shoal_wire_result *to)
{
    *to = (shoal_wire_result){
        .id = from->id,
        .token = from->token,
        .logprob = from->logprob,
        .top_count = from->top_count,
        .failed_layer = from->failed_layer,
        .failed_row = from->failed_row,
        .nll = from->nll,
    };
    memcpy(to->top_ids, from->top_ids, sizeof to->top_ids);
    memcpy(to->top_logprobs, from->top_logprobs, sizeof to->top_logprobs);
}

static void send_results(worker_program *p, const shoal_sequence_result *results,
                         shoal_wire_result *out, int32_t count)
{
    for (int32_t i = 0; i < count; i++)
        copy_result(&results[i], &out[i]);
    const shoal_wire_message message = {
        .type = SHOAL_WIRE_STEP_RESULT,
        .step_result = {
            .number = p->step_number, .results = out, .result_count = (size_t)count, .last = true}};
    send_rows(p);
    shoal_mailbox_send(p->mailbox, &message);
}

static shoal_status compute(worker_program *p, const shoal_wire_bytes *block)
{
    shoal_status st = SHOAL_OK;
    void *results, *out;
    shoal_step head;
    if (block->bytes < sizeof head)
        return shoal_fail(SHOAL_ERR_DATA, "a step of %llu bytes", (unsigned long long)block->bytes);
    memcpy(&head, block->data, sizeof head);
    if (head.sequence_count < 0 || head.sequence_count > SHOAL_SEQUENCES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a step of %d sequences", head.sequence_count);
    const uint64_t count = (uint64_t)head.sequence_count;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_WIRE, count, sizeof(shoal_sequence_result), &results));
    SHOAL_TRY_GOTO(shoal_alloc_array(SHOAL_MEM_WIRE, count, sizeof(shoal_wire_result), &out),
                   free_results);
    p->step_number = head.number;
    shoal_mailbox_phase(p->mailbox, SHOAL_PHASE_STEP);
    st = shoal_worker_step(p->worker, block->data, block->bytes, results, keep_row, p);
    shoal_mailbox_phase(p->mailbox, SHOAL_PHASE_IDLE);
    if (st == SHOAL_OK)
        send_results(p, results, out, head.sequence_count);
    shoal_free(out);

free_results:
    shoal_free(results);
    return st;
}

static shoal_status lead(worker_program *p)
{
    for (;;) {
        shoal_wire_message message;
        shoal_status st = SHOAL_OK;
        SHOAL_FAULT(IDLE);
        shoal_mailbox_next(p->mailbox, &message);
        const shoal_wire_type type = message.type;
        if (type == SHOAL_WIRE_STEP)
            st = compute(p, &message.step.block);
        else if (type != SHOAL_WIRE_BYE)
            st = shoal_fail(SHOAL_ERR_DATA, "the coordinator sent %s where a step was due",
                            shoal_wire_name(type));
        shoal_wire_free(&message);
        SHOAL_TRY(st);
        if (type == SHOAL_WIRE_BYE)
            return shoal_worker_bye(p->worker);
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

static shoal_status serve(worker_program *p)
{
    SHOAL_FAULT(HELLO);
    SHOAL_TRY(open_worker(p));
    SHOAL_TRY(p->rank == 0 ? lead(p) : shoal_worker_follow(p->worker));
    shoal_mailbox_phase(p->mailbox, SHOAL_PHASE_CLOSE);
    SHOAL_FAULT(FINALIZE);
    shoal_mailbox_unwatch(p->mailbox);
    shoal_worker_close(p->worker);
    shoal_comm_close(p->comm);
    shoal_free(p->rows);
    return SHOAL_OK;
}

/* The last word: Error with the sentence, or Bye. Ranks that failed do not end MPI in order: the
 * others may not be there any more. */
static void say_farewell(const worker_program *p, shoal_status st)
{
    shoal_wire_message message = {.type = SHOAL_WIRE_BYE, .bye = {st}};
    if (st != SHOAL_OK) {
        message.type = SHOAL_WIRE_ERROR;
        message.error = (shoal_wire_error){st, shoal_error_text(), p->rank};
    }
    shoal_mailbox_leave(p->mailbox);
    shoal_mailbox_send(p->mailbox, &message);
}

shoal_status shoal_worker_main(const char *address, const char *token_file, bool force_network)
{
    worker_program p = {.size = 1, .force_network = force_network};
    shoal_die_with_parent();
    if (!shoal_comm_mpi_launched(&p.rank, &p.size))
        p.rank = 0, p.size = 1;
    shoal_log_speaker("rank", p.rank);
    SHOAL_FAULT_JOIN(p.rank);
    SHOAL_FAULT(START);
    SHOAL_TRY(join(&p, address, token_file));
    const shoal_status st = serve(&p);
    say_farewell(&p, st);
    shoal_wire_free(&p.load);
    return st;
}
