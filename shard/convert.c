/* shard/convert.c - see convert.h. */
#include "shard/convert.h"

#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#include "kernels/counter.h"
#include "proto/digest.h"
#include "proto/log.h"
#include "shard/convert_config.h"
#include "shard/convert_folder.h"
#include "shard/convert_gguf.h"
#include "shard/convert_item.h"
#include "shard/convert_source.h"
#include "shard/gguf_tokenizer.h"
#include "shard/model_folder.h"

typedef struct {
    const shoal_convert_request *request;
    const shoal_convert_listener *listener;
    shoal_convert_source source;
    shoal_convert_plan *plan;
    json_t *quantization;
    shoal_convert_folder folder;
    shoal_pool *pool;
    uint64_t done; /* elements of finished items */
    int resumed;
    double sync_seconds;
} conversion;

/* ---- opening --------------------------------------------------------------------------------- */

/* What a GGUF file says in a way that no config.json does. */
static shoal_status check_gguf(const shoal_convert_source *source, const char *path)
{
    shoal_rope scaling;
    const shoal_rope *rope = &source->model->ropes[0];
    if (!rope->factors || shoal_rope_find_llama3(rope, &scaling))
        return SHOAL_OK;
    return shoal_fail(SHOAL_ERR_DATA,
                      "%s: rope_freqs.weight scales its rope in a way that config.json cannot say "
                      "to the bit; such files are not converted",
                      path);
}

static shoal_status open_source(conversion *c)
{
    const shoal_convert_request *r = c->request;
    SHOAL_TRY(shoal_convert_source_open(r->source, r->quantize, r->keep, &c->source));
    SHOAL_TRY(check_gguf(&c->source, r->source));
    SHOAL_TRY(shoal_convert_plan_make(c->source.manifest, &r->target, r->file_bytes, &c->plan));
    return shoal_convert_quantization(c->plan, &c->quantization);
}

/* What makes another conversion of the same names another one. */
static void fingerprint(const conversion *c, char out[2 * SHOAL_XXH128_BYTES + 1])
{
    uint8_t digest[SHOAL_XXH128_BYTES];
    shoal_xxh128_stream stream;
    const shoal_convert_request *r = c->request;
    const char *const words[] = {r->target.writer->name, r->target.argument,
                                 r->quantize ? r->quantize : "", r->keep ? r->keep : ""};
    shoal_xxh128_begin(&stream);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        shoal_xxh128_add(&stream, words[i], strlen(words[i]) + 1);
    shoal_xxh128_add_i64(&stream, (int64_t)r->file_bytes);
    shoal_xxh128_add_i64(&stream, r->target.allow_requantize);
    for (size_t i = 0; i < shoal_checkpoint_count(c->source.checkpoint); i++) {
        const shoal_tensor *t = shoal_checkpoint_at(c->source.checkpoint, i);
        shoal_xxh128_add(&stream, t->name, strlen(t->name) + 1);
        shoal_xxh128_add_i64(&stream, t->file);
        shoal_xxh128_add_i64(&stream, (int64_t)t->offset);
        shoal_xxh128_add_i64(&stream, (int64_t)t->bytes);
    }
    for (int i = 0; i < shoal_checkpoint_files(c->source.checkpoint); i++) {
        struct stat info = {0};
        (void)stat(shoal_checkpoint_file(c->source.checkpoint, i), &info);
        shoal_xxh128_add_i64(&stream, info.st_mtim.tv_sec);
        shoal_xxh128_add_i64(&stream, info.st_mtim.tv_nsec);
    }
    shoal_xxh128_finish(&stream, digest);
    shoal_hex(digest, sizeof digest, out);
}

/* ---- files ----------------------------------------------------------------------------------- */

static void advance(void *context, uint64_t elements)
{
    const conversion *c = context;
    if (c->listener->progress)
        c->listener->progress(c->listener->context, c->done + elements, c->plan->work);
}

static void finish_item(conversion *c, const shoal_convert_item *item)
{
    const char *name = item->module >= 0 ? c->plan->modules[item->module].module.name
                                         : c->plan->tensors[item->first].decl.name;
    c->done += item->work;
    advance(c, 0);
    if (c->listener->tell)
        c->listener->tell(c->listener->context, name, &item->loss);
}

