/* The interpreter of chat templates: what it gives is what Jinja2 gives, what it refuses is said
 * with the line, and no template breaks the limits on steps, memory, nesting and output. The tables
 * of examples hold the results of Jinja2 3.1.6 in the environment of transformers. No golden
 * data. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator/text/template.h"
#include "proto/arena.h"
#include "tests/support/sanitized.h"

/* Sanitizers enlarge every frame of the stack. */
#define STACK_BYTES (SANITIZED ? 4u << 20 : 256u << 10)

typedef struct {
    const char *text, *result;
} example;

/* The variables of all examples. */
static const char variables[] =
    "{\"s\": \"Hello, Wörld! \", \"n\": null, \"i\": 7, \"f\": 2.5, \"t\": true, \"l\": [3, 1, 2],"
    "\"d\": {\"b\": 1, \"a\": {\"x\": [1, 2]}, \"C\": null}, \"e\": [], \"q\": \"it's \\\"q\\\"\","
    "\"ms\": [{\"role\": \"user\", \"content\": \"a\"},"
    "{\"role\": \"assistant\", \"content\": null, \"n\": 2}, {\"role\": \"user\", \"content\": "
    "\"Zz\"}],"
    "\"w\": \"  two  words here \", \"lines\": \"a\\n\\n b\\r\\nc\\n\", \"u\": \"日本語 é\","
    "\"html\": \"<a & \\\"b\\\">\"}";

static const example expressions[] = {
    {"{{ s }}|{{ s|length }}|{{ s[1:4] }}|{{ s[::-1] }}|{{ s[-3:] }}|{{ s[7] }}|{{ s[99] "
     "}}|{{ s[5:2] }}|{{ s[-100:100:2] }}",
     "Hello, Wörld! |14|ell| !dlröW ,olleH|d! |W|||Hlo öl!"},
    {"{{ l[::-1] }}{{ l[5:] }}{{ l[-2:] }}{{ l[::2] }}{{ l[2:0:-1] }}{{ (1,2,3)[1:] }}{{ "
     "l[-1] }}{{ l[10] }}",
     "[2, 1, 3][][1, 2][3, 2][2, 1](2, 3)2"},
    {"{{ 1/2 }} {{ 7//2 }} {{ -7//2 }} {{ -7%3 }} {{ 7%-3 }} {{ 2**10 }} {{ 2**-1 }} "
     "{{ -2**2 }} {{ 1+2.0 }} {{ 10/5 }} {{ 1e20 }} {{ 1.5e-7 }} {{ 123456789.123 }} "
     "{{ 1e16 }} {{ 123456789012345680.0 }} {{ 0.1+0.2 }} {{ 100.0 }} {{ -0.0 }} {{ 5.0//2 "
     "}} {{ -5.5%2 }}",
     "0.5 3 -4 2 -2 1024 0.5 4 3.0 2.0 1e+20 1.5e-07 123456789.123 1e+16 1.2345678901234568e+"
     "17 0.30000000000000004 100.0 -0.0 2.0 0.5"},
    {"{{ 1 < 2 < 3 }}{{ 1 < 2 > 3 }}{{ (1 < 2) == true }}{{ not 1 == 2 }}{{ 1 in l and "
     "9 not in l }}{{ 'a' in d }}{{ 'ell' in s }}{{ '' in s }}{{ true + 1 }}{{ true == "
     "1 }}{{ 1 == 1.0 }}",
     "TrueFalseTrueTrueTrueTrueTrueTrue2TrueTrue"},
    {"{{ d }}{{ l }}{{ (1,) }}{{ () }}{{ [] }}{{ {} }}{{ q }}{{ [q] }}{{ [\"a'b\", 'c\"d', "
     "'e\\'\"f', 'x\\ny\\t\\\\', '\\x00\\x7f\\u200b日'] }}{{ n }}{{ t }}{{ [t, n, f, 1.0] "
     "}}",
     "{'b': 1, 'a': {'x': [1, 2]}, 'C': None}[3, 1, 2](1,)()[]{}it's \"q\"['it\\'s \"q\"'][\""
     "a'b\", 'c\"d', 'e\\'\"f', 'x\\ny\\t\\\\', '\\x00\\x7f\\u200b日']NoneTrue[True, None, "
     "2.5, 1.0]"},
    {"{{ 'a' ~ 1 ~ n ~ l }}{{ 'ab' * 2 }}{{ [1] * 2 + [3] }}{{ 'a' 'b' }}",
     "a1None[3, 1, 2]abab[1, 1, 3]ab"},
    {"{{ x if false }}{{ 1 if t else 2 }}{{ 1 if n else 2 if n else 3 }}", "13"},
    {"{{ strftime_now('%d %b %Y %H:%M:%S %A %j') }}{{ dict(a=1, b=2) }}{{ 1_000 }}{{ "
     "d.a.x.0 }}{{ d['a']['x'][1] }}{{ d.a['x'] }}",
     "21 Nov 2026 12:34:56 Saturday 325{'a': 1, 'b': 2}100012[1, 2]"},
    {"{{ \"\\u00e9\\x41\\101\\n\\q\\'\\\"\" }}{{ 'a\\\n"
     "b' }}",
     "éAA\n"
     "\\q'\"ab"},
    {"{{ [1,2] < [1,3] }}{{ 'a' < 'b' }}{{ (1,2) == (1,2) }}{{ {'a':1} == {'a':1.0} }}{{ "
     "[1] == (1,) }}{{ none == false }}",
     "TrueTrueTrueTrueFalseFalse"},
    {"{{ s.__class__ }}", ""},
    {"{{ 'x' if i > 5 and not e }}{{ i == 7 and 'y' or 'z' }}", "xy"},
    {"{{ {'a': {'b': 1}}['a']['b'] }}{{ {'a': {'b': {}}}}}", "1{'a': {'b': {}}}"},
    {"{{ loop }}", ""},
    {"{% if false %}{{ d|nosuch }}{% endif %}x", "x"},
};

