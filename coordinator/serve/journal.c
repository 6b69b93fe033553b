#include "coordinator/serve/journal.h"

#include <string.h>

#include "proto/arena.h"

static shoal_status copy_rules(const shoal_journal_order *order, shoal_journal_entry *e)
{
    void *array;
    const uint64_t biases = (uint64_t)order->bias_count, stops = (uint64_t)order->stop_count;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, biases + stops, sizeof *e->biases, &array));
    e->biases = array;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, stops, sizeof *e->stop_ids, &array));
    e->stop_ids = array;
    e->bias_count = order->bias_count;
    e->stop_count = order->stop_count;
    if (biases)
        memcpy(e->biases, order->biases, biases * sizeof *e->biases);
    for (int i = 0; i < order->stop_count; i++) {
        e->stop_ids[i] = order->stop_ids[i];
        e->biases[order->bias_count + i] = (shoal_step_bias){order->stop_ids[i], SHOAL_BANNED_BIAS};
    }
    return SHOAL_OK;
}

shoal_status shoal_journal_entry_create(uint64_t id, const shoal_journal_order *order,
                                        shoal_journal_entry **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_OTHER, sizeof(shoal_journal_entry), &block));
    shoal_journal_entry *e = block;
    *e = (shoal_journal_entry){
        .id = id,
        .follows = order->follows,
        .priority = order->priority,
        .prompt_count = (int64_t)order->prompt->count,
        .max_tokens = order->max_tokens,
        .min_tokens = order->min_tokens,
        .sampling = order->sampling,
    };
    SHOAL_TRY_GOTO(shoal_ids_append(&e->tokens, order->prompt), fail);
    SHOAL_TRY_GOTO(copy_rules(order, e), fail);
    if (order->masks)
        SHOAL_TRY_GOTO(
            shoal_guide_create(order->masks, order->stop_ids, order->stop_count, &e->guide), fail);
    *out = e;
    return SHOAL_OK;

fail:
    shoal_journal_entry_destroy(e);
    return st;
}

void shoal_journal_entry_destroy(shoal_journal_entry *entry)
{
    if (!entry)
        return;
    shoal_ids_free(&entry->tokens);
    shoal_free(entry->biases);
    shoal_free(entry->stop_ids);
    shoal_guide_destroy(entry->guide);
    shoal_free(entry);
}

shoal_status shoal_journal_add(shoal_journal *journal, shoal_journal_entry *entry)
{
    return shoal_id_map_add(journal, entry->id, entry);
}

shoal_journal_entry *shoal_journal_find(const shoal_journal *journal, uint64_t id)
{
    return shoal_id_map_find(journal, id);
}

shoal_journal_entry *shoal_journal_at(const shoal_journal *journal, int index)
{
    return journal->items[index].value;
}

void shoal_journal_remove(shoal_journal *journal, uint64_t id)
{
    shoal_journal_entry_destroy(shoal_id_map_remove(journal, id));
}

void shoal_journal_free(shoal_journal *journal)
{
    for (int i = 0; i < journal->count; i++)
        shoal_journal_entry_destroy(shoal_journal_at(journal, i));
    shoal_id_map_free(journal);
}

int64_t shoal_journal_output(const shoal_journal_entry *entry)
{
    return (int64_t)entry->tokens.count - entry->prompt_count;
}

bool shoal_journal_stops(const shoal_journal_entry *entry, int32_t token)
{
    for (int i = 0; i < entry->stop_count; i++)
        if (entry->stop_ids[i] == token)
            return true;
    return false;
}

shoal_status shoal_journal_look(shoal_journal_entry *entry)
{
    if (!entry->guide)
        return SHOAL_OK;
    return shoal_guide_look(entry->guide, entry->max_tokens - shoal_journal_output(entry) - 1);
}

shoal_status shoal_journal_take(shoal_journal_entry *entry, int32_t token)
{
    SHOAL_TRY(shoal_ids_push(&entry->tokens, token));
    if (!entry->guide || shoal_journal_stops(entry, token))
        return SHOAL_OK;
    return shoal_guide_take(entry->guide, token);
}

int shoal_journal_biases(const shoal_journal_entry *entry)
{
    const bool early = !entry->guide && shoal_journal_output(entry) < entry->min_tokens;
    return entry->bias_count + (early ? entry->stop_count : 0);
}

bool shoal_journal_lost(shoal_journal_entry *entry)
{
    return ++entry->losses < SHOAL_JOURNAL_LOSSES_MAX;
}