/* Losses of a file's items, in their order: [[lossless, max_abs_error], ...]. */
static shoal_status record_file(const conversion *c, int file, const char *name)
{
    json_t *losses = json_array();
    for (size_t i = 0; i < c->plan->item_count; i++)
        if (c->plan->items[i].file == file)
            json_array_append_new(losses, json_pack("[b, f]", c->plan->items[i].loss.lossless,
                                                    c->plan->items[i].loss.max_abs_error));
    const shoal_status st = shoal_convert_folder_record(&c->folder, name, losses);
    json_decref(losses);
    return st;
}

/* Take a file over that an earlier run finished. */
static bool resume_file(conversion *c, int file, const char *name)
{
    json_t *losses = shoal_convert_folder_recorded(&c->folder, name);
    size_t at = 0;
    for (size_t i = 0; losses && i < c->plan->item_count; i++) {
        shoal_convert_item *item = &c->plan->items[i];
        const json_t *loss = item->file == file ? json_array_get(losses, at++) : NULL;
        if (item->file != file)
            continue;
        item->loss = (shoal_loss){json_is_true(json_array_get(loss, 0)),
                                  json_number_value(json_array_get(loss, 1))};
        finish_item(c, item);
    }
    const bool there = losses != NULL;
    c->resumed += there;
    json_decref(losses);
    return there;
}

static shoal_status write_items(conversion *c, int file, shoal_st_writer *writer)
{
    shoal_convert_desk desk = {0};
    shoal_status st = SHOAL_OK;
    for (size_t i = 0; i < c->plan->item_count && st == SHOAL_OK; i++) {
        shoal_convert_item *item = &c->plan->items[i];
        if (item->file != file)
            continue;
        st = shoal_convert_item_write(c->plan, item, writer, c->pool, &desk, advance, c);
        if (st == SHOAL_OK)
            finish_item(c, item);
    }
    return shoal_convert_item_flush(c->plan, writer, &desk, st);
}

static shoal_status open_writer(const conversion *c, int file, const char *path,
                                shoal_st_writer **out)
{
    shoal_tensor_decl *decls = NULL;
    uint64_t count;
    json_t *metadata;
    SHOAL_TRY(shoal_convert_metadata(c->plan, file, &metadata));
    shoal_status st = shoal_convert_declare(c->plan, file, &decls, &count);
    if (st == SHOAL_OK)
        st = shoal_st_writer_create_with(path, decls, count, metadata, out);
    shoal_free(decls);
    json_decref(metadata);
    return st;
}

static shoal_status write_file(conversion *c, int file)
{
    char name[64], path[PATH_MAX];
    shoal_st_writer *writer;
    shoal_convert_file_name(c->plan, file, name);
    if (resume_file(c, file, name))
        return SHOAL_OK;
    SHOAL_TRY(shoal_convert_folder_path(&c->folder, name, path));
    SHOAL_TRY(open_writer(c, file, path, &writer));
    const shoal_status st = write_items(c, file, writer);
    if (st != SHOAL_OK) {
        shoal_st_writer_abandon(writer);
        return st;
    }
    const double begin = shoal_seconds_now();
    SHOAL_TRY(shoal_st_writer_finish(writer));
    c->sync_seconds += shoal_seconds_now() - begin;
    return record_file(c, file, name);
}

static shoal_status write_document(const conversion *c, const char *name, json_t *document)
{
    const shoal_status st = shoal_convert_folder_json(&c->folder, name, document);
    json_decref(document);
    return st;
}

/* The tokenizer that a GGUF file has in its metadata, where none lies beside it. What has no form
 * outside of GGUF is left out, with a warning. */
