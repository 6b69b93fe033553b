/* shard/convert_folder.h - the folder a conversion writes: it appears under its name when all of it
 * is there, and what a killed conversion left is taken up again.
 *
 * Work happens in DST.partial, whose subfolder .shoal-convert holds the fingerprint of the
 * conversion and a record per finished file. Publishing renames DST.partial to DST (an empty
 * folder may stand there; in place, the source steps aside as DST.backup). */
#ifndef SHOAL_SHARD_CONVERT_FOLDER_H
#define SHOAL_SHARD_CONVERT_FOLDER_H

#include <limits.h>
#include <stdbool.h>

#include "proto/status.h"

struct json_t;

typedef struct {
    char destination[PATH_MAX], partial[PATH_MAX];
    bool in_place;
    int lock;
} shoal_convert_folder;

/* Source and destination may be one folder only with `backup`. SHOAL_ERR_CREATE where something
 * else stands at the destination, where DST.partial is of a conversion with another fingerprint
 * (text), and while another process writes it. */
SHOAL_MUST_USE shoal_status shoal_convert_folder_open(const char *source, const char *destination,
                                                      bool backup, const char *fingerprint,
                                                      shoal_convert_folder *out);

/* Let go; what is there stays for the next try. */
void shoal_convert_folder_close(shoal_convert_folder *folder);

/* Remove DST.partial: for a conversion that can never be finished. */
void shoal_convert_folder_discard(shoal_convert_folder *folder);

/* DST.partial/NAME into `out`. */
SHOAL_MUST_USE shoal_status shoal_convert_folder_path(const shoal_convert_folder *folder,
                                                      const char *name, char out[PATH_MAX]);

/* A document as file NAME, whole or not at all. */
SHOAL_MUST_USE shoal_status shoal_convert_folder_json(const shoal_convert_folder *folder,
                                                      const char *name,
                                                      const struct json_t *document);

/* Record that file `name` is complete, with what is to be known about it; the record of an earlier
 * run, or NULL. */
SHOAL_MUST_USE shoal_status shoal_convert_folder_record(const shoal_convert_folder *folder,
                                                        const char *name,
                                                        const struct json_t *record);
struct json_t *shoal_convert_folder_recorded(const shoal_convert_folder *folder, const char *name);

/* Visit every regular file of folder `source` that goes with a model and is not written anew, in
 * order of names: `path` of the file `name`. `source` may be a file; then there is nothing. */
typedef shoal_status (*shoal_convert_visit)(void *context, const char *path, const char *name);
SHOAL_MUST_USE shoal_status shoal_convert_visit_files(const char *source, shoal_convert_visit visit,
                                                      void *context);

/* Copy what belongs to a model beside weights and config: tokenizer, templates, generation
 * settings. */
SHOAL_MUST_USE shoal_status shoal_convert_folder_copy(shoal_convert_folder *folder,
                                                      const char *source);

/* Give the folder its name. */
SHOAL_MUST_USE shoal_status shoal_convert_folder_publish(shoal_convert_folder *folder);

#endif
