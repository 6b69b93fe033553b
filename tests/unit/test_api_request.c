/* Requests: every field at and beyond its bounds, messages and prompts in
 * all forms, and the golden requests with their errors. */
#include "tests/unit/api_request_case.h"

/* ---- fields ---- */

enum { C = 1, P = 2, CP = 3 }; /* chat, completions (prompt), both */

static const struct {
    int kinds;
    const char *fields, *param, *code;
} beyond[] = {
    {CP, "'temperature':-0.01", "temperature", "invalid_value"},
    {CP, "'temperature':2.001", "temperature", "invalid_value"},
    {CP, "'temperature':1e300", "temperature", "invalid_value"},
    {CP, "'temperature':'hot'", "temperature", "invalid_type"},
    {CP, "'temperature':[1]", "temperature", "invalid_type"},
    {CP, "'temperature':true", "temperature", "invalid_type"},
    {CP, "'top_p':0", "top_p", "invalid_value"},
    {CP, "'top_p':1e-300", "top_p", "invalid_value"},
    {CP, "'top_p':-1", "top_p", "invalid_value"},
    {CP, "'top_p':1.0001", "top_p", "invalid_value"},
    {CP, "'top_p':'1'", "top_p", "invalid_type"},
    {CP, "'min_p':-0.1", "min_p", "invalid_value"},
    {CP, "'min_p':1.1", "min_p", "invalid_value"},
    {CP, "'min_p':{}", "min_p", "invalid_type"},
    {CP, "'presence_penalty':2.1", "presence_penalty", "invalid_value"},
    {CP, "'presence_penalty':-9", "presence_penalty", "invalid_value"},
    {CP, "'presence_penalty':'0'", "presence_penalty", "invalid_type"},
    {CP, "'frequency_penalty':-2.1", "frequency_penalty", "invalid_value"},
    {CP, "'frequency_penalty':3", "frequency_penalty", "invalid_value"},
    {CP, "'frequency_penalty':[]", "frequency_penalty", "invalid_type"},
    {CP, "'repetition_penalty':0", "repetition_penalty", "invalid_value"},
    {CP, "'repetition_penalty':1e-60", "repetition_penalty", "invalid_value"},
    {CP, "'repetition_penalty':100.5", "repetition_penalty", "invalid_value"},
    {CP, "'repetition_penalty':false", "repetition_penalty", "invalid_type"},
    {CP, "'top_k':-2", "top_k", "invalid_value"},
    {CP, "'top_k':2049", "top_k", "invalid_value"},
    {CP, "'top_k':9223372036854775807", "top_k", "invalid_value"},
    {CP, "'top_k':1.0", "top_k", "invalid_type"},
    {CP, "'seed':1.5", "seed", "invalid_type"},
    {CP, "'seed':'7'", "seed", "invalid_type"},
    {CP, "'n':0", "n", "invalid_value"},
    {CP, "'n':-1", "n", "invalid_value"},
    {CP, "'n':17", "n", "invalid_value"},
    {CP, "'n':'2'", "n", "invalid_type"},
    {CP, "'n':2.0", "n", "invalid_type"},
    {P, "'best_of':0", "best_of", "invalid_value"},
    {P, "'best_of':17", "best_of", "invalid_value"},
    {P, "'n':3,'best_of':2", "best_of", "invalid_value"},
    {P, "'best_of':2,'stream':true", "best_of", "invalid_value"},
    {P, "'best_of':'2'", "best_of", "invalid_type"},
    {CP, "'max_tokens':0", "max_tokens", "invalid_value"},
    {CP, "'max_tokens':-5", "max_tokens", "invalid_value"},
    {CP, "'max_tokens':1.5", "max_tokens", "invalid_type"},
    {CP, "'max_tokens':'9'", "max_tokens", "invalid_type"},
    {P, "'max_tokens':-1,'echo':true", "max_tokens", "invalid_value"},
    {C, "'max_completion_tokens':0", "max_completion_tokens", "invalid_value"},
    {C, "'max_completion_tokens':{}", "max_completion_tokens", "invalid_type"},
    {CP, "'min_tokens':-1", "min_tokens", "invalid_value"},
    {CP, "'max_tokens':4,'min_tokens':5", "min_tokens", "invalid_value"},
    {P, "'min_tokens':17", "min_tokens", "invalid_value"},
    {CP, "'priority':2147483648", "priority", "invalid_value"},
    {CP, "'priority':'high'", "priority", "invalid_type"},
    {CP, "'ignore_eos':1", "ignore_eos", "invalid_type"},
    {CP, "'stream':'yes'", "stream", "invalid_type"},
    {CP, "'stream_options':{}", "stream_options", "invalid_value"},
    {CP, "'stream':false,'stream_options':{'include_usage':true}", "stream_options",
     "invalid_value"},
    {CP, "'stream':true,'stream_options':true", "stream_options", "invalid_type"},
    {CP, "'stream':true,'stream_options':{'include_usage':1}", "stream_options.include_usage",
     "invalid_type"},
    {CP, "'stop':''", "stop", "invalid_value"},
    {CP, "'stop':['a','']", "stop[1]", "invalid_value"},
    {CP, "'stop':['a',null]", "stop[1]", "invalid_type"},
    {CP, "'stop':7", "stop", "invalid_type"},
    {CP, "'stop':[['a']]", "stop[0]", "invalid_type"},
    {CP, "'stop':['0','1','2','3','4','5','6','7','8','9','a','b','c','d','e','f','g']", "stop",
     "invalid_value"},
    {CP, "'stop_token_ids':[2048]", "stop_token_ids", "invalid_value"},
    {CP, "'stop_token_ids':[-1]", "stop_token_ids", "invalid_value"},
    {CP, "'stop_token_ids':['1']", "stop_token_ids", "invalid_type"},
    {CP, "'stop_token_ids':3", "stop_token_ids", "invalid_type"},
    {CP, "'logit_bias':{'-1':1}", "logit_bias", "invalid_value"},
    {CP, "'logit_bias':{'2048':1}", "logit_bias", "invalid_value"},
    {CP, "'logit_bias':{'99999999999999999999':1}", "logit_bias", "invalid_value"},
    {CP, "'logit_bias':{'x':1}", "logit_bias", "invalid_value"},
    {CP, "'logit_bias':{'':1}", "logit_bias", "invalid_value"},
    {CP, "'logit_bias':{'01':1}", "logit_bias", "invalid_value"},
    {CP, "'logit_bias':{'1':101}", "logit_bias", "invalid_value"},
    {CP, "'logit_bias':{'1':-1e300}", "logit_bias", "invalid_value"},
    {CP, "'logit_bias':{'1':'5'}", "logit_bias", "invalid_type"},
    {CP, "'logit_bias':{'1':null}", "logit_bias", "invalid_type"},
    {CP, "'logit_bias':[1]", "logit_bias", "invalid_type"},
    {C, "'top_logprobs':2", "top_logprobs", "invalid_value"},
    {C, "'logprobs':false,'top_logprobs':0", "top_logprobs", "invalid_value"},
    {C, "'logprobs':true,'top_logprobs':21", "top_logprobs", "invalid_value"},
    {C, "'logprobs':true,'top_logprobs':-1", "top_logprobs", "invalid_value"},
    {C, "'logprobs':true,'top_logprobs':1.5", "top_logprobs", "invalid_type"},
    {C, "'logprobs':3", "logprobs", "invalid_type"},
    {P, "'logprobs':21", "logprobs", "invalid_value"},
    {P, "'logprobs':-1", "logprobs", "invalid_value"},
    {P, "'logprobs':true", "logprobs", "invalid_type"},
    {P, "'logprobs':0,'echo':true", "logprobs", "unsupported"},
    {P, "'echo':'yes'", "echo", "invalid_type"},
    {P, "'suffix':''", "suffix", "unsupported"},
    {CP, "'user':7", "user", "invalid_type"},
    {CP, "'response_format':'text'", "response_format", "invalid_type"},
    {CP, "'response_format':{}", "response_format.type", "missing_required_parameter"},
    {CP, "'response_format':{'type':'poem'}", "response_format.type", "invalid_value"},
    {CP, "'response_format':{'type':'json_schema'}", "response_format.json_schema",
     "missing_required_parameter"},
    {CP, "'response_format':{'type':'json_schema','json_schema':{'name':'x'}}",
     "response_format.json_schema.schema", "missing_required_parameter"},
    {CP, "'guided_grammar':'a'", "guided_grammar", "unsupported"},
    {CP, "'use_beam_search':true", "use_beam_search", "unsupported"},
    {CP, "'skip_special_tokens':false", "skip_special_tokens", "unsupported"},
    {CP, "'skip_special_tokens':0", "skip_special_tokens", "invalid_type"},
    {C, "'chat_template':'x'", "chat_template", "unsupported"},
    {C, "'continue_final_message':true", "continue_final_message", "unsupported"},
    {C, "'add_generation_prompt':1", "add_generation_prompt", "invalid_type"},
    {C, "'reasoning_effort':1", "reasoning_effort", "invalid_type"},
    {C, "'include_reasoning':false", "include_reasoning", "unsupported"},
    {C, "'chat_template_kwargs':[]", "chat_template_kwargs", "invalid_type"},
    {C, "'chat_template_kwargs':{'messages':[]}", "chat_template_kwargs", "invalid_value"},
    {C, "'tools':{}", "tools", "invalid_type"},
    {C, "'tools':[7]", "tools[0].function", "missing_required_parameter"},
    {C, "'tools':[{'type':'function','function':{'parameters':{}}}]", "tools[0].function.name",
     "missing_required_parameter"},
    {C, "'tools':[{'function':{'name':''}}]", "tools[0].function.name", "invalid_value"},
    {C, "'tools':[{'type':'web_search'}]", "tools[0].type", "unsupported"},
    {C, "'tools':[{'type':1,'function':{'name':'f'}}]", "tools[0].type", "invalid_type"},
    {C, "'tools':[{'function':{'name':'f','parameters':{'type':'string'}}}]",
     "tools[0].function.parameters", "invalid_value"},
    {C, "'tools':[{'function':{'name':'f','parameters':7}}]", "tools[0].function.parameters",
     "invalid_type"},
    {C, "'parallel_tool_calls':1", "parallel_tool_calls", "invalid_type"},
    {C, "'tools':[{'function':{'name':'f'}}],'tool_choice':{}", "tool_choice.function",
     "missing_required_parameter"},
    {C, "'tools':[{'function':{'name':'f'}}],'tool_choice':{'function':{'name':'g'}}",
     "tool_choice", "invalid_value"},
    {C, "'tool_choice':'sometimes'", "tool_choice", "invalid_value"},
    {C, "'tool_choice':7", "tool_choice", "invalid_type"},
    {C, "'tool_choice':'required'", "tool_choice", "invalid_value"},
    {C, "'functions':[]", "functions", "unsupported"},
};