static const example white_space[] = {
    {"  {% if t %}\n"
     "    a\n"
     "  {% endif %}\n"
     "b {% if t %}c{% endif %}\n"
     "   {{ i }}\n"
     " {# comment #}\n"
     "x {# c #} y\n"
     " {%+ if t %}\n"
     "z{%- endif -%}   \n"
     "\n"
     "w\n"
     "{% raw %} {{ not }} {% if %} {% endraw %}\n"
     "{%- raw -%}  q {%- endraw %}",
     "    a\n"
     "b c   7\n"
     "x  y\n"
     " zw\n"
     " {{ not }} {% if %} q"},
    {"a  {{- i -}}  b {%- set x = 1 -%}  c {#- q -#} d", "a7bcd"},
};

static const example loops[] = {
    {"{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 "
     "}}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem "
     "}}{{ loop.cycle('a','b') }}{{ loop.changed(x > 1) }}{{ loop.depth }}\n"
     "{% else %}none{% endfor %}\n"
     "{% for x in e %}{{ x }}{% else %}empty{% endfor %}",
     "1032TrueFalse31aTrue1\n"
     "2121FalseFalse332bTrue1\n"
     "3210FalseTrue31aTrue1\n"
     "empty"},
    {"{% for x in l if x > 1 %}{{ x }}{{ loop.length }}{% endfor %}{% for k, v in d.items() "
     "%}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for c in u "
     "%}{{ c }}.{% endfor %}",
     "3222b=1;a={'x': [1, 2]};C=None;baC日.本.語. .é."},
    {"{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% "
     "break %}{% endif %}{{ x }}{% endfor %}{{ range(3)|list }}{{ range(5, 0, -2)|list "
     "}}",
     "0134[0, 1, 2][5, 3, 1]"},
    {"{% set x = 1 %}{% for i in l %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}{% "
     "if true %}{% set x = 5 %}{% endif %}{{ x }}",
     "22215"},
    {"{% set ns = namespace(a=1, b='q') %}{% for i in l %}{% set ns.a = ns.a + i %}{% "
     "endfor %}{{ ns.a }}{{ ns.b }}{{ ns.zz }}{{ ns['a'] }}",
     "7q7"},
    {"{% macro m(x) %}{{ x }}{{ y }}{% endmacro %}{% set y = 3 %}{{ m(1) }}{% for y in "
     "[7] %}{{ m(2) }}{% endfor %}",
     "1323"},
    {"{% for m in ms %}{{ m.role }}{% if not loop.last %}, {% endif %}{% endfor %}",
     "user, assistant, user"},
    {"{% for x in [[1,2],[3,4]] %}{% for y in x %}{{ loop.index }}{{ y }}{% endfor %}{{ "
     "loop.index }}{% endfor %}",
     "1122113242"},
    {"{% for a, (b, c) in [(1,(2,3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "123"},
    {"x{% set ns = namespace(items=[]) %}{% for i in l %}{% set ns.items = ns.items + "
     "[i] %}{% endfor %}{{ ns.items }}\n",
     "x[3, 1, 2]"},
};

static const example blocks[] = {
    {"{% macro m(a, b=2, c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, "
     "3) }}{{ m(1, c=5) }}{{ m(b=9, a=8) }}{{ m.name }}{{ m('x') | upper }}",
     "[121][131][125][898]m[X2X]"},
    {"{% macro m(a) %}<{{ a }}{{ caller('z') }}>{% endmacro %}{% call(q) m(1) %}in {{ "
     "q }}{% endcall %}",
     "<1in z>"},
    {"{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(5) "
     "}}",
     "54321"},
    {"{% set x %}  abc {{ i }} {% endset %}[{{ x }}]{% set y | trim | upper %}  abc {% "
     "endset %}[{{ y }}]{% filter upper %}abc{{ s }}{% endfilter %}",
     "[  abc 7 ][ABC]ABCHELLO, WÖRLD! "},
    {"{% with a = 1, b = i %}{{ a }}{{ b }}{% endwith %}{{ a }}", "17"},
    {"{% generation %}x{{ i }}{% endgeneration %}", "x7"},
    {"{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d2) = [3,4] %}{{ c }}{{ d2 }}{{ 1, "
     "2 }}",
     "1234(1, 2)"},
};

static const example tests_of_values[] = {
    {"{{ n or 'x' }}{{ 'a' and 'b' }}{{ e or 0 }}{{ undefinedthing }}{{ undefinedthing|defaul"
     "t('z') }}{{ ''|default('y', true) }}{{ n|default('k') }}{{ none is none }}",
     "xb0zyNoneTrue"},
    {"{{ i is defined }}{{ zz is defined }}{{ i is number }}{{ s is string }}{{ d is "
     "mapping }}{{ l is sequence }}{{ d is sequence }}{{ s is iterable }}{{ i is iterable "
     "}}{{ t is boolean }}{{ t is true }}{{ t is false }}{{ i is integer }}{{ f is float "
     "}}{{ t is number }}{{ t is integer }}{{ 4 is even }}{{ 4 is divisibleby 2 }}{{ "
     "i is not none }}{{ 'a' is in ['a'] }}{{ 1 is eq 1 }}{{ range is callable }}{{ s "
     "is lower }}{{ n is none }}{{ 'upper' is filter }}{{ 3 is odd }}{{ zz is undefined "
     "}}",
     "TrueFalseTrueTrueTrueTrueTrueTrueFalseTrueTrueFalseTrueTrueTrueFalseTrueTrueTrueTrueTru"
     "eTrueFalseTrueTrueTrueTrue"},
    {"{{ ms[0].content if ms[0].content is string else '' }}{{ ms[1].content is none "
     "}}{{ ms[-1]['role'] }}",
     "aTrueuser"},
    {"{{ 10 is divisibleby(3) or 'q' }}{{ not i is number }}{{ -i|abs }}{{ (-i)|abs }}{{ "
     "'a,b'.split(',')|length }}",
     "qFalse772"},
};

static const example json[] = {
    {"{{ d|tojson }}{{ d|tojson(indent=2) }}{{ d|tojson(sort_keys=true) }}{{ u|tojson(ensure_"
     "ascii=true) }}{{ d|tojson(separators=(',',':')) }}{{ [1.0, 1e100, t, n]|tojson "
     "}}{{ \"\\n\\t\\b\\f\\r\\x01\\x7f/<>'\"|tojson }}{{ '\\U0001F600\\x7f'|tojson(true) "
     "}}{{ []|tojson(indent=1) }}{{ {1: 2, true: 3, none: 4, 1.5: 5}|tojson }}{{ d|tojson(ind"
     "ent=0) }}{{ d|tojson(indent='ab') }}",
     "{\"b\": 1, \"a\": {\"x\": [1, 2]}, \"C\": null}{\n"
     "  \"b\": 1,\n"
     "  \"a\": {\n"
     "    \"x\": [\n"
     "      1,\n"
     "      2\n"
     "    ]\n"
     "  },\n"
     "  \"C\": null\n"
     "}{\"C\": null, \"a\": {\"x\": [1, 2]}, \"b\": 1}\"\\u65e5\\u672c\\u8a9e \\u00e9\"{\"b\""
     ":1,\"a\":{\"x\":[1,2]},\"C\":null}[1.0, 1e+100, true, null]\"\\n\\t\\b\\f\\r\\u0001\177"
     "/<>'\"\"\\ud83d\\ude00\\u007f\"[]{\"1\": 3, \"null\": 4, \"1.5\": 5}{\n"
     "\"b\": 1,\n"
     "\"a\": {\n"
     "\"x\": [\n"
     "1,\n"
     "2\n"
     "]\n"
     "},\n"
     "\"C\": null\n"
     "}{\n"
     "ab\"b\": 1,\n"
     "ab\"a\": {\n"
     "abab\"x\": [\n"
     "ababab1,\n"
     "ababab2\n"
     "abab]\n"
     "ab},\n"
     "ab\"C\": null\n"
     "}"},
};

static const example methods[] = {
    {"{{ w|trim }}|{{ w.strip() }}|{{ w.lstrip() }}|{{ w.rstrip() }}|{{ 'xxaxx'.strip('x') "
     "}}|{{ w.split() }}|{{ w.split(' ') }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'a,b,c'.rsplit(','"
     ", 1) }}|{{ w.split(None, 1) }}|{{ w.rsplit(None, 1) }}|{{ 'a--b'.split('--')[-1] "
     "}}|{{ lines.splitlines() }}|{{ lines.splitlines(true) }}",
     "two  words here|two  words here|two  words here |  two  words here|a|['two', 'words', "
     "'here']|['', '', 'two', '', 'words', 'here', '']|['a', 'b,c']|['a,b', 'c']|['two', "
     "'words here ']|['  two  words', 'here']|b|['a', '', ' b', 'c']|['a\\n', '\\n', "
     "' b\\r\\n', 'c\\n']"},
    {"{{ 'abc'.replace('b','x') }}{{ 'aaa'.replace('a','b',2) }}{{ 'abc'.replace('','-') "
     "}}{{ 'abc'.upper() }}{{ u.upper() }}{{ 'hello world-foo bar2x'.title() }}{{ 'hello "
     "world-foo (bar) b\\'c'|title }}{{ 'hELLO wORLD'.capitalize() }}{{ 'abc'.startswith('a')"
     " }}{{ 'abc'.startswith(('x','a')) }}{{ 'abc'.endswith('c') }}{{ 'abcb'.find('b') "
     "}}{{ u.find('é') }}{{ 'abcb'.count('b') }}{{ ', '.join(['a','b']) }}{{ '12'.isdigit() "
     "}}{{ 'ab1'.isalnum() }}{{ 'abc'.removeprefix('a') }}{{ 'abc'.removesuffix('c') "
     "}}",
     "axcbba-a-b-c-ABC日本語 ÉHello World-Foo Bar2XHello World-Foo (Bar) B'cHello worldTrueTrueT"
     "rue142a, bTrueTruebcab"},
    {"{{ '{} {} {{}}'.format(1, 'a') }}{{ '{0}{1}{0}'.format(1, 'a') }}{{ '{a}-{b}'.format(a="
     "1, b=l) }}",
     "1 a {}1a11-[3, 1, 2]"},
    {"{{ d.get('b') }}{{ d.get('zz') }}{{ d.get('zz', 4) }}{{ d.keys()|list }}{{ d.values()|l"
     "ist }}{{ d.items()|list }}{{ d|items|list }}{{ d|dictsort }}{{ d|length }}",
     "1None4['b', 'a', 'C'][1, {'x': [1, 2]}, None][('b', 1), ('a', {'x': [1, 2]}), ('C', "
     "None)][('b', 1), ('a', {'x': [1, 2]}), ('C', None)][('a', {'x': [1, 2]}), ('b', "
     "1), ('C', None)]3"},
    {"{{ 'ß'.upper() }}{{ 9223372036854775807 }}", "SS9223372036854775807"},
};

static const example filters_of_values[] = {
    {"{{ l|sort }}{{ l|sort(reverse=true) }}{{ ['b','A','c']|sort }}{{ ['b','A','c']|sort(cas"
     "e_sensitive=true) }}{{ ms|sort(attribute='role')|map(attribute='role')|list }}{{ "
     "l|min }}{{ l|max }}{{ l|sum }}{{ l|first }}{{ l|last }}{{ l|reverse|list }}{{ s|reverse"
     " }}{{ l|join('-') }}{{ ms|join(',', attribute='role') }}{{ e|first }}",
     "[1, 2, 3][3, 2, 1]['A', 'b', 'c']['A', 'b', 'c']['assistant', 'user', 'user']13632[2, "
     "1, 3] !dlröW ,olleH3-1-2user,assistant,user"},
    {"{{ ms|selectattr('role','equalto','user')|list|length }}{{ ms|rejectattr('content')|lis"
     "t }}{{ ms|selectattr('n','defined')|list }}{{ l|select('gt', 1)|list }}{{ l|reject('odd"
     "')|list }}{{ l|map('string')|list }}{{ ['a','b']|map('upper')|join }}{{ ms|map(attribut"
     "e='n', default=0)|list }}{{ [1,1,2]|unique|list }}{{ ['a','A']|unique|list }}",
     "2[{'role': 'assistant', 'content': None, 'n': 2}][{'role': 'assistant', 'content': "
     "None, 'n': 2}][3, 2][2]['3', '1', '2']AB[0, 2, 0][1, 2]['a']"},
    {"{{ '3.7'|int }}{{ '42'|int }}{{ 'x'|int }}{{ 'x'|int(9) }}{{ 3.9|int }}{{ '1.5'|float "
     "}}{{ 'x'|float }}{{ -3|abs }}{{ 2.5|round }}{{ 3.14159|round(2) }}{{ 2.1|round(0,'ceil'"
     ") }}{{ 5|float }}{{ t|int }}",
     "3420931.50.032.03.143.05.01"},
    {"{{ lines|indent }}|{{ lines|indent(2, true) }}|{{ lines|indent(2, blank=true) }}|{{ "
     "''|indent(2, first=true) }}|{{ 'a'|indent('--', true) }}|{{ 'a\\n'|indent }}|",
     "a\n"
     "\n"
     "     b\n"
     "    c\n"
     "|  a\n"
     "\n"
     "   b\n"
     "  c\n"
     "|a\n"
     "  \n"
     "   b\n"
     "  c\n"
     "  |  |--a|a\n"
     "|"},
    {"{{ \"a\"|safe + \"<b>\" }}{{ \"<a>\" + \"b\"|safe }}{{ html|e }}{{ html|escape|safe "
     "}}{{ (\"<\"|safe) ~ \"<\" }}{{ 'x'|safe|trim + '\"' }}",
     "a&lt;b&gt;&lt;a&gt;b&lt;a &amp; &#34;b&#34;&gt;&lt;a &amp; &#34;b&#34;&gt;<<x&#34;"},
    {"{{ lines|trim|replace('\\n', '|') }}{{ i|string + 'a' }}{{ w|wordcount }}{{ l|count "
     "}}",
     "a|| b\r|c7a33"},
};

static const struct tm now = {.tm_year = 126,
                              .tm_mon = 10,
                              .tm_mday = 21,
                              .tm_hour = 12,
                              .tm_min = 34,
                              .tm_sec = 56,
                              .tm_wday = 6,
                              .tm_yday = 324};

/* Parse and render; *out is appended to. */
static shoal_status render(const char *text, const json_t *values, shoal_strbuf *out)
{
    shoal_template *tpl;
    SHOAL_TRY(shoal_template_parse("made.jinja", text, strlen(text), &tpl));
    const shoal_status st = shoal_template_render(tpl, values, NULL, &now, out);
    shoal_template_close(tpl);
    return st;
}

static json_t *load_variables(void)
{
    json_t *values = json_loads(variables, 0, NULL);
    assert_non_null(values);
    return values;
}

/* ---- what templates give --------------------------------------------------------------------- */

static void check_examples(const example *examples, size_t count)
{
    json_t *values = load_variables();
    for (size_t i = 0; i < count; i++) {
        shoal_strbuf out = {0};
        if (render(examples[i].text, values, &out) != SHOAL_OK)
            fail_msg("%s\n%s", examples[i].text, shoal_error_text());
        if (out.bytes != strlen(examples[i].result) ||
            (out.bytes && memcmp(out.data, examples[i].result, out.bytes) != 0))
            fail_msg("%s\nwant: %s\ngot:  %.*s", examples[i].text, examples[i].result,
                     (int)out.bytes, out.data);
        shoal_strbuf_free(&out);
    }
    json_decref(values);
}

#define EXAMPLES_TEST(name)                                                                        \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        check_examples(name, sizeof name / sizeof *name);                                          \
    }

