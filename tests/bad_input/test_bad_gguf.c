/* Damaged and hostile GGUF files (MF-16), as whole models: each is refused with a sentence that
 * names what is wrong, in bounded time and memory. */
#include "tests/bad_input/bad_folder.h"
#include "tests/support/gguf_maker.h"

/* ---- a good file, and ways to damage it ---- */

static shoal_maker *folder_of(gguf_maker *m, const gguf_bytes *bytes)
{
    shoal_maker *maker = shoal_maker_begin();
    shoal_maker_file(maker, "model.gguf", bytes->data, bytes->bytes);
    free(bytes->data);
    gguf_forget(m);
    return maker;
}

static shoal_maker *finish(gguf_maker *m)
{
    gguf_bytes bytes = gguf_make(m, &m->entries, m->entry_count, 0, m->count);
    return folder_of(m, &bytes);
}

static gguf_maker good_model(void)
{
    gguf_maker m = {.seed = 7};
    gguf_model(&m, "llama", 12);
    return m;
}

static shoal_maker *good_file(int arg)
{
    gguf_maker m = good_model();
    (void)arg;
    return finish(&m);
}

/* So many bytes are left. */
static shoal_maker *cut(int bytes)
{
    gguf_maker m = good_model();
    gguf_bytes whole = gguf_make(&m, &m.entries, m.entry_count, 0, m.count);
    whole.bytes = bytes < 0 ? whole.bytes - (size_t)-bytes : (size_t)bytes;
    return folder_of(&m, &whole);
}

/* `value` over the four bytes at `at` of the header: 4 version, 8 tensors, 16 entries. */
static shoal_maker *patched(size_t at, uint64_t value, bool wide)
{
    gguf_maker m = good_model();
    gguf_bytes whole = gguf_make(&m, &m.entries, m.entry_count, 0, m.count);
    if (wide)
        shoal_store_le64(whole.data + at, value);
    else
        shoal_store_le32(whole.data + at, (uint32_t)value);
    return folder_of(&m, &whole);
}

static shoal_maker *version(int value)
{
    return patched(4, (uint64_t)value, false);
}

static shoal_maker *magic(int value)
{
    return patched(0, (uint64_t)value, false);
}

static shoal_maker *tensor_count(int shift)
{
    return patched(8, shift < 0 ? UINT64_MAX : (uint64_t)1 << shift, true);
}

static shoal_maker *entry_count(int shift)
{
    return patched(16, shift < 0 ? UINT64_MAX : (uint64_t)1 << shift, true);
}

/* The first key says that it has so many bytes. */
static shoal_maker *key_length(int shift)
{
    return patched(24, shift < 0 ? UINT64_MAX : (uint64_t)1 << shift, true);
}

static shoal_maker *alignment(int value)
{
    gguf_maker m = good_model();
    gguf_u32(&m, "general.alignment", (uint32_t)value);
    return finish(&m);
}

static shoal_maker *alignment_text(int arg)
{
    gguf_maker m = good_model();
    (void)arg;
    gguf_text(&m, "general.alignment", "32");
    return finish(&m);
}

static shoal_maker *twice(int arg)
{
    static const char *const keys[] = {"llama.block_count", "bad\n\x01key"};
    gguf_maker m = good_model();
    gguf_u32(&m, keys[arg], 1);
    if (arg)
        gguf_u32(&m, keys[arg], 1);
    return finish(&m);
}

static shoal_maker *architecture(int arg)
{
    static const char *const names[] = {"", "clip", "bert\n\x1b[31m"};
    gguf_maker m = {.seed = 7};
    gguf_model_entries(&m, names[arg]);
    gguf_tensor(&m, "token_embd.weight", 0, 4, 32);
    return finish(&m);
}

static shoal_maker *without(int which)
{
    static const char *const names[] = {"token_embd.weight", "blk.0.attn_q.weight",
                                        "output_norm.weight", "blk.0.ffn_down.weight"};
    gguf_maker m = good_model();
    gguf_drop(&m, names[which]);
    return finish(&m);
}

static shoal_maker *only_vocabulary(int arg)
{
    gguf_maker m = {.seed = 7};
    (void)arg;
    gguf_model_entries(&m, "llama");
    return finish(&m);
}

/* ---- tensors ---- */

/* Find the table's row of a tensor and write over a field: 0 rank, 1 first dimension, 2 second, 3
 * type, 4 offset. */
