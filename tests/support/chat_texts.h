/* tests/support/chat_texts.h - chat templates that several programs use. */
#ifndef SHOAL_TESTS_SUPPORT_CHAT_TEXTS_H
#define SHOAL_TESTS_SUPPORT_CHAT_TEXTS_H

/* The template of tests/data/tiny-llama with its bos_token. */
#define CHAT_TINY                                                                                  \
    "{{ '<|begin|>' }}{% for m in messages %}{% if m['role'] in ['system', 'user', 'assistant'] "  \
    "%}{{ '<|' + m['role'] + '|>\\n' + m['content'] + '<|end|>\\n' }}{% else %}{{ "                \
    "raise_exception('unknown role ' + m['role']) }}{% endif %}{% endfor %}{% if "                 \
    "add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"

/* What a template is given, as JSON. */
#define CHAT_SHOW                                                                                  \
    "[{{ messages | tojson }}, {{ tools | tojson }}, {{ documents | tojson }}, "                   \
    "{{ add_generation_prompt | tojson }}, {{ mood | tojson }}]"

#endif