static void test_bounds_beyond(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        if (beyond[i].kinds & C)
            refuse_field(true, beyond[i].fields, beyond[i].param, beyond[i].code);
        if (beyond[i].kinds & P)
            refuse_field(false, beyond[i].fields, beyond[i].param, beyond[i].code);
    }
}

/* Lists and texts that are too long to be written into a table. */
static void test_too_many(void **state)
{
    static const struct {
        const char *before, *each, *after, *param;
        int most;
    } cases[] = {
        {"'stop_token_ids':[", "1", "]", "stop_token_ids", SHOAL_API_STOP_IDS_MAX},
        {"'stop':[", "'a'", "]", "stop", SHOAL_API_STOPS_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int over = 0; over <= 1; over++) {
            char fields[2048];
            int at = snprintf(fields, sizeof fields, "%s", cases[i].before);
            for (int k = 0; k < cases[i].most + over; k++)
                at += snprintf(fields + at, sizeof fields - (size_t)at, "%s%s", k ? "," : "",
                               cases[i].each);
            snprintf(fields + at, sizeof fields - (size_t)at, "%s", cases[i].after);
            if (over) {
                refuse_field(true, fields, cases[i].param, "invalid_value");
                continue;
            }
            shoal_api_request r = accept_field(true, fields);
            assert_int_equal(r.stop_count + r.stop_id_count, cases[i].most);
            shoal_api_request_free(&r);
        }
    char stop[512];
    memset(stop, 'x', sizeof stop);
    memcpy(stop, "'stop':'", 8);
    memcpy(stop + 8 + SHOAL_API_STOP_BYTES_MAX, "'", 2);
    shoal_api_request r = accept_field(false, stop);
    assert_int_equal(r.stops[0].bytes, SHOAL_API_STOP_BYTES_MAX);
    shoal_api_request_free(&r);
    memcpy(stop + 8 + SHOAL_API_STOP_BYTES_MAX, "x'", 3);
    refuse_field(false, stop, "stop", "invalid_value");
}

static void test_many_biases(void **state)
{
    const shoal_api_context c = context();
    (void)state;
    for (int count = SHOAL_API_BIASES_MAX; count <= SHOAL_API_BIASES_MAX + 1; count++) {
        char text[32768];
        int at = snprintf(text, sizeof text, "%s'logit_bias':{", COMPLETION);
        for (int k = 0; k < count; k++)
            at += snprintf(text + at, sizeof text - (size_t)at, "%s'%d':%d", k ? "," : "", k,
                           k % 100);
        snprintf(text + at, sizeof text - (size_t)at, "}}");
        if (count > SHOAL_API_BIASES_MAX) {
            refuse_by(&c, false, text, 400, "logit_bias", "invalid_value");
            continue;
        }
        shoal_api_request r = accept_by(&c, false, text);
        assert_int_equal(r.bias_count, count);
        for (int k = 0; k < count; k++)
            assert_true(r.biases[k].id == k && r.biases[k].bias == (float)(k % 100));
        shoal_api_request_free(&r);
    }
}

static void test_defaults(void **state)
{
    (void)state;
    /* null means absent, for all of them */
    static const char nulls[] =
        "'model':null,'temperature':null,'top_p':null,'top_k':null,'min_p':null,'n':null,"
        "'best_of':null,'stream':null,'stream_options':null,'stop':null,'seed':null,"
        "'logprobs':null,'top_logprobs':null,'presence_penalty':null,'frequency_penalty':null,"
        "'logit_bias':null,'repetition_penalty':null,'ignore_eos':null,'min_tokens':null,"
        "'stop_token_ids':null,'priority':null,'echo':null,'suffix':null,'user':null,"
        "'max_tokens':null,'max_completion_tokens':null,'tools':null,'tool_choice':null,"
        "'response_format':null,'guided_json':null,'chat_template':null,"
        "'chat_template_kwargs':null,'add_generation_prompt':null,'continue_final_message':null";
    for (int chat = 0; chat <= 1; chat++)
        for (int given = 0; given <= 1; given++) {
            shoal_api_request r = accept_field(chat, given ? nulls : "'user':'somebody'");
            const shoal_sampling want = {
                .temperature = 1, .top_p = 1, .repetition_penalty = 1, .logprobs = -1};
            assert_memory_equal(&r.sampling, &want, sizeof want);
            assert_true(r.chat == (bool)chat && !r.stream && !r.include_usage && !r.echo);
            assert_true(!r.ignore_eos && !r.seed_given && !r.logprobs && r.top_logprobs == 0);
            assert_true(r.n == 1 && r.best_of == 1 && r.bias_count == 0 && r.priority == 0);
            assert_true(r.stop_count == 0 && r.stop_id_count == 0 && r.min_tokens == 0);
            assert_int_equal(r.prompt_count, 1);
            assert_int_equal(r.max_tokens, chat ? CONTEXT - (int64_t)r.prompts[0].ids.count : 16);
            shoal_api_request_free(&r);
        }
}

static void test_bounds_within(void **state)
{
    (void)state;
    shoal_api_request r = accept_field(
        false, "'temperature':2,'top_p':1e-30,'min_p':1,'presence_penalty':-2,"
               "'frequency_penalty':2.0,'repetition_penalty':100,'top_k':2048,"
               "'seed':-9223372036854775808,'n':2,'best_of':16,'logprobs':20,'ignore_eos':true,"
               "'max_tokens':9223372036854775807,'min_tokens':50,'priority':-2147483648,"
               "'stop':'\\u0000x','stop_token_ids':[0,2047],'logit_bias':{'0':-100,'2047':100.0},"
               "'skip_special_tokens':true,'use_beam_search':false,"
               "'response_format':{'type':'text'}");
    const shoal_sampling want = {.temperature = 2,
                                 .top_p = 1e-30f,
                                 .min_p = 1,
                                 .repetition_penalty = 100,
                                 .frequency_penalty = 2,
                                 .presence_penalty = -2,
                                 .top_k = 2048,
                                 .seed = (uint64_t)INT64_MIN,
                                 .logprobs = 20};
    assert_memory_equal(&r.sampling, &want, sizeof want);
    assert_true(r.seed_given && r.n == 2 && r.best_of == 16 && r.logprobs && r.top_logprobs == 20);
    assert_int_equal(r.max_tokens, CONTEXT - (int64_t)r.prompts[0].ids.count);
    assert_true(r.ignore_eos && r.min_tokens == 50 && r.priority == INT32_MIN);
    assert_int_equal(r.stop_count, 1);
    assert_int_equal(r.stops[0].bytes, 2);
    assert_memory_equal(r.stops[0].data, "\0x", 2);
    assert_true(r.stop_id_count == 2 && r.stop_ids[0] == 0 && r.stop_ids[1] == 2047);
    assert_int_equal(r.bias_count, 2);
    for (int i = 0; i < 2; i++)
        assert_true(r.biases[i].bias == (r.biases[i].id == 0 ? -100.0f : 100.0f));
    shoal_api_request_free(&r);

    r = accept_field(false, "'top_k':-1,'n':2,'best_of':3,'max_tokens':0,'echo':true");
    assert_true(r.sampling.top_k == 0 && r.max_tokens == 0 && r.echo);
    assert_true(!r.logprobs && r.sampling.logprobs == 0); /* for choosing the best */
    shoal_api_request_free(&r);

    r = accept_field(true, "'stream':true,'stream_options':{'include_usage':true},'logprobs':true,"
                           "'max_tokens':9,'max_completion_tokens':3,'seed':5,'stop':[]");
    assert_true(r.stream && r.include_usage && r.logprobs && r.sampling.logprobs == 0);
    assert_true(r.max_tokens == 3 && r.seed_given && r.sampling.seed == 5 && r.stop_count == 0);
    shoal_api_request_free(&r);
}

/* ---- chat ---- */

static void test_chat_text(void **state)
{
    (void)state;
    static const struct {
        const char *body, *text;
    } cases[] = {
        {"{'messages':[{'role':'system','content':'Be brief.'},{'role':'user','content':'Hi'},"
         "{'role':'assistant','content':''},{'role':'user','content':'caf\\u00e9 "
         "\\ud83e\\udd99'}]}",
         "<|begin|><|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\n<|end|>\n"
         "<|user|>\ncaf\xC3\xA9 \xF0\x9F\xA6\x99<|end|>\n<|assistant|>\n"},
        {"{'messages':[{'role':'user','content':'Hi'}],'add_generation_prompt':false}",
         "<|begin|><|user|>\nHi<|end|>\n"},
        {"{'messages':[{'role':'user','content':[{'type':'text','text':'Name a'},"
         "{'type':'text','text':' river.'}]}]}",
         "<|begin|><|user|>\nName a river.<|end|>\n<|assistant|>\n"},
        {"{'messages':[{'role':'user','content':[]}]}",
         "<|begin|><|user|>\n<|end|>\n<|assistant|>\n"},
    };
    const shoal_api_context c = context();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        shoal_api_request r = accept_by(&c, true, cases[i].body);
        expect_text(&r.prompts[0].ids, cases[i].text);
        assert_int_equal(r.prompts[0].ids.data[0], 0);     /* the template's own <|begin|>, */
        assert_int_not_equal(r.prompts[0].ids.data[1], 0); /*   and no second one            */
        assert_int_equal(r.prompts[0].text.bytes, 0);
        shoal_api_request_free(&r);
    }
}