EXAMPLES_TEST(expressions)
EXAMPLES_TEST(white_space)
EXAMPLES_TEST(loops)
EXAMPLES_TEST(blocks)
EXAMPLES_TEST(tests_of_values)
EXAMPLES_TEST(json)
EXAMPLES_TEST(methods)
EXAMPLES_TEST(filters_of_values)

/* Variables of the second object are seen where the first has none, even a null. */
static void test_defaults(void **state)
{
    (void)state;
    shoal_template *tpl;
    shoal_strbuf out = {0};
    json_t *values = json_loads("{\"a\": 1, \"c\": null}", 0, NULL);
    json_t *defaults = json_loads("{\"a\": 2, \"b\": 3, \"c\": 4}", 0, NULL);
    const char text[] = "{{ a }} {{ b }} {{ c }}";
    assert_int_equal(shoal_template_parse("made", text, sizeof text - 1, &tpl), SHOAL_OK);
    assert_int_equal(shoal_template_render(tpl, values, defaults, &now, &out), SHOAL_OK);
    assert_int_equal(out.bytes, 8);
    assert_memory_equal(out.data, "1 3 None", 8);
    shoal_strbuf_free(&out);
    shoal_template_close(tpl);
    json_decref(values);
    json_decref(defaults);
}

/* A character U+0000 is one like others, in the template and in what it is given. */
static void test_nul(void **state)
{
    (void)state;
    static const char text[] = "\0{{ a|length }}{{ '\\0' ~ a }}";
    shoal_template *tpl;
    shoal_strbuf out = {0};
    json_t *values = json_object();
    json_object_set_new(values, "a", json_stringn("x\0y", 3));
    assert_int_equal(shoal_template_parse("made", text, sizeof text - 1, &tpl), SHOAL_OK);
    assert_int_equal(shoal_template_render(tpl, values, NULL, &now, &out), SHOAL_OK);
    assert_int_equal(out.bytes, 6);
    assert_memory_equal(out.data, "\0003\0x\0y", 6);
    shoal_strbuf_free(&out);
    shoal_template_close(tpl);
    json_decref(values);
}

