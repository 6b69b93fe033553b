/* shard/offload.c - see offload.h. */
#include "shard/offload.h"

#include <regex.h>
#include <string.h>

#include "proto/arena.h"
#include "proto/bytes.h"
#include "shard/budget.h"

/* One REGEX=PLACEMENT. */
typedef struct {
    bool all; /* no regex: matches everything */
    regex_t regex;
    shoal_placement placement;
    size_t matched;
} rule;

/* A SPEC, cut where its rules end. */
typedef struct {
    const char *spec;
    rule *rules;
    size_t count;
} rule_list;

/* ---- SPEC ------------------------------------------------------------------------------------ */

/* The placement that `text` begins with and that ends its rule; NULL: none. */
static const char *placement_at(const char *text, shoal_placement *out)
{
    static const char *const words[] = {"host", "pinned", "mmap"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        const size_t length = strlen(words[i]);
        if (strncmp(text, words[i], length) == 0 && (!text[length] || text[length] == ',')) {
            *out = (shoal_placement)((int)SHOAL_PLACED_HOST + (int)i);
            return text + length;
        }
    }
    return NULL;
}

static shoal_status compile(rule_list *list, const char *begin, const char *end)
{
    rule *r = &list->rules[list->count];
    char text[512], why[160];
    const size_t length = (size_t)(end - begin);
    if (length == 0 || length >= sizeof text)
        return shoal_fail(SHOAL_ERR_USAGE, "--offload %s: a regex of %zu characters (1 to %zu)",
                          list->spec, length, sizeof text - 1);
    memcpy(text, begin, length);
    text[length] = '\0';
    const int code = regcomp(&r->regex, text, REG_EXTENDED | REG_NOSUB);
    if (code == 0)
        return SHOAL_OK;
    regerror(code, &r->regex, why, sizeof why);
    return shoal_fail(SHOAL_ERR_USAGE, "--offload %s: '%s': %s", list->spec, text, why);
}

/* The rule that begins at `at`; a regex ends at the first `=` that a placement follows, so it may
 * have commas of its own. */
static shoal_status read_rule(rule_list *list, const char *at, const char **end)
{
    rule *r = &list->rules[list->count];
    *end = placement_at(at, &r->placement);
    r->all = *end != NULL;
    for (const char *sign = at; !*end && (sign = strchr(sign, '=')); sign++) {
        *end = placement_at(sign + 1, &r->placement);
        if (*end)
            SHOAL_TRY(compile(list, at, sign));
    }
    if (!*end)
        return shoal_fail(SHOAL_ERR_USAGE,
                          "--offload %s: '%s' is neither PLACEMENT nor REGEX=PLACEMENT (host, "
                          "pinned or mmap)",
                          list->spec, at);
    if (r->all && r->placement == SHOAL_PLACED_STREAMED)
        r->placement = SHOAL_PLACED_FREE;
    list->count++;
    return SHOAL_OK;
}

static shoal_status read_rules(rule_list *list)
{
    const char *at = list->spec;
    uint64_t room = 1;
    void *block;
    for (const char *c = at; *c; c++)
        room += *c == ',';
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, room, sizeof *list->rules, &block));
    list->rules = block;
    for (;;) {
        SHOAL_TRY(read_rule(list, at, &at));
        if (!*at)
            return SHOAL_OK;
        at++;
    }
}

static void forget(rule_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        if (!list->rules[i].all)
            regfree(&list->rules[i].regex);
    shoal_free(list->rules);
}

/* ---- weights --------------------------------------------------------------------------------- */

/* May this weight be anywhere but in the arena? */
static bool is_movable(const shoal_manifest *manifest, const shoal_weight *weight)
{
    if (!weight->present || !weight->dialect || weight->role == SHOAL_ROLE_EMBEDDING)
        return false;
    return weight->role != SHOAL_ROLE_LM_HEAD || !shoal_slice_embedding_shared(manifest);
}

/* Every rule is tried, so that one which matches nothing is found. */
static shoal_placement place_by(const rule_list *list, const char *name)
{
    shoal_placement placement = SHOAL_PLACED_HOST;
    bool decided = false;
    for (size_t i = 0; i < list->count; i++) {
        rule *r = &list->rules[i];
        if (!r->all && regexec(&r->regex, name, 0, NULL, 0) != 0)
            continue;
        r->matched++;
        if (!decided)
            placement = r->placement;
        decided = true;
    }
    return placement;
}

static void mark(shoal_manifest *manifest, const rule_list *list, bool *streams)
{
    char name[SHOAL_TENSOR_NAME_MAX];
    for (size_t i = 0; i < shoal_manifest_count(manifest); i++) {
        const shoal_weight *weight = shoal_manifest_at(manifest, i);
        if (!is_movable(manifest, weight))
            continue;
        shoal_weight_name(manifest, weight, name, sizeof name);
        const shoal_placement placement = place_by(list, name);
        ((shoal_weight *)(uintptr_t)weight)->placement = placement;
        *streams |= placement >= SHOAL_PLACED_STREAMED;
    }
}