static void test_chat_refused(void **state)
{
    static const struct {
        const char *messages, *param, *code;
    } cases[] = {
        {"null", "messages", "missing_required_parameter"},
        {"'hello'", "messages", "invalid_type"},
        {"[]", "messages", "invalid_value"},
        {"['x']", "messages[0]", "invalid_type"},
        {"[{'content':'x'}]", "messages[0].role", "missing_required_parameter"},
        {"[{'role':7,'content':'x'}]", "messages[0].role", "invalid_type"},
        {"[{'role':'narrator','content':'x'}]", "messages[0].role", "invalid_value"},
        {"[{'role':'user','content':'x'},{'role':'user'}]", "messages[1].content",
         "missing_required_parameter"},
        {"[{'role':'user','content':null}]", "messages[0].content", "missing_required_parameter"},
        {"[{'role':'assistant','content':null}]", "messages[0].content",
         "missing_required_parameter"},
        {"[{'role':'assistant','tool_calls':[]}]", "messages[0].content",
         "missing_required_parameter"},
        {"[{'role':'user','content':{'text':'x'}}]", "messages[0].content", "invalid_type"},
        {"[{'role':'user','content':['x']}]", "messages[0].content[0]", "invalid_type"},
        {"[{'role':'user','content':[{'type':'text'}]}]", "messages[0].content[0]", "invalid_type"},
        {"[{'role':'user','content':[{'type':'image_url','image_url':{'url':'x'}}]}]",
         "messages[0].content[0]", "unsupported"},
        {"[{'role':'assistant','tool_calls':[{}]}]", "messages[0].tool_calls[0].function",
         "missing_required_parameter"},
        {"[{'role':'assistant','tool_calls':[{'function':{'arguments':'{}'}}]}]",
         "messages[0].tool_calls[0].function.name", "missing_required_parameter"},
        {"[{'role':'assistant','tool_calls':[{'function':{'name':'f','arguments':'{'}}]}]",
         "messages[0].tool_calls[0].function.arguments", "invalid_value"},
        {"[{'role':'developer','content':'x'}]", "messages", "chat_template_error"},
    };
    const shoal_api_context c = context();
    char body[512];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(body, sizeof body, "{'messages':%s}", cases[i].messages);
        refuse_by(&c, true, body, 400, cases[i].param, cases[i].code);
    }
    refuse_by(&c, true, "{}", 400, "messages", "missing_required_parameter");
    refuse_by(&c, true, CHAT "'modalities':['text','audio']}", 422, "modalities", "unsupported");
    shoal_api_context bare = c;
    bare.chat = NULL;
    refuse_by(&bare, true, CHAT "'n':1}", 400, "messages", "unsupported");
}