/* ---- what templates are refused -------------------------------------------------------------- */

/* Each template fails, and the sentence ends with these words; every line of the template counts.
 */
static const example failures[] = {
    {"a\n{{ nothing.x }}", "line 2: 'nothing' is undefined"},
    {"{{ d.nope.x }}", "line 1: 'dict object' has no attribute 'nope'"},
    {"\n\n{{ 'a' + 1 }}", "line 3: can only concatenate str (not \"int\") to str"},
    {"{{ [] + 'a' }}", "can only concatenate list (not \"str\") to list"},
    {"{{ n + 'a' }}", "unsupported operand type(s) for +: 'NoneType' and 'str'"},
    {"{{ 1 < 'a' }}", "'<' not supported between instances of 'int' and 'str'"},
    {"{{ 'x' in n }}", "argument of type 'NoneType' is not iterable"},
    {"{% for a in 5 %}{% endfor %}", "'int' object is not iterable"},
    {"{{ nothing|tojson }}", "Object of type Undefined is not JSON serializable"},
    {"{{ l|map('string')|tojson }}", "Object of type generator is not JSON serializable"},
    {"{{ n|length }}", "object of type 'NoneType' has no len()"},
    {"{{ n|items|list }}", "Can only get item pairs from a mapping."},
    {"{{ l.append(1) }}", "'list object' has no attribute 'append'"},
    {"{{ d.update({}) }}", "'dict object' has no attribute 'update'"},
    {"{{ s.__class__.__mro__ }}", "'str object' has no attribute '__class__'"},
    {"{{ i() }}", "'int' object is not callable"},
    {"{{ 1 // 0 }}", "integer division or modulo by zero"},
    {"{{ 1 / 0 }}", "division by zero"},
    {"{{ 9223372036854775807 + 1 }}", "an integer of more than 64 bits"},
    {"{{ -9223372036854775807 - 2 }}", "an integer of more than 64 bits"},
    {"{{ 3037000500 * 3037000500 }}", "an integer of more than 64 bits"},
    {"{{ 2 ** 64 }}", "an integer of more than 64 bits"},
    {"{{ 9223372036854775808 }}", "line 1: an integer has more than 64 bits"},
    {"{{ l[::0] }}", "slice step cannot be zero"},
    {"{{ {[]: 1} }}", "unhashable type: 'list'"},
    {"{% set a, b = [1] %}", "not enough values to unpack (got 1)"},
    {"{% set a, b = [1, 2, 3] %}", "too many values to unpack (expected 2)"},
    {"{% set d.x = 1 %}", "cannot assign attribute on non-namespace object"},
    {"x\n{% if true %}{{ raise_exception('no é') }}{% endif %}", "made.jinja, line 2: no é"},
    {"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "macro 'm' takes fewer arguments"},
    {"{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", "takes no keyword argument 'b'"},
    {"{{ 'a'.replace('b') }}", "replace() misses its argument 'new'"},
    {"{{ 'a'|trim(x=1) }}", "trim() takes no argument 'x'"},
    {"{{ 'a'|trim('x', 1) }}", "trim() takes fewer than 2 arguments"},
    {"{{ 'a'|trim('x', chars='y') }}", "trim() is given an argument twice"},
    {"{{ 'a'.split('') }}", "empty separator"},
    {"{{ 'a'|nosuch }}", "not supported: the filter 'nosuch'"},
    {"{{ 1 is nosuch }}", "not supported: the test 'nosuch'"},
    {"{{ '%s' % 1 }}", "not supported: formatting with %"},
    {"{{ range(100001) }}", "a range of more than 100000 items"},
    /* found while parsing */
    {"\n{% include 'x' %}", "made.jinja, line 2: not supported: the tag 'include'"},
    {"{% for a in l recursive %}{% endfor %}", "not supported: a recursive loop, at recursive"},
    {"{{ f(*l) }}", "not supported: unpacked arguments, at *"},
    {"{% if true %}\n\n", "line 2: a block has no 'endif'"},
    {"{% endif %}", "not supported: the tag 'endif'"},
    {"{{ 1", "a tag has no end"},
    {"{{ 'a }}", "a string has no end"},
    {"\n{# a", "line 2: a comment has no end"},
    {"{% raw %}", "a raw block has no end"},
    {"{{ (1] }}", "a bracket is closed that is not open"},
    {"{{ }}", "expected an expression, at }}"},
    {"{{ a b }}", "expected '}}', at b"},
    {"{% set 1 = 2 %}", "expected the name of a variable, at 1"},
    {"{% set true = 2 %}", "a constant cannot be set, at ="},
    {"{% break %}", "break or continue outside of a loop, at %}"},
    {"{{ f(a=1, 2) }}", "a positional argument behind one with a name, at )"},
    {"{{ a ? b }}", "unexpected character ?"},
    {"{{ '\\ud800' }}", "an escape in a string is no character"},
    {"{{ '\\x1' }}", "an escape in a string has too few hexadecimal digits"},
    {"{{ '\xFF' }}", "made.jinja: a template that is not UTF-8"},
};

static void test_failures(void **state)
{
    (void)state;
    json_t *values = load_variables();
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        shoal_strbuf out = {0};
        const shoal_status st = render(failures[i].text, values, &out);
        const char *sentence = shoal_error_text(), *words = failures[i].result;
        const size_t n = strlen(sentence);
        if (st != SHOAL_ERR_DATA || n < strlen(words) ||
            strcmp(sentence + n - strlen(words), words) != 0)
            fail_msg("%s\nwant: %s\ngot:  %s", failures[i].text, words, sentence);
        assert_int_equal(out.bytes, 0);
        shoal_strbuf_free(&out);
    }
    json_decref(values);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static const example greedy[] = {
    {"{% set r = range(100000) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
     "a template may take at most 10000000 steps"},
    {"{% set ns = namespace(a='x') %}{% for a in range(100) %}{% set ns.a = ns.a + ns.a %}"
     "{% endfor %}",
     "a template may hold at most 64 MiB of values"},
    {"{% set ns = namespace(a=[1]) %}{% for a in range(100) %}{% set ns.a = ns.a + ns.a %}"
     "{% endfor %}",
     "a template may"},
    {"{% set a = 'x' * 9000000 %}{{ a }}{{ a }}", "a text of more than 16 MiB"},
    {"{{ 'x' * 9223372036854775807 }}", "a template may"},
    {"{{ ['x'] * 9223372036854775807 }}", "a template may"},
    {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested deeper than 300 levels"},
    {"{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}", "nested deeper than 300 levels"},
    {"{% set ns = namespace(a=[]) %}{% for i in range(1000) %}{% set ns.a = [ns.a] %}{% endfor %}"
     "{{ ns.a|tojson }}",
     "nested deeper than 300 levels"},
    {"{% set ns = namespace(a=[], b=[]) %}{% for i in range(1000) %}{% set ns.a = [ns.a] %}"
     "{% set ns.b = [ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
     "nested deeper than 300 levels"},
    {"{{ 'a'|indent(1001, true) }}", "an indent of more than 1000"},
};

/* 1 when the template does not fail with these words. (cmocka's own checks work only in the thread
 * of the test.) */
static int misses_limit(const char *text, const json_t *values, const char *words)
{
    shoal_strbuf out = {0};
    const shoal_status st = render(text, values, &out);
    const bool good = st == SHOAL_ERR_DATA && strstr(shoal_error_text(), words);
    if (!good)
        printf("%.200s\nwant: %s\ngot:  %s\n", text, words,
               st == SHOAL_OK ? "a text" : shoal_error_text());
    shoal_strbuf_free(&out);
    return !good;
}

/* `count` times `open`, then `middle`, then `count` times `close`. */
static char *nested(const char *open, const char *middle, const char *close, size_t count)
{
    const size_t bytes = count * (strlen(open) + strlen(close)) + strlen(middle) + 1;
    char *text = malloc(bytes), *at = text;
    if (!text)
        abort();
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, open);
    at = stpcpy(at, middle);
    for (size_t i = 0; i < count; i++)
        at = stpcpy(at, close);
    return text;
}

/* What is opened this often, and how it goes on. */
static const struct {
    const char *open, *middle, *close;
} deep[] = {
    {"(", "1", ")"},
    {"[", "1", "]"},
    {"{1:", "1", "}"},
    {"f(", "1", ")"},
    {"a[", "1", "]"},
    {"a|f(", "1", ")"},
    {"-", "1", ""},
    {"not ", "1", ""},
    {"1 if 1 else ", "1", ""},
    {"1 + ", "1", ""},
    {"1 < (", "1", ")"},
    {"{% if 1 %}", "", "{% endif %}"},
    {"{% for a in [1] %}", "", "{% endfor %}"},
    {"{% macro a() %}", "", "{% endmacro %}"},
    {"{% filter upper %}", "", "{% endfilter %}"},
};

static int misses_nesting_limit(size_t i)
{
    const bool statement = deep[i].open[0] == '{' && deep[i].open[1] == '%';
    char *inside = nested(deep[i].open, deep[i].middle, deep[i].close, 10000);
    char *text = nested(statement ? "" : "{{ ", inside, statement ? "" : " }}", 1);
    const int missed = misses_limit(text, NULL, "nested");
    free(text);
    free(inside);
    return missed;
}

/* On a stack as small as a server's threads may have. */
static void *stay_within_limits(void *missed)
{
    for (size_t i = 0; i < sizeof greedy / sizeof *greedy; i++)
        *(int *)missed += misses_limit(greedy[i].text, NULL, greedy[i].result);
    for (size_t i = 0; i < sizeof deep / sizeof *deep; i++)
        *(int *)missed += misses_nesting_limit(i);
    return NULL;
}

static void test_limits(void **state)
{
    (void)state;
    pthread_attr_t small;
    pthread_t thread;
    int missed = 0;
    assert_int_equal(pthread_attr_init(&small), 0);
    assert_int_equal(pthread_attr_setstacksize(&small, STACK_BYTES), 0);
    assert_int_equal(pthread_create(&thread, &small, stay_within_limits, &missed), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)pthread_attr_destroy(&small);
    assert_int_equal(missed, 0);
}

/* JSON nested deeper than values may be, and a template of more than a MiB. */
static void test_input_limits(void **state)
{
    (void)state;
    char *lists = nested("[", "", "]", 1000);
    json_t *values = json_pack("{s:o}", "a", json_loads(lists, 0, NULL));
    assert_int_equal(misses_limit("{{ a }}", values, "nested deeper than 300 levels"), 0);
    json_decref(values);
    free(lists);
    char *large = nested("x", "", "", (1u << 20) + 1);
    assert_int_equal(misses_limit(large, NULL, "a template of 1048577 bytes; at most 1048576"), 0);
    free(large);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Whichever allocation fails, it is reported and nothing is left behind. */
static void test_no_memory(void **state)
{
    (void)state;
    static const char text[] = "{% macro m(a) %}{{ a|upper }}{% endmacro %}"
                               "{% for m2 in ms %}{{ m(m2.role) ~ d|tojson }}{% endfor %}";
    const uint64_t before = shoal_mem_live(SHOAL_MEM_TEXT);
    json_t *values = load_variables();
    shoal_status st = SHOAL_ERR_TEMPORARY;
    for (uint64_t n = 1; st != SHOAL_OK; n++) {
        shoal_strbuf out = {0};
        shoal_mem_fail_nth(n);
        st = render(text, values, &out);
        shoal_mem_fail_nth(0);
        assert_true(st == SHOAL_OK || st == SHOAL_ERR_TEMPORARY);
        shoal_strbuf_free(&out);
        assert_int_equal(shoal_mem_live(SHOAL_MEM_TEXT), before);
        assert_true(n < 100);
    }
    json_decref(values);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_expressions),     cmocka_unit_test(test_white_space),
        cmocka_unit_test(test_loops),           cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_tests_of_values), cmocka_unit_test(test_json),
        cmocka_unit_test(test_methods),         cmocka_unit_test(test_filters_of_values),
        cmocka_unit_test(test_defaults),        cmocka_unit_test(test_nul),
        cmocka_unit_test(test_failures),        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_input_limits),    cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
