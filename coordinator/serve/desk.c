#include "coordinator/serve/desk.h"

#include <sys/random.h>

#include "coordinator/clock.h"
#include "coordinator/serve/id_map.h"
#include "coordinator/serve/refusal.h"
#include "proto/arena.h"

struct shoal_desk {
    shoal_desk_settings settings;
    shoal_clerk *clerk;
    int reading;            /* tasks it has */
    shoal_id_map sequences; /* id → shoal_reply_part */
    shoal_driver_events events;
    shoal_reply *dead; /* destroyed when nobody is inside one any more */
};

/* ---- replies --------------------------------------------------------------------------------- */

static void bury(shoal_desk *d, shoal_reply *reply)
{
    if (reply->buried)
        return;
    reply->buried = true;
    reply->next_dead = d->dead;
    d->dead = reply;
}

static void sweep(shoal_desk *d)
{
    while (d->dead) {
        shoal_reply *reply = d->dead;
        d->dead = reply->next_dead;
        shoal_reply_destroy(reply);
    }
}

/* The driver need not go on with what is not wanted any more. */
static void let_go(shoal_desk *d, shoal_reply *reply)
{
    for (int i = 0; i < reply->part_count; i++) {
        shoal_reply_part *part = &reply->parts[i];
        if (part->sequence == 0)
            continue;
        (void)shoal_id_map_remove(&d->sequences, part->sequence);
        if (!part->ended)
            shoal_driver_cancel(d->settings.driver, part->sequence, SHOAL_FINISH_NONE);
        part->sequence = 0;
    }
    bury(d, reply);
}

static void refuse(shoal_desk *d, shoal_reply *reply, const shoal_api_error *error)
{
    shoal_reply_refuse(reply, error);
    let_go(d, reply);
}

static void refuse_memory(shoal_desk *d, shoal_reply *reply)
{
    shoal_api_error error = {0};
    shoal_refusal_memory(&error);
    refuse(d, reply, &error);
}

static shoal_status remember_parts(shoal_desk *d, shoal_reply *reply, const uint64_t *ids)
{
    /* All ids first: whoever lets go of the reply must know them all. */
    for (int i = 0; i < reply->part_count; i++)
        reply->parts[i].sequence = ids[i];
    for (int i = 0; i < reply->part_count; i++)
        SHOAL_TRY(shoal_id_map_add(&d->sequences, ids[i], &reply->parts[i]));
    return SHOAL_OK;
}

static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uint64_t)(shoal_clock_seconds() * 1e9);
    return seed;
}

/* What the driver is asked for one reply. */
typedef struct {
    shoal_journal_order orders[SHOAL_API_SEQUENCES_MAX];
    uint64_t ids[SHOAL_API_SEQUENCES_MAX];
} order_sheet;

static shoal_status hand_in(shoal_desk *d, const shoal_reply *reply, order_sheet *sheet,
                            shoal_submit *taken)
{
    int32_t stops[SHOAL_API_STOP_IDS_MAX + SHOAL_EOS_MAX];
    const uint64_t seed = random_seed();
    /* All parts have the same rules, so they share one list of stop ids. */
    for (int i = 0; i < reply->part_count; i++)
        shoal_reply_order(reply, i, seed, stops, &sheet->orders[i]);
    return shoal_driver_submit(d->settings.driver, sheet->orders, reply->part_count,
                               reply->request.prompt_count == 1, sheet->ids, taken);
}

/* What the queue could not hold if it were empty need not come again. */
static void full(shoal_desk *d, shoal_reply *reply)
{
    shoal_api_error error = {0};
    if (reply->part_count > d->settings.waiting_max) {
        (void)shoal_api_refuse(&error, 400, "too_many_sequences", "n",
                               "These are %d sequences; the queue of this server holds %lld.",
                               reply->part_count, (long long)d->settings.waiting_max);
    } else {
        shoal_refusal_full(&error);
        shoal_metrics_add(d->settings.metrics, SHOAL_COUNT_REFUSED, 1);
    }
    refuse(d, reply, &error);
}

static void not_serving(shoal_desk *d, shoal_reply *reply)
{
    shoal_api_error error = {0};
    if (!shoal_refusal_unready(d->settings.driver, SHOAL_NEEDS_SERVING, &error))
        shoal_refusal_recovering(&error); /* it came back in this very moment */
    shoal_metrics_add(d->settings.metrics, SHOAL_COUNT_REFUSED, 1);
    refuse(d, reply, &error);
}

/* echo with max_tokens 0: there is nothing to compute. */
static void answer_without_workers(shoal_desk *d, shoal_reply *reply)
{
    const shoal_driver_event end = {.finish = SHOAL_FINISH_LENGTH};
    bool cancel;
    shoal_reply_begin(reply);
    for (int i = 0; i < reply->part_count; i++)
        shoal_reply_take(&reply->parts[i], &end, &cancel);
    bury(d, reply);
}

static void submit(shoal_desk *d, shoal_reply *reply)
{
    shoal_submit taken;
    void *block;
    if (reply->request.max_tokens == 0) {
        answer_without_workers(d, reply);
        return;
    }
    if (shoal_alloc(SHOAL_MEM_OTHER, sizeof(order_sheet), &block) != SHOAL_OK) {
        refuse_memory(d, reply);
        return;
    }
    order_sheet *sheet = block;
    shoal_status st = hand_in(d, reply, sheet, &taken);
    if (st == SHOAL_OK && taken == SHOAL_SUBMIT_OK)
        st = remember_parts(d, reply, sheet->ids);
    shoal_free(block);
    if (st != SHOAL_OK)
        refuse_memory(d, reply);
    else if (taken == SHOAL_SUBMIT_FULL)
        full(d, reply);
    else if (taken == SHOAL_SUBMIT_NOT_SERVING)
        not_serving(d, reply);
    else
        shoal_reply_begin(reply);
    if (!reply->exchange)
        let_go(d, reply);
}

