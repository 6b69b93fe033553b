/* shard/gguf_merges.c - see gguf_merges.h. */
#include "shard/gguf_merges.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/arena.h"

typedef struct {
    const char *piece; /* of `pieces` */
    double score;
    uint16_t bytes, left; /* of the piece, of its left part */
    uint16_t left_chars, right_chars;
    uint32_t number;
} merge;

typedef struct {
    merge *items;
    size_t count, room;
} merge_list;

static bool begins_character(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

static shoal_status add(merge_list *list, const merge *item)
{
    void *items = list->items;
    if (list->count == SHOAL_GGUF_MERGES_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "the vocabulary has more than %u merges",
                          SHOAL_GGUF_MERGES_MAX);
    if (list->count == list->room) {
        const size_t room = list->room ? 2 * list->room : 4096;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, room, sizeof *list->items, &items));
        list->items = items;
        list->room = room;
    }
    list->items[list->count] = *item;
    list->items[list->count].number = (uint32_t)list->count;
    list->count++;
    return SHOAL_OK;
}

/* All ways to cut one piece. */
static shoal_status cut(const json_t *pieces, const char *piece, double score, merge_list *list)
{
    const size_t bytes = strlen(piece);
    uint16_t chars = 0, before = 0;
    if (bytes > SHOAL_GGUF_PIECE_MAX)
        return shoal_fail(SHOAL_ERR_DATA, "a piece of the vocabulary has %zu bytes; %u are merged",
                          bytes, SHOAL_GGUF_PIECE_MAX);
    for (size_t i = 0; i < bytes; i++)
        chars = (uint16_t)(chars + begins_character(piece[i]));
    for (size_t i = 0; i < bytes; before = (uint16_t)(before + begins_character(piece[i++]))) {
        if (i == 0 || !begins_character(piece[i]) || !json_object_getn(pieces, piece, i) ||
            !json_object_get(pieces, piece + i))
            continue;
        const merge item = {.piece = piece,
                            .score = score,
                            .bytes = (uint16_t)bytes,
                            .left = (uint16_t)i,
                            .left_chars = before,
                            .right_chars = (uint16_t)(chars - before)};
        SHOAL_TRY(add(list, &item));
    }
    return SHOAL_OK;
}

static int best_first(const void *a, const void *b)
{
    const merge *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    if (x->left_chars != y->left_chars)
        return x->left_chars > y->left_chars ? -1 : 1;
    if (x->right_chars != y->right_chars)
        return x->right_chars > y->right_chars ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static shoal_status to_json(const merge_list *list, json_t **out)
{
    json_t *all = json_array();
    int failed = !all;
    for (size_t i = 0; i < list->count && !failed; i++) {
        const merge *m = &list->items[i];
        failed =
            json_array_append_new(all, json_pack("[s%, s%]", m->piece, (size_t)m->left,
                                                 m->piece + m->left, (size_t)(m->bytes - m->left)));
    }
    if (!failed) {
        *out = all;
        return SHOAL_OK;
    }
    json_decref(all);
    return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for %zu merges", list->count);
}

shoal_status shoal_gguf_merges(const json_t *pieces, json_t **out)
{
    merge_list list = {0};
    shoal_status st = SHOAL_OK;
    const char *piece;
    json_t *score;
    json_object_foreach((json_t *)pieces, piece, score)
    {
        if (st == SHOAL_OK)
            st = cut(pieces, piece, json_number_value(score), &list);
    }
    if (list.count)
        qsort(list.items, list.count, sizeof *list.items, best_first);
    if (st == SHOAL_OK)
        st = to_json(&list, out);
    shoal_free(list.items);
    return st;
}