static void test_too_many_messages(void **state)
{
    const size_t room = (SHOAL_API_MESSAGES_MAX + 1) * 32 + 64;
    shoal_api_context c = context();
    char *text = malloc(room);
    (void)state;
    c.context = 1 << 20;
    assert_non_null(text);
    for (int count = SHOAL_API_MESSAGES_MAX; count <= SHOAL_API_MESSAGES_MAX + 1; count++) {
        int at = snprintf(text, room, "{'messages':[");
        for (int i = 0; i < count; i++)
            at += snprintf(text + at, room - (size_t)at, "%s{'role':'user','content':''}",
                           i ? "," : "");
        snprintf(text + at, room - (size_t)at, "]}");
        if (count > SHOAL_API_MESSAGES_MAX) {
            refuse_by(&c, true, text, 400, "messages", "invalid_value");
            continue;
        }
        shoal_api_request r = accept_by(&c, true, text);
        shoal_api_request_free(&r);
    }
    free(text);
}

/* The template sees messages as sent, with arguments opened; and tools and variables. */
static void test_chat_variables(void **state)
{
    static const char body[] =
        "{'messages':[{'role':'user','content':[{'type':'text','text':'a'}],'name':'Eve'},"
        "{'role':'assistant','content':null,'tool_calls':[{'id':'c1','type':'function','function':"
        "{'name':'f','arguments':'{\\\"on\\\": [true, 1.5]}'}},"
        "{'function':{'name':'g','arguments':''}}]},"
        "{'role':'tool','tool_call_id':'c1','content':'done'}],"
        "'tools':[{'type':'function','function':{'name':'f'}}],'tool_choice':'none',"
        "'chat_template_kwargs':{'mood':{'good':true}}}";
    static const char seen[] =
        "[[{'role':'user','content':'a','name':'Eve'},"
        "{'role':'assistant','content':null,'tool_calls':[{'id':'c1','type':'function','function':"
        "{'name':'f','arguments':{'on':[true,1.5]}}},{'function':{'name':'g','arguments':{}}}]},"
        "{'role':'tool','tool_call_id':'c1','content':'done'}],"
        "[{'type':'function','function':{'name':'f'}}],null,true,{'good':true}]";
    shoal_api_context c = context();
    shoal_strbuf text = {0};
    (void)state;
    c.chat = show;
    c.context = 4096;
    shoal_api_request r = accept_by(&c, true, body);
    assert_int_equal(shoal_tokenizer_decode(tokenizer, r.prompts[0].ids.data,
                                            r.prompts[0].ids.count, false, &text),
                     SHOAL_OK);
    char *wanted = api_body(seen);
    json_t *got = json_loadb(text.data, text.bytes, 0, NULL), *want = json_loads(wanted, 0, NULL);
    assert_non_null(got);
    assert_non_null(want);
    assert_true(json_equal(got, want));
    json_decref(want);
    json_decref(got);
    free(wanted);
    shoal_strbuf_free(&text);
    shoal_api_request_free(&r);
}