static shoal_maker *field(const char *name, int which, uint64_t value)
{
    gguf_maker m = good_model();
    gguf_bytes whole = gguf_make(&m, &m.entries, m.entry_count, 0, m.count);
    const size_t length = strlen(name);
    size_t at = m.entries.bytes;
    while (memcmp(whole.data + at, name, length) != 0)
        at++;
    at += length;
    const size_t places[] = {at, at + 4, at + 12, at + 20, at + 24};
    if (which == 0 || which == 3)
        shoal_store_le32(whole.data + places[which], (uint32_t)value);
    else
        shoal_store_le64(whole.data + places[which], value);
    return folder_of(&m, &whole);
}

static shoal_maker *rank(int value)
{
    return field("blk.0.attn_q.weight", 0, (uint64_t)value);
}

static shoal_maker *inner(int which)
{
    static const uint64_t values[] = {0, 255, 1ull << 40, UINT64_MAX, UINT64_MAX - 255};
    return field("blk.0.attn_q.weight", 1, values[which]);
}

static shoal_maker *outer(int which)
{
    static const uint64_t values[] = {0, 1ull << 62, UINT64_MAX, 255};
    return field("blk.0.attn_q.weight", 2, values[which]);
}

static shoal_maker *type(int value)
{
    return field("blk.0.attn_q.weight", 3, (uint64_t)value);
}

static shoal_maker *offset(int which)
{
    static const uint64_t values[] = {1, 1ull << 50, UINT64_MAX - 31, 0};
    return field("blk.0.attn_q.weight", 4, values[which]);
}

static shoal_maker *same_name(int arg)
{
    gguf_maker m = good_model();
    (void)arg;
    gguf_tensor(&m, "output.weight", 12, 8, 256);
    return finish(&m);
}

static shoal_maker *odd_name(int which)
{
    static const char *const names[] = {"", "blk.0.ffn_up\n.weight", "blk.7.ffn_up.weight"};
    gguf_maker m = good_model();
    gguf_tensor(&m, names[which], 12, 8, 256);
    return finish(&m);
}

/* ---- metadata that describes no model ---- */

static shoal_maker *number(int which)
{
    static const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {{"llama.attention.key_length", 0},
                   {"llama.attention.key_length", 1u << 31},
                   {"llama.attention.value_length", 32},
                   {"llama.expert_count", 8},
                   {"llama.rope.dimension_count", 7}};
    gguf_maker m = good_model();
    gguf_u32(&m, numbers[which].key, numbers[which].value);
    return finish(&m);
}

/* One of the numbers that every model has, changed. */
static shoal_maker *changed(int which)
{
    static const struct {
        const char *key;
        uint32_t value;
    } numbers[] = {{"llama.block_count", 0},          {"llama.block_count", 0xffffffffu},
                   {"llama.block_count", 2},          {"llama.attention.head_count", 0},
                   {"llama.attention.head_count", 3}, {"llama.attention.head_count_kv", 0},
                   {"llama.embedding_length", 0},     {"llama.feed_forward_length", 511},
                   {"llama.context_length", 0}};
    gguf_maker m = good_model();
    const size_t length = strlen(numbers[which].key);
    size_t at = 0;
    while (memcmp(m.entries.data + at, numbers[which].key, length) != 0 ||
           shoal_load_le32(m.entries.data + at + length) != GGUF_TYPE_U32)
        at++;
    shoal_store_le32(m.entries.data + at + length + 4, numbers[which].value);
    return finish(&m);
}

/* ---- parts ---- */

static shoal_maker *part_header(int arg)
{
    gguf_maker m = good_model();
    gguf_u32(&m, "split.no", (uint32_t)arg);
    gguf_u32(&m, "split.count", 2);
    return finish(&m);
}

static shoal_maker *two_models(int arg)
{
    shoal_maker *maker = good_file(arg);
    shoal_maker_text(maker, "other.gguf", "GGUF");
    return maker;
}

static shoal_maker *lonely_part(int arg)
{
    shoal_maker *maker = shoal_maker_begin();
    (void)arg;
    shoal_maker_text(maker, "m-00001-of-00003.gguf", "GGUF");
    shoal_maker_text(maker, "m-00003-of-00003.gguf", "GGUF");
    return maker;
}