shoal_status shoal_offload_mark(shoal_manifest *manifest, const char *spec, bool *streams)
{
    rule_list list = {.spec = spec};
    shoal_status st = read_rules(&list);
    *streams = false;
    if (st == SHOAL_OK)
        mark(manifest, &list, streams);
    for (size_t i = 0; i < list.count && st == SHOAL_OK; i++)
        if (list.rules[i].matched == 0)
            st = shoal_fail(SHOAL_ERR_USAGE,
                            "--offload %s: rule %zu matches no linear of the model", spec, i + 1);
    forget(&list);
    return st;
}

/* ---- the plan -------------------------------------------------------------------------------- */

int64_t shoal_offload_places(const shoal_manifest *manifest)
{
    return manifest->model->layer_count + 1;
}

int64_t shoal_offload_place(const shoal_manifest *manifest, const shoal_weight *weight)
{
    return weight->layer >= 0 ? weight->layer : manifest->model->layer_count;
}

bool shoal_offload_is_streamed(int64_t place, int64_t places, int64_t streamed)
{
    const int64_t layers = places - 1;
    if (streamed >= places)
        return true;
    return place < layers && (place + 1) * streamed / layers > place * streamed / layers;
}

uint64_t shoal_offload_held(const shoal_offload_costs *costs, int64_t streamed)
{
    uint64_t held = costs->held, buffer = 0;
    for (int64_t place = 0; place < costs->places; place++) {
        uint64_t bytes = costs->chosen[place];
        if (shoal_offload_is_streamed(place, costs->places, streamed)) {
            bytes += costs->free[place];
            held -= costs->free[place];
        }
        buffer = bytes > buffer ? bytes : buffer;
    }
    return held + buffer;
}

int64_t shoal_offload_decide(const shoal_offload_costs *costs, uint64_t room)
{
    int64_t streamed = 0;
    while (streamed < costs->places && shoal_offload_held(costs, streamed) > room)
        streamed++;
    return streamed;
}

/* Add what the linear takes on this rank to its place. */
static shoal_status add_cost(const shoal_slicing *slicing, int rank, const shoal_weight *weight,
                             uint64_t *chosen, uint64_t *free)
{
    shoal_linear_spec spec;
    shoal_linear_size size;
    if (weight->placement < SHOAL_PLACED_STREAMED ||
        !shoal_slice_spec_of(slicing, rank, weight, &spec))
        return SHOAL_OK;
    SHOAL_TRY(shoal_linear_measure(&spec, &size));
    const int64_t place = shoal_offload_place(slicing->manifest, weight);
    (weight->placement == SHOAL_PLACED_FREE ? free : chosen)[place] +=
        shoal_linear_packed_bytes(&size);
    return SHOAL_OK;
}

shoal_status shoal_offload_plan(const shoal_slicing *slicing, int rank, uint64_t room,
                                int64_t *streamed)
{
    const shoal_manifest *manifest = slicing->manifest;
    const int64_t places = shoal_offload_places(manifest);
    shoal_weight_bytes weights;
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_budget_weights(slicing, rank, &weights));
    SHOAL_TRY(shoal_alloc_array(SHOAL_MEM_OTHER, 2 * (uint64_t)places, sizeof(uint64_t), &block));
    uint64_t *chosen = block, *free = chosen + places;
    for (size_t i = 0; i < shoal_manifest_count(manifest); i++)
        SHOAL_TRY_GOTO(add_cost(slicing, rank, shoal_manifest_at(manifest, i), chosen, free), done);
    const shoal_offload_costs costs = {weights.held - weights.buffer, places, chosen, free};
    *streamed = shoal_offload_decide(&costs, room);
done:
    shoal_free(block);
    return st;
}

bool shoal_offload_streams(const shoal_slicing *slicing, int rank, const shoal_weight *weight)
{
    const shoal_manifest *manifest = slicing->manifest;
    if (weight->placement != SHOAL_PLACED_FREE)
        return weight->placement == SHOAL_PLACED_STREAMED;
    return shoal_offload_is_streamed(shoal_offload_place(manifest, weight),
                                     shoal_offload_places(manifest),
                                     slicing->plan->rank[rank].streamed);
}

bool shoal_offload_keeps_order(const shoal_slicing *slicing, int rank, const shoal_weight *weight)
{
    if (weight->role != SHOAL_ROLE_DOWN || !shoal_slice_reads_order_of(slicing, rank, weight))
        return false;
    for (shoal_role role = SHOAL_ROLE_GATE; role <= SHOAL_ROLE_DOWN; role++)
        if (shoal_manifest_sibling(slicing->manifest, weight, role)->placement >=
            SHOAL_PLACED_STREAMED)
            return true;
    return false;
}