/* An answer that has a form is content, whatever it looks like. */
static void test_form_beside_tools(void **state)
{
    shoal_api_context c = context();
    (void)state;
    c.context = 4096;
#define CHAT_WITH(more)                                                                            \
    accept_by(&c, true,                                                                            \
              "{'messages':[{'role':'user','content':'Hi'}],'tools':[{'type':'function',"          \
              "'function':{'name':'f'}}]" more "}")
    shoal_api_request r = CHAT_WITH("");
    assert_non_null(r.speech.calls);
    assert_null(r.masks);
    shoal_api_request_free(&r);
    r = CHAT_WITH(",'guided_choice':['a']");
    assert_null(r.speech.calls);
    assert_non_null(r.masks);
    shoal_api_request_free(&r);
#undef CHAT_WITH
}

/* ---- prompts ---- */

static void test_prompt_forms(void **state)
{
    const shoal_api_context c = context();
    (void)state;
    shoal_api_request r = accept_by(&c, false, "{'prompt':'Hi \\u0000'}");
    assert_int_equal(r.prompt_count, 1);
    assert_int_equal(r.prompts[0].ids.data[0], 0); /* <|begin|> is added */
    assert_int_equal(r.prompts[0].text.bytes, 4);
    assert_memory_equal(r.prompts[0].text.data, "Hi \0", 4);
    shoal_api_request_free(&r);

    r = accept_by(&c, false, "{'prompt':['One','Two three'],'n':2}");
    assert_int_equal(r.prompt_count, 2);
    expect_text(&r.prompts[1].ids, "<|begin|>Two three");
    assert_int_equal(r.prompts[1].text.bytes, 9);
    shoal_api_request_free(&r);

    r = accept_by(&c, false, "{'prompt':[40,2047,41]}");
    assert_true(r.prompt_count == 1 && r.prompts[0].ids.count == 3);
    assert_true(r.prompts[0].ids.data[0] == 40 && r.prompts[0].ids.data[1] == 2047);
    shoal_api_request_free(&r);

    r = accept_by(&c, false, "{'prompt':[[40],[41,42]]}");
    assert_true(r.prompt_count == 2 && r.prompts[0].ids.count == 1);
    assert_true(r.prompts[1].ids.count == 2 && r.prompts[1].ids.data[1] == 42);
    assert_int_equal(r.prompts[1].text.bytes, 2); /* the text of two letters, for echo */
    shoal_api_request_free(&r);
}

