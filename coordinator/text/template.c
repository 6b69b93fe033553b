#include "coordinator/text/template.h"

#include <string.h>

#include "coordinator/text/template_parser.h"
#include "coordinator/text/template_run.h"

struct shoal_template {
    shoal_heap heap;
    char *name;
    shoal_node *first; /* statements */
};

shoal_status shoal_template_parse(const char *name, const char *text, size_t bytes,
                                  shoal_template **out)
{
    shoal_status st = SHOAL_OK;
    void *block;
    SHOAL_TRY(shoal_alloc(SHOAL_MEM_TEXT, sizeof(shoal_template), &block));
    shoal_template *tpl = block;
    SHOAL_TRY_GOTO(shoal_heap_open(&tpl->heap), close);
    SHOAL_TRY_GOTO(shoal_strdup(SHOAL_MEM_TEXT, name, &tpl->name), close);
    SHOAL_TRY_GOTO(shoal_parse(&tpl->heap, tpl->name, (shoal_text){text, bytes}, &tpl->first),
                   close);
    *out = tpl;
    return SHOAL_OK;

close:
    shoal_template_close(tpl);
    return st;
}

void shoal_template_close(shoal_template *tpl)
{
    if (!tpl)
        return;
    shoal_free(tpl->name);
    shoal_heap_close(&tpl->heap);
    shoal_free(tpl);
}

shoal_status shoal_template_render(const shoal_template *tpl, const json_t *variables,
                                   const json_t *defaults, const struct tm *now, shoal_strbuf *out)
{
    shoal_run run = {.name = tpl->name, .variables = variables, .defaults = defaults, .now = *now};
    SHOAL_TRY(shoal_heap_open(&run.heap));
    shoal_builder text = shoal_builder_in(&run.heap);
    text.most = SHOAL_TEMPLATE_OUTPUT_MAX;
    run.out = &text;
    run.scope = &run.root;
    shoal_status st = shoal_run_body(&run, tpl->first);
    if (st == SHOAL_OK)
        st = shoal_strbuf_append(out, text.data, text.bytes);
    shoal_heap_close(&run.heap);
    return st;
}
