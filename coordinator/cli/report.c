#include "coordinator/cli/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/clock.h"
#include "proto/arena.h"

static shoal_status stdout_failed(void)
{
    return shoal_fail(SHOAL_ERR_IO, "writing to standard output: %s", strerror(errno));
}

shoal_status shoal_report_flush(void)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return SHOAL_OK;
    errno = errno ? errno : EIO; /* an earlier write failed, and its reason is forgotten */
    return stdout_failed();
}

static shoal_status dump(json_t *document, size_t flags)
{
    if (!document)
        return shoal_fail(SHOAL_ERR_TEMPORARY, "no memory for the JSON report");
    errno = EIO;
    const bool fine = json_dumpf(document, stdout, flags) == 0 && putchar('\n') != EOF;
    json_decref(document);
    return fine ? shoal_report_flush() : stdout_failed();
}

shoal_status shoal_report_json(json_t *document)
{
    return dump(document, JSON_INDENT(2));
}

shoal_status shoal_report_json_line(json_t *document)
{
    return dump(document, JSON_COMPACT);
}

shoal_status shoal_report_text(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vprintf(fmt, args);
    va_end(args);
    return n >= 0 ? SHOAL_OK : stdout_failed();
}

shoal_status shoal_report_bytes(const char *text, size_t bytes)
{
    return fwrite(text, 1, bytes, stdout) == bytes ? SHOAL_OK : stdout_failed();
}

json_t *shoal_json_utf8(const char *text, size_t bytes)
{
    return json_stringn(text ? text : "", bytes);
}

json_t *shoal_json_range(int64_t begin, int64_t end)
{
    return json_pack("[I, I]", (json_int_t)begin, (json_int_t)end);
}

json_t *shoal_json_ids(const int32_t *ids, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++) {
        if (json_array_append_new(array, json_integer(ids[i])) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

void shoal_format_bytes(uint64_t bytes, char *out, size_t room)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(out, room, unit ? "%.2f %s" : "%.0f %s", value, units[unit]);
}

/* ---- tables ---------------------------------------------------------------------------------- */

#define CELL_MAX 512

struct shoal_table {
    shoal_column columns[SHOAL_TABLE_COLUMNS_MAX];
    int count;
    char **cells; /* [used], each its own string */
    uint64_t used, room;
};

shoal_status shoal_table_create(const shoal_column *columns, int count, shoal_table **out)
{
    void *block;
    if (count < 1 || count > SHOAL_TABLE_COLUMNS_MAX)
        return shoal_fail(SHOAL_ERR_INTERNAL, "a table of %d columns", count);
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_table), &block));
    shoal_table *table = block;
    memcpy(table->columns, columns, (size_t)count * sizeof *columns);
    table->count = count;
    *out = table;
    return SHOAL_OK;
}

void shoal_table_destroy(shoal_table *table)
{
    if (!table)
        return;
    for (uint64_t i = 0; i < table->used; i++)
        shoal_free(table->cells[i]);
    shoal_free(table->cells);
    shoal_free(table);
}

shoal_status shoal_table_cell(shoal_table *table, const char *fmt, ...)
{
    char text[CELL_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (table->used == table->room) {
        const uint64_t room = table->room ? 2 * table->room : 64;
        void *cells = table->cells;
        SHOAL_TRY(shoal_realloc_array(SHOAL_MEM_TEXT, room, sizeof *table->cells, &cells));
        table->cells = cells;
        table->room = room;
    }
    SHOAL_TRY(shoal_strdup(SHOAL_MEM_TEXT, text, &table->cells[table->used]));
    table->used++;
    return SHOAL_OK;
}

/* Characters, not bytes: UTF-8 continuation bytes take no place. */
static int text_width(const char *text)
{
    int n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static shoal_status print_cell(const shoal_table *t, int column, int width, const char *text)
{
    const int gap = width - text_width(text);
    const bool last = column == t->count - 1;
    if (t->columns[column].right)
        return shoal_report_text("%*s%s%s", gap, "", text, last ? "\n" : "  ");
    return shoal_report_text("%s%*s%s", text, last ? 0 : gap, "", last ? "\n" : "  ");
}

shoal_status shoal_table_print(const shoal_table *table)
{
    int widths[SHOAL_TABLE_COLUMNS_MAX];
    const uint64_t columns = (uint64_t)table->count;
    for (int c = 0; c < table->count; c++)
        widths[c] = text_width(table->columns[c].title);
    for (uint64_t i = 0; i < table->used; i++) {
        const int width = text_width(table->cells[i]);
        if (width > widths[i % columns])
            widths[i % columns] = width;
    }
    for (int c = 0; c < table->count; c++)
        SHOAL_TRY(print_cell(table, c, widths[c], table->columns[c].title));
    for (uint64_t i = 0; i < table->used; i++) {
        const int c = (int)(i % columns);
        SHOAL_TRY(print_cell(table, c, widths[c], table->cells[i]));
    }
    return SHOAL_OK;
}

/* ---- progress -------------------------------------------------------------------------------- */

#define BAR_WIDTH     40
#define QUIET_SECONDS 1.0

void shoal_progress_begin(shoal_progress *progress, const char *label)
{
    *progress = (shoal_progress){label, -1, isatty(STDERR_FILENO) == 1, shoal_clock_seconds()};
}

static void draw_bar(const shoal_progress *progress)
{
    char bar[BAR_WIDTH + 1];
    const int filled = progress->shown * BAR_WIDTH / 100;
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)filled);
    bar[BAR_WIDTH] = '\0';
    (void)fprintf(stderr, "\r%s [%s] %3d %%", progress->label, bar, progress->shown);
    if (progress->shown == 100)
        (void)fputs("\r\033[K", stderr);
}

void shoal_progress_update(shoal_progress *progress, uint64_t done, uint64_t total)
{
    const double part = total ? (double)done / (double)total : 1.0;
    const int percent = part >= 1.0 ? 100 : (int)(part * 100.0);
    const int step = progress->bar ? 1 : 5;
    if (shoal_clock_seconds() - progress->begin < QUIET_SECONDS)
        return;
    if (percent <= progress->shown || percent / step == progress->shown / step)
        if (progress->shown >= 0)
            return;
    progress->shown = percent;
    if (progress->bar)
        draw_bar(progress);
    else
        (void)fprintf(stderr, "%s %d %%\n", progress->label, percent - percent % step);
}

void shoal_progress_show(void *progress, uint64_t done, uint64_t total)
{
    shoal_progress_update(progress, done, total);
}

void shoal_progress_end(shoal_progress *progress)
{
    if (progress->bar && progress->shown >= 0 && progress->shown < 100)
        (void)fputs("\r\033[K", stderr);
    progress->shown = 100;
}