static void test_prompt_refused(void **state)
{
    static const struct {
        const char *prompt, *param, *code;
    } cases[] = {
        {"null", "prompt", "missing_required_parameter"},
        {"''", "prompt", "invalid_value"},
        {"[]", "prompt", "invalid_value"},
        {"['a','']", "prompt[1]", "invalid_value"},
        {"[[]]", "prompt[0]", "invalid_value"},
        {"[[1],[]]", "prompt[1]", "invalid_value"},
        {"7", "prompt", "invalid_type"},
        {"{'a':1}", "prompt", "invalid_type"},
        {"[1,'a']", "prompt", "invalid_type"},
        {"['a',1]", "prompt[1]", "invalid_type"},
        {"[[1],'a',null]", "prompt[2]", "invalid_type"},
        {"[[[1]]]", "prompt[0]", "invalid_type"},
        {"[1.5]", "prompt", "invalid_type"},
        {"[1,-1]", "prompt", "invalid_value"},
        {"[2048]", "prompt", "invalid_value"},
        {"[9223372036854775807]", "prompt", "invalid_value"},
        {"[[1],[4294967297]]", "prompt[1]", "invalid_value"},
    };
    const shoal_api_context c = context();
    char body[128];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(body, sizeof body, "{'prompt':%s}", cases[i].prompt);
        refuse_by(&c, false, body, 400, cases[i].param, cases[i].code);
    }
    refuse_by(&c, false, "{}", 400, "prompt", "missing_required_parameter");
    shoal_api_context bare = c;
    bare.tokenizer = NULL;
    refuse_by(&bare, false, "{'prompt':'a'}", 400, "prompt", "unsupported");
    refuse_by(&bare, false, "{'prompt':[1],'stop':'a'}", 400, "stop", "unsupported");
    shoal_api_request r = accept_by(&bare, false, "{'prompt':[1],'echo':true}");
    assert_true(r.prompts[0].ids.count == 1 && r.prompts[0].text.bytes == 0);
    shoal_api_request_free(&r);
}

