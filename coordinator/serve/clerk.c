#include "coordinator/serve/clerk.h"

#include <pthread.h>

#include "proto/arena.h"

typedef struct {
    shoal_task *first, **end; /* end: where the next one is linked in */
} task_list;

struct shoal_clerk {
    const shoal_api_context *context;
    void (*notify)(void *);
    void *notify_context;
    uint64_t waiting_max;
    pthread_t threads[SHOAL_CLERKS];
    int thread_count;
    pthread_mutex_t lock; /* what follows */
    pthread_cond_t given;
    task_list todo, done;
    uint64_t waiting; /* bytes of bodies in `todo` */
    bool stopping;
};

/* ---- tasks ----------------------------------------------------------------------------------- */

shoal_status shoal_task_create(shoal_task_kind kind, char *body, size_t bytes, void *user,
                               shoal_task **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_task), &block));
    shoal_task *task = block;
    *task = (shoal_task){.kind = kind, .body = body, .bytes = bytes, .user = user};
    *out = task;
    return SHOAL_OK;
}

void shoal_task_destroy(shoal_task *task)
{
    if (!task)
        return;
    shoal_api_request_free(&task->request);
    shoal_strbuf_free(&task->answer);
    shoal_free(task->body);
    shoal_free(task);
}

static void append(task_list *list, shoal_task *task)
{
    task->next = NULL;
    *list->end = task;
    list->end = &task->next;
}

static shoal_task *take_all(task_list *list)
{
    shoal_task *first = list->first;
    *list = (task_list){.end = &list->first};
    return first;
}

static shoal_task *take_one(task_list *list)
{
    shoal_task *task = list->first;
    list->first = task->next;
    if (!list->first)
        list->end = &list->first;
    task->next = NULL;
    return task;
}

static void drop_all(task_list *list)
{
    shoal_task *task = take_all(list);
    while (task) {
        shoal_task *next = task->next;
        shoal_task_destroy(task);
        task = next;
    }
}

/* ---- the work -------------------------------------------------------------------------------- */

static void work(const shoal_api_context *context, shoal_task *t)
{
    switch (t->kind) {
    case SHOAL_TASK_CHAT:
        t->fine = shoal_api_parse_chat(context, t->body, t->bytes, &t->request, &t->error);
        break;
    case SHOAL_TASK_COMPLETION:
        t->fine = shoal_api_parse_completion(context, t->body, t->bytes, &t->request, &t->error);
        break;
    case SHOAL_TASK_TOKENIZE:
        t->fine = shoal_api_tokenize(context, t->body, t->bytes, &t->answer, &t->error);
        break;
    case SHOAL_TASK_DETOKENIZE:
        t->fine = shoal_api_detokenize(context, t->body, t->bytes, &t->answer, &t->error);
        break;
    }
    shoal_free(t->body);
    t->body = NULL;
}

static void *clerk_main(void *context)
{
    shoal_clerk *c = context;
    (void)pthread_mutex_lock(&c->lock);
    for (;;) {
        while (!c->todo.first && !c->stopping)
            (void)pthread_cond_wait(&c->given, &c->lock);
        if (c->stopping)
            break;
        shoal_task *task = take_one(&c->todo);
        c->waiting -= task->bytes;
        (void)pthread_mutex_unlock(&c->lock);
        work(c->context, task);
        (void)pthread_mutex_lock(&c->lock);
        append(&c->done, task);
        (void)pthread_mutex_unlock(&c->lock);
        c->notify(c->notify_context);
        (void)pthread_mutex_lock(&c->lock);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- the door -------------------------------------------------------------------------------- */

shoal_status shoal_clerk_start(const shoal_api_context *context, uint64_t waiting_max,
                               void (*notify)(void *), void *notify_context, shoal_clerk **out)
{
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_clerk), &block));
    shoal_clerk *c = block;
    c->context = context;
    c->waiting_max = waiting_max;
    c->notify = notify;
    c->notify_context = notify_context;
    c->todo.end = &c->todo.first;
    c->done.end = &c->done.first;
    (void)pthread_mutex_init(&c->lock, NULL);
    (void)pthread_cond_init(&c->given, NULL);
    for (int i = 0; i < SHOAL_CLERKS; i++)
        if (pthread_create(&c->threads[c->thread_count], NULL, clerk_main, c) == 0)
            c->thread_count++;
    if (c->thread_count == 0) {
        shoal_clerk_destroy(c);
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no thread for the clerks");
    }
    *out = c;
    return SHOAL_OK;
}

bool shoal_clerk_give(shoal_clerk *c, shoal_task *task)
{
    (void)pthread_mutex_lock(&c->lock);
    const bool room = c->waiting == 0 ||
                      (c->waiting <= c->waiting_max && task->bytes <= c->waiting_max - c->waiting);
    if (room) {
        c->waiting += task->bytes;
        append(&c->todo, task);
        (void)pthread_cond_signal(&c->given);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return room;
}

shoal_task *shoal_clerk_collect(shoal_clerk *c)
{
    (void)pthread_mutex_lock(&c->lock);
    shoal_task *done = take_all(&c->done);
    (void)pthread_mutex_unlock(&c->lock);
    return done;
}

void shoal_clerk_stop(shoal_clerk *c)
{
    (void)pthread_mutex_lock(&c->lock);
    c->stopping = true;
    (void)pthread_cond_broadcast(&c->given);
    (void)pthread_mutex_unlock(&c->lock);
    for (; c->thread_count > 0; c->thread_count--)
        (void)pthread_join(c->threads[c->thread_count - 1], NULL);
    while (c->todo.first)
        append(&c->done, take_one(&c->todo));
}

void shoal_clerk_destroy(shoal_clerk *c)
{
    if (!c)
        return;
    shoal_clerk_stop(c);
    drop_all(&c->done);
    (void)pthread_cond_destroy(&c->given);
    (void)pthread_mutex_destroy(&c->lock);
    shoal_free(c);
}
