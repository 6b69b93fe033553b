#include "coordinator/text/builtin_templates.h"

#include <stddef.h>
#include <string.h>

/* What several of them begin with: a system message becomes part of the first turn, and turns
 * alternate. Afterwards `turns` are the messages and `system` is its text, or none. */
#define SYSTEM_IN_FIRST_TURN                                                                       \
    "{% if messages[0].role == 'system' %}"                                                        \
    "{% set system = messages[0].content %}{% set turns = messages[1:] %}"                         \
    "{% else %}{% set system = none %}{% set turns = messages %}{% endif %}"                       \
    "{% for turn in turns %}"                                                                      \
    "{% if turn.role != ('user' if loop.index0 % 2 == 0 else 'assistant') %}"                      \
    "{{ raise_exception('After an optional system message the roles must alternate: user, "        \
    "assistant, user, ...') }}"                                                                    \
    "{% endif %}{% endfor %}"

static const char llama2[] =
    SYSTEM_IN_FIRST_TURN "{% for turn in turns %}"
                         "{% if turn.role == 'user' %}"
                         "{{ '<s>[INST] ' }}"
                         "{% if loop.first and system is not none %}"
                         "{{ '<<SYS>>\n' + system | trim + '\n<</SYS>>\n\n' }}"
                         "{% endif %}"
                         "{{ turn.content | trim + ' [/INST]' }}"
                         "{% else %}"
                         "{{ ' ' + turn.content | trim + ' </s>' }}"
                         "{% endif %}{% endfor %}";

static const char mistral[] = SYSTEM_IN_FIRST_TURN
    "{{ '<s>' }}"
    "{% for turn in turns %}"
    "{% if turn.role == 'user' %}"
    "{{ '[INST] ' }}"
    "{% if loop.first and system is not none %}{{ system + '\n\n' }}{% endif %}"
    "{{ turn.content + ' [/INST]' }}"
    "{% else %}"
    "{{ ' ' + turn.content | trim + '</s>' }}"
    "{% endif %}{% endfor %}";

static const char gemma[] = SYSTEM_IN_FIRST_TURN
    "{{ '<bos>' }}"
    "{% for turn in turns %}"
    "{{ '<start_of_turn>' + ('model' if turn.role == 'assistant' else 'user') + '\n' }}"
    "{% if loop.first and system is not none %}{{ system | trim + '\n\n' }}{% endif %}"
    "{{ turn.content | trim + '<end_of_turn>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}";

static const char llama3[] = "{{ '<|begin_of_text|>' }}"
                             "{% for message in messages %}"
                             "{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' }}"
                             "{{ message.content | trim + '<|eot_id|>' }}"
                             "{% endfor %}"
                             "{% if add_generation_prompt %}"
                             "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
                             "{% endif %}";

#define CHATML                                                                                     \
    "{% for message in messages %}"                                                                \
    "{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"                \
    "{% endfor %}"                                                                                 \
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

static const char chatml[] = CHATML;

static const char internlm2[] = "{{ '<s>' }}" CHATML;

static const char phi3[] = "{% for message in messages %}"
                           "{{ '<|' + message.role + '|>\n' + message.content + '<|end|>\n' }}"
                           "{% endfor %}"
                           "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}";

static const struct {
    const char *family;
    int64_t from, below; /* sizes of the vocabulary; 0, 0: any */
    const char *text;
} rows[] = {
    {"llama", 32000, 32100, llama2}, /* "llama" is also the shape of many other models */
    {"llama", 128000, 129000, llama3}, {"mistral", 0, 0, mistral},
    {"mixtral", 0, 0, mistral},        {"qwen2", 0, 0, chatml},
    {"qwen2_moe", 0, 0, chatml},       {"qwen2moe", 0, 0, chatml},
    {"qwen3", 0, 0, chatml},           {"qwen3_moe", 0, 0, chatml},
    {"qwen3moe", 0, 0, chatml},        {"gemma", 0, 0, gemma},
    {"gemma2", 0, 0, gemma},           {"gemma3", 0, 0, gemma},
    {"gemma3_text", 0, 0, gemma},      {"phi3", 0, 0, phi3},
    {"internlm2", 0, 0, internlm2},
};

const char *shoal_builtin_template(const char *family, int64_t vocab)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].family, family) == 0 &&
            (rows[i].below == 0 || (vocab >= rows[i].from && vocab < rows[i].below)))
            return rows[i].text;
    return NULL;
}