/* `count` times ",1" after "1", between `before` and `after`. */
static char *ones(const char *before, int count, const char *after)
{
    const size_t room = strlen(before) + strlen(after) + 2 * (size_t)count + 1;
    char *text = malloc(room);
    assert_non_null(text);
    size_t at = (size_t)snprintf(text, room, "%s", before);
    for (int i = 0; i < count; i++, at += 2)
        memcpy(text + at, "1,", 2);
    snprintf(text + at - 1, room - at + 1, "%s", after);
    return text;
}

/* They are not turned into text before they are refused: room for the ids is all that is taken. */
static void test_far_too_many_ids(void **state)
{
    const shoal_api_context c = context();
    const size_t count = 1u << 20;
    char *body = malloc(4 * count + 32);
    (void)state;
    assert_non_null(body);
    size_t at = (size_t)sprintf(body, "{'prompt':[40");
    for (size_t i = 1; i < count; i++, at += 3)
        memcpy(body + at, ",40", 3);
    memcpy(body + at, "]}", 3);
    refuse_by(&c, false, body, 400, "prompt", "context_length_exceeded");
    assert_true(shoal_mem_peak(SHOAL_MEM_TEXT) < shoal_mem_live(SHOAL_MEM_TEXT) + 9 * count / 2);
    free(body);
}

static void test_context(void **state)
{
    const shoal_api_context c = context();
    (void)state;
    for (int count = CONTEXT - 2; count <= CONTEXT + 1; count++) {
        char *body = ones("{'max_tokens':9,'min_tokens':9,'prompt':[", count, "]}");
        if (count < CONTEXT) {
            shoal_api_request r = accept_by(&c, false, body);
            assert_int_equal(r.max_tokens, CONTEXT - count);
            assert_int_equal(r.min_tokens, CONTEXT - count);
            shoal_api_request_free(&r);
        } else {
            refuse_by(&c, false, body, 400, "prompt", "context_length_exceeded");
        }
        free(body);
    }
    /* the longest prompt decides */
    char *body = ones("{'max_tokens':99,'prompt':[[1],[", CONTEXT - 5, "],[1,1]]}");
    shoal_api_request r = accept_by(&c, false, body);
    assert_int_equal(r.max_tokens, 5);
    shoal_api_request_free(&r);
    free(body);
}

static void test_too_many_prompts(void **state)
{
    const shoal_api_context c = context();
    (void)state;
    char *body = ones("{'prompt':[", 1000000, "]}");
    refuse_by(&c, false, body, 400, "prompt", "context_length_exceeded");
    free(body);
    for (int prompts = SHOAL_API_PROMPTS_MAX - 1; prompts <= SHOAL_API_PROMPTS_MAX + 1; prompts++)
        for (int n = 4; n <= 5; n++) {
            char text[2048];
            int at = snprintf(text, sizeof text, "{'n':%d,'prompt':[", n);
            for (int i = 0; i < prompts; i++)
                at += snprintf(text + at, sizeof text - (size_t)at, "%s[1]", i ? "," : "");
            snprintf(text + at, sizeof text - (size_t)at, "]}");
            if (prompts > SHOAL_API_PROMPTS_MAX || prompts * n > SHOAL_API_SEQUENCES_MAX) {
                refuse_by(&c, false, text, 400, "prompt", "invalid_value");
                continue;
            }
            shoal_api_request r = accept_by(&c, false, text);
            assert_int_equal(r.prompt_count, prompts);
            shoal_api_request_free(&r);
        }
}

