/* shard/roles.h - what each family calls its weights.
 *
 * A name is a module path, of the Hugging Face hub or of a GGUF file; the first "%d" in it stands
 * for the layer, the second for the expert. Parameters of a module are PATH.weight, PATH.bias,
 * PATH.qweight and so on. Names are looked up whole, so "q_proj" can never be found inside another
 * word. */
#ifndef SHOAL_SHARD_ROLES_H
#define SHOAL_SHARD_ROLES_H

#include <stdbool.h>
#include <stddef.h>

#include "shard/manifest.h"

typedef struct {
    const char *family;
    /* NULL: the family has no such weight. Linears of one name are stacked along n in one tensor,
     * in the order of the roles. */
    const char *module[SHOAL_ROLE_NAMES];
    const char *expert[SHOAL_EXPERT_LINEARS], *shared[SHOAL_EXPERT_LINEARS];
    /* Stacked q, k and v are dealt by kv head: its q heads, itself, its v; then the next. */
    bool by_kv_head;
} shoal_family_roles;

/* The row of a family; NULL when there is none. */
const shoal_family_roles *shoal_roles_find(const char *family);

/* What GGUF files call the weights of nearly every family, and of a given one. */
const shoal_family_roles *shoal_roles_gguf(void);
const shoal_family_roles *shoal_roles_gguf_of(const char *family);

/* Where in a checkpoint a model lies: what stands instead of "model.", and in front of the names
 * outside it. */
struct shoal_roles_part {
    const char *inside, *outside;
};

/* The places where the text part of a model of text and images may lie; the first is that of a
 * whole model. */
extern const shoal_roles_part shoal_roles_parts[];
extern const int shoal_roles_part_count;

/* Does this tensor belong to what such a model has beside text? */
bool shoal_roles_beside_text(const char *tensor);

/* The pattern that names this weight; NULL when the row has none. */
const char *shoal_roles_pattern(const shoal_family_roles *roles, const shoal_weight *weight);

/* Write the module path of a weight into `out`; false when the row has no such role or `room` is
 * too small. */
bool shoal_roles_module(const shoal_family_roles *roles, const shoal_roles_part *part,
                        const shoal_weight *weight, char *out, size_t room);

/* Does `other` lie in the tensor that holds `role`? A linear lies in its own. */
bool shoal_roles_stacked(const shoal_family_roles *roles, shoal_role role, shoal_role other);

/* May this tensor be left unread: a cache that old checkpoints stored beside the weights? */
bool shoal_roles_ignorable(const char *tensor);

#endif
