#include "coordinator/text/speech_formats.h"

#include <string.h>

#include "proto/bytes.h"

/* Hermes comes first: its template explains JSON schemas with the words that are the sign of
 * others. */
static const shoal_call_format calls[] = {
    {
        .name = "hermes", /* and Qwen, which learned it from there */
        .sign = "<tool_call>",
        .shape = SHOAL_CALLS_OBJECTS,
        .open = "<tool_call>",
        .close = "</tool_call>",
    },
    {
        .name = "minimax",
        .sign = "<tool_calls>",
        .shape = SHOAL_CALLS_OBJECTS,
        .open = "<tool_calls>",
        .close = "</tool_calls>",
    },
    {
        .name = "mistral",
        .sign = "[TOOL_CALLS]",
        .shape = SHOAL_CALLS_NAMED,
        .open = "[TOOL_CALLS]",
        .separator = "[ARGS]",
        .skips = {"[TOOL_CALLS]", "[", "]", ","},
    },
    {
        .name = "deepseek",
        .sign = "<｜tool▁calls▁begin｜>",
        .shape = SHOAL_CALLS_NAMED,
        .open = "<｜tool▁calls▁begin｜>",
        .close = "<｜tool▁calls▁end｜>",
        .separator = "<｜tool▁sep｜>",
        .skips = {"<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "```"},
    },
    {
        .name = "command-r7b",
        .sign = "<|START_ACTION|>",
        .shape = SHOAL_CALLS_OBJECTS,
        .open = "<|START_ACTION|>",
        .close = "<|END_ACTION|>",
        .skips = {"[", "]", ","},
    },
    {
        .name = "nemotron",
        .sign = "<TOOLCALL>",
        .shape = SHOAL_CALLS_OBJECTS,
        .open = "<TOOLCALL>",
        .close = "</TOOLCALL>",
        .skips = {"[", "]", ","},
    },
    {
        .name = "granite", /* and Phi-4 mini, which closes the section */
        .sign = "<|tool_call|>",
        .shape = SHOAL_CALLS_OBJECTS,
        .open = "<|tool_call|>",
        .close = "<|/tool_call|>",
        .skips = {"[", "]", ","},
    },
    {
        .name = "functionary",
        .sign = "<function=example_function_name>{",
        .shape = SHOAL_CALLS_NAMED,
        .open = "<function=",
        .close = "</function>",
        .separator = ">",
    },
    {
        .name = "lfm",
        .sign = "<|tool_call_start|>",
        .shape = SHOAL_CALLS_PYTHON,
        .open = "<|tool_call_start|>",
        .close = "<|tool_call_end|>",
        .skips = {"[", "]", ","},
    },
    {
        .name = "llama-python",
        .sign = "func_name1(params_name1=",
        .shape = SHOAL_CALLS_PYTHON,
        .open = "<|python_start|>",
        .close = "<|python_end|>",
        .bare = "[",
        .skips = {"[", "]", ","},
    },
    {
        .name = "llama-json",
        .sign = "\"parameters\": dictionary of argument name",
        .shape = SHOAL_CALLS_OBJECTS,
        .open = "<|python_tag|>",
        .bare = "{",
        .skips = {";", ","},
    },
};

/* Templates that say this have their model write calls in XML, some of them between the marks of a
 * row above; that is not read. */
static const char *const unread[] = {"<parameter=", "<arg_key>"};

/* The closing mark is the sign: every template that knows reasoning drops it from earlier turns. */
static const shoal_think_format thinks[] = {
    {"<think>", "</think>"},
    {"[THINK]", "[/THINK]"},
    {"<seed:think>", "</seed:think>"},
    {"<|START_THINKING|>", "<|END_THINKING|>"},
};

const shoal_call_format shoal_calls_required = {
    .name = "required",
    .shape = SHOAL_CALLS_OBJECTS,
    .bare = "[",
    .skips = {"[", "]", ","},
};

const shoal_call_format shoal_calls_forced = {
    .name = "forced",
    .shape = SHOAL_CALLS_ARGUMENTS,
    .bare = "{",
};

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

static bool says(const char *text, size_t bytes, const char *sign)
{
    return bytes > 0 && memmem(text, bytes, sign, strlen(sign)) != NULL;
}

const shoal_call_format *shoal_call_format_of(const char *text, size_t bytes)
{
    for (size_t i = 0; i < COUNT(unread); i++)
        if (says(text, bytes, unread[i]))
            return NULL;
    for (size_t i = 0; i < COUNT(calls); i++)
        if (says(text, bytes, calls[i].sign))
            return &calls[i];
    return NULL;
}

const shoal_think_format *shoal_think_format_of(const char *text, size_t bytes)
{
    for (size_t i = 0; i < COUNT(thinks); i++)
        if (says(text, bytes, thinks[i].close))
            return &thinks[i];
    return NULL;
}

const shoal_call_format *shoal_call_format_named(const char *name)
{
    for (size_t i = 0; i < COUNT(calls); i++)
        if (strcmp(calls[i].name, name) == 0)
            return &calls[i];
    return NULL;
}

static bool is_mark(const char *mark, const char *text, size_t bytes)
{
    return mark && shoal_text_is(text, bytes, mark);
}

bool shoal_call_format_marks(const shoal_call_format *f, const char *text, size_t bytes)
{
    for (size_t i = 0; i < SHOAL_CALL_SKIPS_MAX; i++)
        if (is_mark(f->skips[i], text, bytes))
            return true;
    return is_mark(f->open, text, bytes) || is_mark(f->close, text, bytes) ||
           is_mark(f->separator, text, bytes);
}

bool shoal_think_format_marks(const shoal_think_format *f, const char *text, size_t bytes)
{
    return is_mark(f->open, text, bytes) || is_mark(f->close, text, bytes);
}