static const row rows[] = {
    {"good", good_file, 0, SHOAL_OK, "", "", 0, 0},
    {"MF-16 magic", magic, 0x46464646, DATA, "not a GGUF file", "", 0, 0},
    {"MF-16 version 0", version, 0, DATA, "version 0", "", 0, 0},
    {"MF-16 version 1", version, 1, DATA, "version 1", "2 and 3", 0, 0},
    {"MF-16 version 4", version, 4, DATA, "version 4", "", 0, 0},
    {"MF-16 big-endian", version, 0x03000000, DATA, "big-endian", "", 0, 0},
    {"MF-16 empty", cut, 0, DATA, "not a GGUF file", "", 0, 0},
    {"MF-16 cut magic", cut, 3, DATA, "not a GGUF file", "", 0, 0},
    {"MF-16 cut counts", cut, 23, DATA, "not a GGUF file", "", 0, 0},
    {"MF-16 cut entries", cut, 60, DATA, "", "", 0, 0},
    {"MF-16 cut table", cut, 900, DATA, "", "", 0, 0},
    {"MF-16 cut data", cut, -64, DATA, "outside the file", "cut off", 0, 0},
    {"MF-16 tensors -1", tensor_count, -1, DATA, "tensors", "limit", 0, 0},
    {"MF-16 tensors 2^20", tensor_count, 20, DATA, "tensors", "", 0, 0},
    {"MF-16 tensors 2^62", tensor_count, 62, DATA, "tensors", "limit", 0, 0},
    {"MF-16 entries -1", entry_count, -1, DATA, "entries", "limit", 0, 0},
    {"MF-16 entries 2^60", entry_count, 60, DATA, "entries", "limit", 0, 0},
    {"MF-16 key -1", key_length, -1, DATA, "header ends", "", 0, 0},
    {"MF-16 key 2^16", key_length, 16, DATA, "limit", "", 0, 0},
    {"MF-16 key 2^33", key_length, 33, DATA, "header ends", "", 0, 0},
    {"MF-16 alignment 0", alignment, 0, DATA, "general.alignment is 0", "", 0, 0},
    {"MF-16 alignment 13", alignment, 13, DATA, "general.alignment is 13", "power of two", 0, 0},
    {"MF-16 alignment 2^31", alignment, INT32_MIN, DATA, "general.alignment", "", 0, 0},
    {"MF-16 alignment text", alignment_text, 0, DATA, "general.alignment", "integer", 0, 0},
    {"MF-16 key twice", twice, 0, DATA, "llama.block_count", "twice", 0, 0},
    {"MF-16 odd key twice", twice, 1, DATA, "twice", "", 0, 0},
    {"MF-16 rank 9", rank, 9, DATA, "8 dimensions", "attn_q", 0, 0},
    {"MF-16 rank -1", rank, -1, DATA, "8 dimensions", "", 0, 0},
    {"MF-16 rank 1", rank, 1, DATA, "", "", 0, 0},
    {"MF-16 inner 0", inner, 0, DATA, "attn_q", "", 0, 0},
    {"MF-16 inner 255", inner, 1, DATA, "whole number of blocks", "", 0, 0},
    {"MF-16 inner 2^40", inner, 2, DATA, "outside the file", "", 0, 0},
    {"MF-16 inner -1", inner, 3, DATA, "attn_q", "", 0, 0},
    {"MF-16 inner -256", inner, 4, DATA, "64 bits", "", 0, 0},
    {"MF-16 outer 0", outer, 0, DATA, "attn_q", "", 0, 0},
    {"MF-16 outer 2^62", outer, 1, DATA, "64 bits", "", 0, 0},
    {"MF-16 outer -1", outer, 2, DATA, "64 bits", "", 0, 0},
    {"MF-16 outer less", outer, 3, DATA, "shape [255, 256]", "", 0, 0},
    {"MF-16 type 4", type, 4, DATA, "type is unknown", "attn_q", 0, 0},
    {"MF-16 type 99", type, 99, DATA, "type is unknown", "", 0, 0},
    {"MF-16 type Q8_K", type, 15, DATA, "", "", 0, 0},
    {"MF-16 type not read", type, 19, DATA, "IQ1_S", "are read", 0, 0},
    {"MF-16 type I32", type, 26, DATA, "", "", 0, 0},
    {"MF-16 offset 1", offset, 0, DATA, "not aligned", "attn_q", 0, 0},
    {"MF-16 offset 2^50", offset, 1, DATA, "", "", 0, 0},
    {"MF-16 offset -32", offset, 2, DATA, "outside the file", "", 0, 0},
    {"MF-16 overlap", offset, 3, DATA, "overlaps", "", 0, 0},
    {"MF-16 tensor twice", same_name, 0, DATA, "output.weight", "twice", 0, 0},
    {"MF-16 no name", odd_name, 0, DATA, "name of 0 bytes", "", 0, 0},
    {"MF-16 control name", odd_name, 1, DATA, "control character", "", 0, 0},
    {"ledger", odd_name, 2, DATA, "does not use", "blk.7.ffn_up.weight", 0, 0},
    {"no architecture", architecture, 0, DATA, "general.architecture", "", 0, 0},
    {"clip", architecture, 1, DATA, "'clip'", "known are", 0, 0},
    {"odd architecture", architecture, 2, DATA, "general.architecture", "", 0, 0},
    {"no embedding", without, 0, DATA, "token_embd.weight", "missing", 0, 0},
    {"no q", without, 1, DATA, "blk.0.attn_q", "", 0, 0},
    {"no final norm", without, 2, DATA, "output_norm", "missing", 0, 0},
    {"no down", without, 3, DATA, "blk.0.ffn_down", "", 0, 0},
    {"vocabulary", only_vocabulary, 0, DATA, "no tensors", "", 0, 0},
    {"MF-13 head of 0", number, 0, DATA, "head_dim", "", 0, 0},
    {"MF-13 head of 2^31", number, 1, DATA, "head_dim", "", 0, 0},
    {"MF-13 two lengths", number, 2, DATA, "value_length", "", 0, 0},
    {"MF-13 experts", number, 3, DATA, "num_experts_per_tok", "", 0, 0},
    {"MF-13 odd rope", number, 4, DATA, "rope.dimension_count", "", 0, 0},
    {"MF-13 no layers", changed, 0, DATA, "num_hidden_layers", "", 0, 0},
    {"MF-13 2^32 layers", changed, 1, DATA, "num_hidden_layers", "", 0, 0},
    {"MF-13 more layers", changed, 2, DATA, "blk.1.", "", 0, 0},
    {"MF-13 no heads", changed, 3, DATA, "num_attention_heads", "", 0, 0},
    {"MF-13 three heads", changed, 4, DATA, "", "", 0, 0},
    {"MF-13 no kv heads", changed, 5, DATA, "num_key_value_heads", "", 0, 0},
    {"MF-13 hidden 0", changed, 6, DATA, "hidden_size", "", 0, 0},
    {"MF-13 other MLP", changed, 7, DATA, "shape", "", 0, 0},
    {"MF-13 no context", changed, 8, DATA, "max_position_embeddings", "", 0, 0},
    {"part of two", part_header, 0, DATA, "part 1 of 2", "", 0, 0},
    {"part 70000", part_header, 70000, DATA, "part 70001 of 2", "", 0, 0},
    {"two models", two_models, 0, DATA, "2 models", "other.gguf", 0, 0},
    {"missing part", lonely_part, 0, NOTFOUND, "m-00002-of-00003.gguf", "missing", 0, 0},
};

static void bad_files(void **state)
{
    (void)state;
    check_rows(rows, LENGTH(rows));
}

/* Every prefix of the header, then some of the whole: refused, never read beyond. */
static void prefixes(void **state)
{
    gguf_maker m = good_model();
    gguf_bytes whole = gguf_make(&m, &m.entries, m.entry_count, 0, m.count);
    size_t failed = 0;
    (void)state;
    for (size_t bytes = 0; bytes < whole.bytes; bytes += bytes < 1800 ? 61 : 9973) {
        outcome o;
        shoal_maker *maker = shoal_maker_begin();
        shoal_maker_file(maker, "model.gguf", whole.data, bytes);
        if (!open_in_child("prefix", shoal_maker_path(maker), false, 2, 64 * 1024, &o))
            failed++;
        else if (o.status != DATA || o.text[0] == '\0')
            failed += !complain("prefix", "%zu bytes: status %d: %s", bytes, o.status, o.text);
        shoal_maker_end(maker);
    }
    free(whole.data);
    gguf_forget(&m);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_files),
        cmocka_unit_test(prefixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
