/* coordinator/serve/exposition.h - Prometheus' text format (version 0.0.4): families and samples.
 *
 *     # HELP name what it means
 *     # TYPE name counter
 *     name{label="value"} 1
 *
 * A family is announced once, then come all of its samples. Values of labels and the words of HELP
 * are escaped here; names are written as they are. The first failure (want of memory) is kept in
 * `status`, and what follows it does nothing, so that a page of metrics asks once, at its end. */
#ifndef SHOAL_COORDINATOR_SERVE_EXPOSITION_H
#define SHOAL_COORDINATOR_SERVE_EXPOSITION_H

#include "coordinator/text/growable.h"
#include "proto/status.h"

typedef struct {
    shoal_strbuf *out;   /* appended to */
    const char *family;  /* announced last */
    shoal_status status; /* SHOAL_OK to begin with */
} shoal_exposition;

/* `value` is UTF-8. */
typedef struct {
    const char *name, *value;
} shoal_label;

/* `name` is borrowed until the next family. */
void shoal_exposition_family(shoal_exposition *x, const char *name, const char *type,
                             const char *help);

/* `suffix`: "" or what a histogram puts behind the family's name. */
void shoal_exposition_sample(shoal_exposition *x, const char *suffix, const shoal_label *labels,
                             int label_count, double value);

/* The shortest usual form: whole numbers without a point, others with up to 12 digits. */
#define SHOAL_EXPOSITION_NUMBER_MAX 32
void shoal_exposition_number(double value, char out[SHOAL_EXPOSITION_NUMBER_MAX]);

#endif
