#include "coordinator/bench/bench_report.h"

#include "coordinator/cli/machine.h"
#include "coordinator/cli/report.h"

static shoal_status print_yardsticks(const shoal_bench_rows *yardsticks)
{
    static const shoal_column columns[] = {{"yardstick", false}, {"value", true}, {"unit", false}};
    shoal_status st = SHOAL_OK;
    shoal_table *table;
    SHOAL_TRY(shoal_table_create(columns, sizeof columns / sizeof *columns, &table));
    for (size_t i = 0; i < yardsticks->count; i++) {
        const shoal_bench_row *row = &yardsticks->data[i];
        SHOAL_TRY_GOTO(shoal_table_cell(table, "%s", row->name), destroy);
        SHOAL_TRY_GOTO(shoal_table_cell(table, "%.1f", row->value), destroy);
        SHOAL_TRY_GOTO(shoal_table_cell(table, "%s", row->unit), destroy);
    }
    st = shoal_table_print(table);

destroy:
    shoal_table_destroy(table);
    return st;
}

/* Takes over `more`. */
static shoal_status print_json(const shoal_bench_rows *yardsticks, const shoal_bench_rows *rows,
                               json_t *more)
{
    shoal_machine machine;
    shoal_machine_read(&machine);
    json_t *document =
        json_pack("{s:o, s:o, s:o}", "machine", shoal_json_machine(&machine), "yardsticks",
                  shoal_bench_rows_json_values(yardsticks), "rows", shoal_bench_rows_json(rows));
    if (document && more && json_object_update(document, more) != 0) {
        json_decref(document);
        document = NULL;
    }
    json_decref(more);
    return shoal_report_json(document);
}

shoal_status shoal_bench_report_with(bool json, const shoal_bench_rows *yardsticks,
                                     const shoal_bench_rows *rows, json_t *more)
{
    shoal_machine machine;
    char memory[32];
    if (json)
        return print_json(yardsticks, rows, more);
    json_decref(more);
    shoal_machine_read(&machine);
    shoal_format_bytes(machine.memory_bytes, memory, sizeof memory);
    SHOAL_TRY(shoal_report_text("%s, %d of %ld cores, %s\n", machine.cpu, machine.cores,
                                machine.cores_online, memory));
    if (yardsticks->count)
        SHOAL_TRY(print_yardsticks(yardsticks));
    if (rows->count == 0)
        return SHOAL_OK;
    if (yardsticks->count)
        SHOAL_TRY(shoal_report_text("\n"));
    return shoal_bench_rows_print(rows);
}

shoal_status shoal_bench_report(bool json, const shoal_bench_rows *yardsticks,
                                const shoal_bench_rows *rows)
{
    return shoal_bench_report_with(json, yardsticks, rows, NULL);
}