static shoal_status write_tokenizer(const conversion *c)
{
    const shoal_gguf *gguf = shoal_checkpoint_gguf(c->source.checkpoint);
    json_t *tokenizer, *config;
    bool there = false;
    SHOAL_TRY(shoal_folder_look(c->folder.partial, "tokenizer.json", &there));
    if (!gguf || there)
        return SHOAL_OK;
    const shoal_status st = shoal_gguf_tokenizer(gguf, &tokenizer);
    if (st == SHOAL_ERR_DATA) {
        shoal_log(SHOAL_LOG_WARN, "convert", "%s: %s: the folder gets no tokenizer",
                  c->request->source, shoal_error_text());
        return SHOAL_OK;
    }
    SHOAL_TRY(st);
    SHOAL_TRY(write_document(c, "tokenizer.json", tokenizer));
    SHOAL_TRY(shoal_gguf_tokenizer_config(gguf, c->source.model->context, &config));
    return write_document(c, "tokenizer_config.json", config);
}

static shoal_status write_documents(conversion *c)
{
    json_t *document;
    SHOAL_TRY(shoal_convert_config(c->plan, c->request->source, c->quantization, &document));
    SHOAL_TRY(write_document(c, "config.json", document));
    if (c->plan->files > 1) {
        SHOAL_TRY(shoal_convert_index(c->plan, &document));
        SHOAL_TRY(write_document(c, "model.safetensors.index.json", document));
    }
    if (c->quantization && c->request->target.writer->config_file)
        SHOAL_TRY(shoal_convert_folder_json(&c->folder, c->request->target.writer->config_file,
                                            c->quantization));
    SHOAL_TRY(shoal_convert_folder_copy(&c->folder, c->request->source));
    return write_tokenizer(c);
}

/* ---- all together ---------------------------------------------------------------------------- */

static shoal_status write_all(conversion *c)
{
    for (int file = 0; file < c->plan->files; file++)
        SHOAL_TRY(write_file(c, file));
    SHOAL_TRY(write_documents(c));
    SHOAL_TRY(shoal_checkpoint_verify_unchanged(c->source.checkpoint));
    SHOAL_TRY(shoal_convert_read_back(&c->source, c->request->source, c->folder.partial));
    return shoal_convert_folder_publish(&c->folder);
}

/* Is it worth keeping what was written until this failure? */
static bool may_go_on(shoal_status st)
{
    return st == SHOAL_ERR_IO || st == SHOAL_ERR_TEMPORARY || st == SHOAL_ERR_CREATE;
}

static void report(const conversion *c, shoal_convert_result *out)
{
    *out = (shoal_convert_result){.consumed = c->plan->consumed,
                                  .written = c->plan->tensor_count,
                                  .bytes = c->plan->bytes,
                                  .read = shoal_checkpoint_bytes_read(c->source.checkpoint),
                                  .largest = shoal_convert_plan_largest(c->plan),
                                  .sync_seconds = c->sync_seconds,
                                  .files = c->plan->files,
                                  .resumed = c->resumed,
                                  .loss = shoal_convert_plan_loss(c->plan)};
}

static void release(conversion *c)
{
    shoal_convert_folder_close(&c->folder);
    if (c->pool)
        shoal_pool_destroy(c->pool);
    json_decref(c->quantization);
    shoal_convert_plan_free(c->plan);
    shoal_convert_source_close(&c->source);
}

shoal_status shoal_convert(const shoal_convert_request *request,
                           const shoal_convert_listener *listener, shoal_convert_result *out)
{
    char mark[2 * SHOAL_XXH128_BYTES + 1];
    conversion c = {.request = request, .listener = listener, .folder = {.lock = -1}};
    shoal_status st;
    if (request->target.writer == &shoal_writer_gguf)
        return shoal_convert_gguf(request, listener, out);
    SHOAL_TRY_GOTO(open_source(&c), done);
    fingerprint(&c, mark);
    SHOAL_TRY_GOTO(shoal_pool_create(request->threads, true, &c.pool), done);
    SHOAL_TRY_GOTO(shoal_convert_folder_open(request->source, request->destination, request->backup,
                                             mark, &c.folder),
                   done);
    SHOAL_TRY_GOTO(write_all(&c), done);
    report(&c, out);
done:
    if (st != SHOAL_OK && !may_go_on(st))
        shoal_convert_folder_discard(&c.folder);
    release(&c);
    return st;
}