/* ---- what clerks have done ------------------------------------------------------------------- */

static void take_task(shoal_desk *d, shoal_task *task)
{
    shoal_reply *reply = task->user;
    const bool whole = task->kind == SHOAL_TASK_TOKENIZE || task->kind == SHOAL_TASK_DETOKENIZE;
    if (!reply->exchange) {
        bury(d, reply);
    } else if (!task->fine) {
        refuse(d, reply, &task->error);
    } else if (whole) {
        shoal_http_exchange *x = reply->exchange;
        reply->exchange = NULL;
        shoal_http_reply(x, 200, "application/json", NULL, task->answer.data, task->answer.bytes);
        bury(d, reply);
    } else if (shoal_reply_prepare(reply, &task->request) != SHOAL_OK) {
        refuse_memory(d, reply);
    } else {
        submit(d, reply);
    }
    shoal_task_destroy(task);
}

static void take_tasks(shoal_desk *d)
{
    for (shoal_task *task = shoal_clerk_collect(d->clerk); task;) {
        shoal_task *next = task->next;
        ((shoal_reply *)task->user)->asked = false;
        d->reading--;
        take_task(d, task);
        task = next;
    }
}

static void answer_memory(shoal_http_exchange *x)
{
    shoal_api_error error = {0};
    shoal_refusal_memory(&error);
    shoal_http_reply_error(x, &error);
}

void shoal_desk_take(shoal_desk *d, shoal_http_exchange *x, shoal_task_kind kind)
{
    shoal_reply *reply;
    shoal_task *task;
    size_t bytes;
    char *body = shoal_http_take_body(x, &bytes);
    if (shoal_reply_create(&d->settings.replies, x, &reply) != SHOAL_OK) {
        shoal_free(body);
        answer_memory(x);
    } else if (shoal_task_create(kind, body, bytes, reply, &task) != SHOAL_OK) {
        shoal_free(body);
        refuse_memory(d, reply);
    } else if (shoal_clerk_give(d->clerk, task)) {
        reply->asked = true;
        d->reading++;
    } else {
        full(d, reply);
        shoal_task_destroy(task);
    }
}

/* ---- what the driver has done ---------------------------------------------------------------- */

static void take_event(shoal_desk *d, const shoal_driver_event *event)
{
    bool cancel;
    shoal_reply_part *part = shoal_id_map_find(&d->sequences, event->sequence);
    if (!part)
        return;
    shoal_reply *reply = part->reply;
    shoal_reply_take(part, event, &cancel);
    if (cancel)
        shoal_driver_cancel(d->settings.driver, event->sequence, SHOAL_FINISH_STOP);
    if (!reply->exchange && part->sequence != 0)
        let_go(d, reply);
}

static void take_events(shoal_desk *d)
{
    shoal_driver_collect(d->settings.driver, &d->events);
    for (int i = 0; i < d->events.count; i++)
        take_event(d, &d->events.items[i]);
    d->events.count = 0;
}

/* ---- the door -------------------------------------------------------------------------------- */

/* A reply that a clerk still holds is buried when the clerk is done with it. */
void shoal_desk_lose(shoal_desk *d, shoal_http_exchange *x)
{
    shoal_reply *reply = shoal_http_user(x);
    if (!reply)
        return;
    reply->exchange = NULL;
    if (!reply->asked)
        let_go(d, reply);
}

void shoal_desk_work(shoal_desk *d)
{
    take_tasks(d);
    take_events(d);
    sweep(d);
}

static shoal_reply *reply_at(const shoal_desk *d, int index)
{
    return ((shoal_reply_part *)d->sequences.items[index].value)->reply;
}

void shoal_desk_tick(shoal_desk *d)
{
    for (int i = 0; i < d->sequences.count; i++)
        shoal_reply_ping(reply_at(d, i));
    sweep(d);
}

int shoal_desk_reading(const shoal_desk *d)
{
    return d->reading;
}

int shoal_desk_cut_off(shoal_desk *d)
{
    const int count = d->sequences.count;
    shoal_api_error error = {0};
    shoal_refusal_cut_off(&error);
    while (d->sequences.count > 0)
        refuse(d, reply_at(d, 0), &error);
    return count;
}

shoal_status shoal_desk_open(const shoal_desk_settings *settings, shoal_desk **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_desk), &block));
    shoal_desk *d = block;
    d->settings = *settings;
    SHOAL_TRY_GOTO(shoal_clerk_start(&d->settings.api, settings->bodies_max, settings->notify,
                                     settings->context, &d->clerk),
                   fail);
    *out = d;
    return SHOAL_OK;

fail:
    shoal_free(d);
    return st;
}

/* What clerks still held is not answered any more, because no client is left. */
void shoal_desk_close(shoal_desk *d)
{
    if (!d)
        return;
    shoal_clerk_stop(d->clerk);
    take_tasks(d);
    shoal_clerk_destroy(d->clerk);
    while (d->sequences.count > 0)
        let_go(d, reply_at(d, 0));
    sweep(d);
    shoal_driver_events_free(&d->events);
    shoal_id_map_free(&d->sequences);
    shoal_free(d);
}
