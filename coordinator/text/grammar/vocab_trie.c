#include "coordinator/text/grammar/vocab_trie.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/text/tokenizer_parts.h"
#include "coordinator/text/utf8.h"
#include "proto/arena.h"
#include "proto/bytes.h"

int shoal_trie_class(uint8_t byte)
{
    if (byte >= 0x80)
        return SHOAL_TRIE_BEYOND_ASCII;
    if (byte >= 'a' && byte <= 'z')
        return SHOAL_TRIE_LOWER;
    if (byte >= 'A' && byte <= 'Z')
        return SHOAL_TRIE_UPPER;
    if (byte >= '0' && byte <= '9')
        return SHOAL_TRIE_DIGIT;
    if (byte == '"')
        return SHOAL_TRIE_QUOTE;
    if (byte == '\\')
        return SHOAL_TRIE_BACKSLASH;
    return byte < ' ' || byte == 0x7F ? SHOAL_TRIE_CONTROL : SHOAL_TRIE_OTHER;
}

/* ---- the tokens in order --------------------------------------------------------------------- */

typedef struct {
    uint64_t head; /* the first eight bytes as a number: most comparisons need no more */
    const char *bytes;
    uint32_t length;
    int32_t id;
} entry;

typedef struct {
    shoal_strbuf text; /* the bytes of all tokens */
    entry *entries;
    uint32_t count;
} word_list;

static bool is_ordinary(const shoal_tokenizer *tokenizer, int64_t id)
{
    size_t bytes;
    return shoal_tokenizer_piece(tokenizer, id, &bytes) &&
           !shoal_tokenizer_is_special(tokenizer, id);
}

/* `bytes` stays open: the text still moves while it grows. */
static shoal_status collect(const shoal_tokenizer *tokenizer, int64_t ids, word_list *out)
{
    void *array;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, (uint64_t)ids, sizeof(entry), &array));
    out->entries = array;
    for (int64_t id = 0; id < ids; id++) {
        const size_t before = out->text.bytes;
        if (!is_ordinary(tokenizer, id))
            continue;
        SHOAL_TRY(shoal_tokenizer_bytes(tokenizer, id, &out->text));
        const size_t length = out->text.bytes - before;
        if (length > 0 && length <= SHOAL_TRIE_DEPTH_MAX)
            out->entries[out->count++] = (entry){.length = (uint32_t)length, .id = (int32_t)id};
        else
            out->text.bytes = before;
    }
    return SHOAL_OK;
}

static uint64_t head_of(const char *bytes, uint32_t length)
{
    uint64_t head = 0;
    for (uint32_t i = 0; i < 8; i++)
        head = head << 8 | (i < length ? (uint8_t)bytes[i] : 0);
    return head;
}