/* A tokenizer may know more ids than the model has logits. */
static void test_ids_of_text_within_logits(void **state)
{
    shoal_api_context c = context();
    (void)state;
    c.vocab = 8;
    refuse_by(&c, false, "{'prompt':'Hi'}", 400, "prompt", "invalid_value");
    refuse_by(&c, true, CHAT "'n':1}", 400, "messages", "invalid_value");
}

/* ---- memory ---- */

/* Every allocation fails once: the answer is 503, and nothing is left behind. */
static void test_no_memory(void **state)
{
    static const char fields[] = "'stop':['a','b'],'logit_bias':{'1':1},'stop_token_ids':[1]}";
    const shoal_api_context c = context();
    (void)state;
    for (int chat = 0; chat <= 1; chat++) {
        char text[256];
        shoal_api_request r;
        shoal_api_error error;
        uint64_t n = 1;
        snprintf(text, sizeof text, "%s%s", chat ? CHAT : COMPLETION, fields);
        char *body = api_body(text);
        for (;; n++) {
            const uint64_t before = shoal_mem_live(SHOAL_MEM_TEXT);
            shoal_mem_fail_nth(n);
            const bool parsed = parse_bytes(&c, chat, body, strlen(body), &r, &error);
            shoal_mem_fail_nth(0);
            if (parsed)
                break;
            assert_int_equal(error.status, 503);
            assert_int_equal(shoal_mem_live(SHOAL_MEM_TEXT), before);
        }
        assert_true(n > 5);
        shoal_api_request_free(&r);
        free(body);
    }
}

/* ---- golden ---- */

static const char *text_or_empty(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void check_refusal(int number, const shoal_api_error *error, const json_t *response)
{
    const json_t *want = json_object_get(json_object_get(response, "body"), "error");
    assert_int_equal(error->status, json_integer_value(json_object_get(response, "status")));
    assert_string_equal(error->param, text_or_empty(want, "param"));
    assert_string_equal(error->code, text_or_empty(want, "code"));
    if (number == 46)
        assert_non_null(strstr(error->message, "Chat template: "));
    else if (number != 44 && number != 45)
        assert_string_equal(error->message, text_or_empty(want, "message"));
}

/* Cases whose error depends on the model, or on what a schema may say: a longer text, a keyword
 * that is enforced here, a template that knows no role. */
static void set_the_stage(int number, shoal_api_context *c, json_t *body)
{
    json_t *message = json_array_get(json_object_get(body, "messages"), 0), *schema;
    c->context = number == 44 ? 8 : 2048; /* descriptions of tools are long */
    if (number == 45 && json_unpack(body, "{s:{s:{s:o}}}", "response_format", "json_schema",
                                    "schema", &schema) == 0)
        json_object_set_new(schema, "unevaluatedProperties", json_false());
    if (number == 46)
        json_object_set_new(message, "role", json_string("developer"));
}

static void check_golden(int number, json_t *golden)
{
    const json_t *request = json_object_get(golden, "request");
    json_t *body = json_object_get(request, "body");
    const json_t *response = json_object_get(golden, "response");
    const char *raw = json_string_value(json_object_get(request, "raw_body"));
    const int64_t status = json_integer_value(json_object_get(response, "status"));
    const bool chat = strstr(json_string_value(json_object_get(request, "path")), "chat") != NULL;
    shoal_api_context c = context();
    shoal_api_request r;
    shoal_api_error error;
    set_the_stage(number, &c, body);
    char *text = raw ? strdup(raw) : json_dumps(body, 0);
    const bool parsed = parse_bytes(&c, chat, text, strlen(text), &r, &error);
    free(text);
    if (status == 200 && !parsed)
        fail_msg("golden %d: %s", number, error.message);
    if (status == 200)
        shoal_api_request_free(&r);
    else
        check_refusal(number, &error, response);
}

/* 3..38 are requests to be taken, 39..47, 49 and 53 are for the reader of the request to refuse;
 * the others are refused before or behind it. */
static void test_golden(void **state)
{
    (void)state;
    for (int number = 3; number <= 53; number++) {
        json_t *golden = api_golden(number);
        if (!golden) {
            printf("skipped: no golden data\n");
            skip();
        }
        if (number <= 47 || number == 49 || number == 53)
            check_golden(number, golden);
        json_decref(golden);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds_beyond),    cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_many_biases),      cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_bounds_within),    cmocka_unit_test(test_chat_text),
        cmocka_unit_test(test_chat_refused),     cmocka_unit_test(test_too_many_messages),
        cmocka_unit_test(test_chat_variables),   cmocka_unit_test(test_form_beside_tools),
        cmocka_unit_test(test_prompt_forms),     cmocka_unit_test(test_prompt_refused),
        cmocka_unit_test(test_far_too_many_ids), cmocka_unit_test(test_context),
        cmocka_unit_test(test_too_many_prompts), cmocka_unit_test(test_ids_of_text_within_logits),
        cmocka_unit_test(test_no_memory),        cmocka_unit_test(test_golden),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
