#include "coordinator/text/chat_template.h"

/* The interpreter is not here yet: models count as having no template, and chats are refused. */
shoal_status shoal_chat_template_open(const char *folder, shoal_chat_template **out)
{
    (void)out;
    return shoal_fail(SHOAL_ERR_NOTFOUND, "%s: templates are not read yet", folder);
}

void shoal_chat_template_close(shoal_chat_template *chat)
{
    (void)chat;
}

shoal_status shoal_chat_template_render(const shoal_chat_template *chat, const json_t *variables,
                                        shoal_strbuf *out)
{
    (void)chat;
    (void)variables;
    (void)out;
    return shoal_fail(SHOAL_ERR_UNAVAILABLE, "templates are not read yet");
}