/* By bytes, the shorter first, then by id. */
static int compare(const void *left, const void *right)
{
    const entry *a = left, *b = right;
    if (a->head != b->head)
        return a->head < b->head ? -1 : 1;
    const uint32_t common = a->length < b->length ? a->length : b->length;
    const int order = memcmp(a->bytes, b->bytes, common);
    if (order != 0)
        return order;
    if (a->length != b->length)
        return a->length < b->length ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

static void sort(word_list *list)
{
    const char *at = list->text.data;
    for (uint32_t i = 0; i < list->count; i++) {
        list->entries[i].bytes = at;
        list->entries[i].head = head_of(at, list->entries[i].length);
        at += list->entries[i].length;
    }
    if (list->count > 0)
        qsort(list->entries, list->count, sizeof(entry), compare);
}

static void word_list_free(word_list *list)
{
    shoal_strbuf_free(&list->text);
    shoal_free(list->entries);
}

/* ---- the nodes ------------------------------------------------------------------------------- */

/* Bytes that an entry has in common with the one before it. */
static uint32_t shared_with_last(const word_list *list, uint32_t index)
{
    uint32_t shared = 0;
    if (index == 0)
        return 0;
    const entry *a = &list->entries[index - 1], *b = &list->entries[index];
    while (shared < a->length && shared < b->length && a->bytes[shared] == b->bytes[shared])
        shared++;
    return shared;
}

static uint64_t count_nodes(const word_list *list)
{
    uint64_t count = 0;
    for (uint32_t i = 0; i < list->count; i++)
        count += list->entries[i].length - shared_with_last(list, i);
    return count;
}

/* The node that stands open on each level while the array is filled. */
typedef struct {
    uint32_t node[SHOAL_TRIE_DEPTH_MAX + 1];
    bool broken[SHOAL_TRIE_DEPTH_MAX + 1]; /* for one of its tokens at least */
    uint32_t depth;
} open_branch;

/* What a node adds to the one above it. */
static void report(const shoal_trie_node *node, bool broken, shoal_trie_node *above)
{
    const bool begins = (node->byte & 0xC0) != 0x80;
    const uint16_t height = (uint16_t)(node->height + begins);
    const int class = broken ? SHOAL_TRIE_BROKEN : shoal_trie_class(node->byte);
    above->below |= (uint16_t)(node->below | 1u << class);
    if (height > above->height)
        above->height = height;
}

/* Close the branches deeper than `depth`, the deepest first. */
static void close_branches(shoal_vocab_trie *trie, open_branch *open, uint32_t depth)
{
    for (; open->depth > depth; open->depth--) {
        shoal_trie_node *node = &trie->nodes[open->node[open->depth]];
        node->end = trie->count;
        if (open->depth > 1)
            report(node, open->broken[open->depth], &trie->nodes[open->node[open->depth - 1]]);
    }
}

/* Open the nodes of a word that is number `index`. */
static void open_word(shoal_vocab_trie *trie, open_branch *open, const entry *word, uint32_t index)
{
    while (open->depth < word->length) {
        trie->nodes[trie->count] = (shoal_trie_node){
            .first = index,
            .depth = (uint16_t)(open->depth + 1),
            .byte = (uint8_t)word->bytes[open->depth],
        };
        open->node[++open->depth] = trie->count++;
        open->broken[open->depth] = false;
    }
    for (size_t i = shoal_utf8_valid(word->bytes, word->length); i < word->length; i++)
        open->broken[i + 1] = true;
}

/* Words are in order, so a word's own node is the last one there is when it comes. */
static void fill(shoal_vocab_trie *trie, const word_list *list)
{
    open_branch open = {.depth = 0};
    for (uint32_t i = 0; i < list->count; i++) {
        close_branches(trie, &open, shared_with_last(list, i));
        open_word(trie, &open, &list->entries[i], i);
        trie->ids[i] = list->entries[i].id;
    }
    close_branches(trie, &open, 0);
    trie->nodes[trie->count].first = list->count;
}

static shoal_status lay_out(const word_list *list, shoal_vocab_trie *trie)
{
    void *array;
    SHOAL_TRY(
        shoal_alloc_array(SHOAL_MEM_TEXT, count_nodes(list) + 1, sizeof *trie->nodes, &array));
    trie->nodes = array;
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_TEXT, list->count, sizeof *trie->ids, &array));
    trie->ids = array;
    fill(trie, list);
    return SHOAL_OK;
}

shoal_status shoal_vocab_trie_build(const shoal_tokenizer *tokenizer, int64_t vocab,
                                    shoal_vocab_trie *out)
{
    shoal_status st = SHOAL_OK;
    word_list list = {0};
    shoal_vocab_trie trie = {.tokenizer = tokenizer, .vocab = vocab};
    if (shoal_decoder_separates(&tokenizer->decoder))
        return shoal_fail(SHOAL_ERR_USAGE, "this tokenizer puts blanks between its tokens");
    const int64_t ids = shoal_min_i64((int64_t)shoal_tokenizer_size(tokenizer), vocab);
    SHOAL_TRY_GOTO(collect(tokenizer, ids, &list), done);
    sort(&list);
    SHOAL_TRY_GOTO(lay_out(&list, &trie), done);
    *out = trie;

done:
    word_list_free(&list);
    if (st != SHOAL_OK)
        shoal_vocab_trie_free(&trie);
    return st;
}

void shoal_vocab_trie_free(shoal_vocab_trie *trie)
{
    shoal_free(trie->nodes);
    shoal_free(trie->ids);
    *trie = (shoal_vocab_trie){0};
}
