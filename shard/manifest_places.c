/* shard/manifest_places.c - finding weights in a manifest: by place, one after the other, by name.
 */
#include <stdio.h>

#include "shard/manifest.h"
#include "shard/roles.h"

const shoal_weight *shoal_manifest_weight(const shoal_manifest *manifest, int layer,
                                          shoal_role role)
{
    if (role < SHOAL_ROLE_LAYER_ALL)
        return &manifest->layers[(size_t)layer * SHOAL_ROLE_LAYER_ALL + role];
    return &manifest->globals[role - SHOAL_ROLE_LAYER_ALL];
}

const shoal_weight *shoal_manifest_sibling(const shoal_manifest *manifest,
                                           const shoal_weight *weight, shoal_role role)
{
    if (weight->expert == 0)
        return shoal_manifest_weight(manifest, weight->layer, role);
    const shoal_expert_set *set = &manifest->experts[weight->layer];
    const int expert = weight->expert == SHOAL_EXPERT_SHARED ? set->count : weight->expert;
    return shoal_expert_weight(set, expert - 1, role);
}

const shoal_weight *shoal_manifest_example(const shoal_manifest *manifest, shoal_role role)
{
    const shoal_expert_set *set = &manifest->experts[0];
    if (set->count && role >= SHOAL_ROLE_GATE && role <= SHOAL_ROLE_DOWN)
        return shoal_expert_weight(set, 0, role);
    return shoal_manifest_weight(manifest, 0, role);
}

static void list_layer(shoal_manifest *manifest, int layer)
{
    const shoal_expert_set *set = &manifest->experts[layer];
    size_t *at = &manifest->place_count;
    for (shoal_role role = 0; role < SHOAL_ROLE_LAYER_ALL; role++)
        manifest->places[(*at)++] = shoal_manifest_weight(manifest, layer, role);
    if (set->count == 0)
        return;
    manifest->places[(*at)++] = &set->router;
    manifest->places[(*at)++] = &set->shared_router;
    for (int i = 0; i < set->count * SHOAL_EXPERT_LINEARS; i++)
        manifest->places[(*at)++] = &set->linears[i];
}

shoal_status shoal_manifest_list(shoal_manifest *manifest)
{
    const int layers = (int)manifest->model->layer_count;
    size_t most = SHOAL_ROLE_COUNT - SHOAL_ROLE_LAYER_ALL;
    void *block;
    for (int layer = 0; layer < layers; layer++)
        most += SHOAL_ROLE_LAYER_ALL + 2 +
                (size_t)manifest->experts[layer].count * SHOAL_EXPERT_LINEARS;
    SHOAL_TRY(shoal_arena_array(manifest->arena, most, sizeof *manifest->places, &block));
    manifest->places = block;
    manifest->places[manifest->place_count++] =
        shoal_manifest_weight(manifest, -1, SHOAL_ROLE_EMBEDDING);
    for (int layer = 0; layer < layers; layer++)
        list_layer(manifest, layer);
    for (shoal_role role = SHOAL_ROLE_EMBEDDING + 1; role < SHOAL_ROLE_COUNT; role++)
        manifest->places[manifest->place_count++] = shoal_manifest_weight(manifest, -1, role);
    return SHOAL_OK;
}

size_t shoal_manifest_count(const shoal_manifest *manifest)
{
    return manifest->place_count;
}

const shoal_weight *shoal_manifest_at(const shoal_manifest *manifest, size_t index)
{
    return manifest->places[index];
}

void shoal_weight_name(const shoal_manifest *manifest, const shoal_weight *weight, char *out,
                       size_t room)
{
    const shoal_family_roles *roles = shoal_roles_find(manifest->model->family);
    if (!roles || !shoal_roles_module(roles, manifest->part, weight, out, room))
        snprintf(out, room, "%s", shoal_role_name(weight->role));
}
