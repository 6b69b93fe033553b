/* Files of torch.save that must be refused (MF-14, MF-15): pickles that would run code, opcodes and
 * storages that lie, archives that are damaged. Each row makes a folder, opens it as the program
 * does, and expects a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/bad_input/bad_folder.h"
#include "tests/support/torch_maker.h"

#define NAME "pytorch_model.bin"

static const uint8_t zeros[4096];

/* A folder whose only weights are these bytes. */
static shoal_maker *weights(const void *bytes, size_t size)
{
    char path[512];
    shoal_maker *maker = good();
    path_of(maker, "model.safetensors", path, sizeof path);
    unlink(path);
    shoal_maker_file(maker, NAME, bytes, size);
    return maker;
}

static shoal_maker *finish(torch_maker *m)
{
    shoal_maker *maker = weights(m->file.at, m->file.size);
    torch_free(m);
    return maker;
}

static torch_tensor small_tensor(torch_maker *m)
{
    return torch_plain(m, SHOAL_F32, 2, (int64_t[]){8, 16}, zeros);
}

/* ---- MF-14: pickles ---- */

/* Opcodes in place of a whole state dict; those that end without STOP get one. */
static const char *const pickles[] = {
    "\x80\x02"
    "cos\nsystem\nU\x02id\x85R.",
    "\x80\x02"
    "cbuiltins\neval\n)R.",
    "\x80\x02"
    "ctorch\nload\n)R.",
    "\x80\x02"
    "ctorchao.dtypes\nPwn\n)R.",
    "\x80\x02"
    "ctorch\nFloatStorage\n)R.",
    "\x80\x02"
    "ccollections\nOrderedDict\nK\x01R.",
    "\x80\x04"
    "N.",
    "\x80\x05"
    "N.",
    "\x80\x02"
    "ios\nsystem\n.",
    "\x80\x02"
    "(lp0\n.",
    "\x80\x02"
    "\x93.",
    "\x80\x02"
    "\x97.",
    "\x80\x02"
    "\x8b\x7f\x7f\x7f\x7f.",
    "\x80\x02"
    "R.",
    "\x80\x02"
    "u.",
    "\x80\x02"
    "}(K\x01u.",
    "\x80\x02"
    "](K\x01u.",
    "\x80\x02"
    "h\x05.",
    "\x80\x02"
    "j\x05\x01\x01\x01.",
    "\x80\x02"
    "Nr\x05\x01\x01\x7f.",
    "\x80\x02"
    "NN.",
    "\x80\x02"
    "(N.",
    "\x80\x02"
    "X\x7f\x7f\x7f\x7fshort.",
    "\x80\x02"
    "N",
    "\x80\x02"
    "K\x01.",
    "\x80\x02"
    "]q\x01h\x01"
    "ah\x01"
    "a.",
    "\x80\x02"
    "K\x01K\x02"
    "b.",
    "\x80\x02"
    "}K\x01K\x02s.",
    "\x80\x02"
    "}X\x01\x01\x01\x01.",
    "\x80\x02"
    "cnowhere",
    "\x80\x02"
    "c\x1b[2J\nx\n.",
};

enum {
    P_SYSTEM,
    P_EVAL,
    P_LOAD,
    P_CLASS,
    P_STORAGE,
    P_ORDERED,
    P_FOUR,
    P_FIVE,
    P_INST,
    P_PUT,
    P_STACK_GLOBAL,
    P_BUFFER,
    P_LONG4,
    P_REDUCE,
    P_SETITEMS,
    P_ODD,
    P_LIST,
    P_MEMO,
    P_LONG_MEMO,
    P_PUT_FAR,
    P_TWO,
    P_MARK,
    P_TEXT,
    P_NO_STOP,
    P_NUMBER,
    P_CYCLE,
    P_BUILD,
    P_KEY,
    P_CUT_TEXT,
    P_CUT_GLOBAL,
    P_CONTROL
};

static shoal_maker *with_pickle(int which)
{
    torch_maker m = {0};
    torch_ops(&m, pickles[which]);
    torch_archive(&m);
    return finish(&m);
}

/* A list in a list in a list, or as many marks. */
static shoal_maker *deep(int opcode)
{
    torch_maker m;
    const char op[2] = {(char)opcode, 0};
    torch_begin(&m);
    for (int i = 0; i < 1100000; i++)
        torch_ops(&m, op);
    torch_ops(&m, ".");
    torch_archive(&m);
    return finish(&m);
}

/* Tuples that hold the one before twice: 2^60 leaves for whoever walks them. */
static shoal_maker *bomb(int unused)
{
    torch_maker m;
    (void)unused;
    torch_begin(&m);
    torch_op_text(&m, "a");
    torch_ops(&m, "Nq\x01");
    for (int i = 0; i < 60; i++)
        torch_ops(&m, "h\x01\x86q\x01");
    torch_end(&m);
    return finish(&m);
}

/* ---- tensors that lie ---- */

enum {
    T_KEY_OUT,
    T_KEY_MISSING,
    T_ELEMENTS,
    T_MANY_ELEMENTS,
    T_OFFSET,
    T_NEGATIVE,
    T_STRIDE,
    T_SIZE,
    T_OVERFLOW,
    T_EXPANDED,
    T_RANK
};

static shoal_maker *lying_tensor(int which)
{
    torch_maker m;
    torch_begin(&m);
    torch_tensor t = small_tensor(&m);
    switch (which) {
    case T_KEY_MISSING: t.storage = 7; break;
    case T_ELEMENTS: t.elements = 127; break;
    case T_MANY_ELEMENTS: t.elements = INT64_MAX; break;
    case T_OFFSET: t.offset = 1; break;
    case T_NEGATIVE: t.offset = -1; break;
    case T_STRIDE: t.strides[0] = INT64_MAX / 2; break;
    case T_SIZE: t.sizes[0] = 9; break;
    case T_OVERFLOW: t.sizes[0] = t.sizes[1] = INT64_C(1) << 40; break;
    case T_EXPANDED: t.strides[0] = 0; break;
    default: break;
    }
    if (which == T_KEY_OUT)
        strcpy(m.entries[0].name, "archive/data/../../x");
    torch_add(&m, "a", &t);
    torch_end(&m);
    return finish(&m);
}

/* Arguments of the wrong kind, after a good storage. */
static shoal_maker *lying_call(int which)
{
    static const char *const calls[] = {
        "ctorch._utils\n_rebuild_tensor_v2\n)R",
        "ctorch._utils\n_rebuild_tensor_v2\nN\x85R",
        "ctorch._utils\n_rebuild_parameter\n)R",
        "ctorch._utils\n_rebuild_tensor_v2\n(NNNNtR",
        "ctorch._utils\n_rebuild_tensor_v2\n((X\x01\x01\x01\x01tQtR",
        "ctorch._tensor\n_rebuild_from_type_v2\n)R",
        "ctorch._tensor\n_rebuild_from_type_v2\n(NNNNtR",
        ("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_wrapper_subclass\n"
         "ctorchao.x\nInt8Tensor\n(NNNt}tR"),
        ("ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_wrapper_subclass\n"
         "ctorchao.x\nInt8Tensor\n(NN(K\x01K\x01tt}U\x0atransposed\x88stR"),
        "N",
    };
    torch_maker m;
    torch_begin(&m);
    torch_op_text(&m, "a");
    torch_ops(&m, calls[which]);
    torch_end(&m);
    return finish(&m);
}

/* An object whose attributes are a dict that holds it, through the memo. */
static shoal_maker *endless_class(int unused)
{
    torch_maker m;
    (void)unused;
    torch_begin(&m);
    torch_op_text(&m, "a");
    torch_ops(&m, "ctorch._tensor\n_rebuild_from_type_v2\n"
                  "(ctorch._utils\n_rebuild_wrapper_subclass\n"
                  "ctorchao.x\nInt8Tensor\n(NN(K\x01K\x01tt}q\x01tRq\x02");
    torch_op_text(&m, "b");
    torch_ops(&m, "h\x01");
    torch_op_text(&m, "inner");
    torch_ops(&m, "h\x02s");
    torch_end(&m);
    return finish(&m);
}

/* ---- MF-15: archives ---- */

enum {
    Z_COMPRESSED,
    Z_ENCRYPTED,
    Z_BEYOND,
    Z_OVERLAP,
    Z_TWICE,
    Z_UP,
    Z_ABSOLUTE,
    Z_COUNT,
    Z_NO_END,
    Z_DIRECTORY,
    Z_SIZES,
    Z_LOCAL,
    Z_ZIP64,
    Z_FOLDER,
    Z_NO_PICKLE,
    Z_SCRIPT,
    Z_BIG,
    Z_ORDER
};

static void damage_before(torch_maker *m, int which)
{
    torch_entry *e = m->entries;
    switch (which) {
    case Z_COMPRESSED: e->method = 8; break;
    case Z_TWICE: torch_add_entry(m, "data/0", "abc", 3); break;
    case Z_UP: torch_add_entry(m, "../up", "abc", 3); break;
    case Z_ABSOLUTE: strcpy(e->name, "/archive/data/0"); break;
    case Z_FOLDER: strcpy(torch_add_entry(m, "x", "abc", 3)->name, "other/x"); break;
    case Z_SCRIPT: torch_add_entry(m, "constants.pkl", "N.", 2); break;
    case Z_BIG: torch_add_entry(m, "byteorder", "big", 3); break;
    case Z_ORDER: torch_add_entry(m, "byteorder", "middle", 6); break;
    default: break;
    }
}

static void damage_after(torch_maker *m, int which)
{
    uint8_t *central = m->file.at + m->directory, *end = m->file.at + m->end;
    switch (which) {
    case Z_ENCRYPTED: central[8] |= 1; break;
    case Z_BEYOND: shoal_store_le32(central + 42, (uint32_t)m->file.size - 4); break;
    case Z_OVERLAP: /* the second entry begins in the first */
        shoal_store_le32(central + 46 + strlen(m->entries[0].name) + 42,
                         (uint32_t)m->entries[0].header);
        break;
    case Z_COUNT: end[10] = end[8] = 90; break;
    case Z_NO_END: end[0] ^= 1; break;
    case Z_DIRECTORY: shoal_store_le32(end + 16, (uint32_t)m->file.size); break;
    case Z_SIZES: central[20] ^= 1; break;
    case Z_LOCAL: m->file.at[m->entries[1].header] ^= 1; break;
    case Z_ZIP64: end[10] = end[11] = 0xff; break;
    default: break;
    }
}

static shoal_maker *damaged_archive(int which)
{
    torch_maker m;
    torch_begin(&m);
    const torch_tensor t = small_tensor(&m);
    torch_add(&m, "a", &t);
    damage_before(&m, which);
    if (which == Z_NO_PICKLE) {
        torch_end(&m);
        memcpy(m.file.at + m.entries[m.entry_count - 1].header + 30 + 8, "DATA", 4);
        memcpy(m.file.at + m.end - 8, "DATA.pkl", 8);
    } else {
        torch_end(&m);
    }
    damage_after(&m, which);
    return finish(&m);
}

/* ---- files that are something else ---- */

static shoal_maker *other_file(int which)
{
    char tar[1024] = "model.pt";
    switch (which) {
    case 0: return weights("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9 j\xa8P\x19.", 15);
    case 1: memcpy(tar + 257, "ustar", 5); return weights(tar, sizeof tar);
    case 2: return weights("version https://git-lfs", 23);
    case 3: return weights("", 0);
    case 4: return weights("PK\3\4", 4);
    default: return weights(zeros, sizeof zeros);
    }
}

static shoal_maker *training_checkpoint(int unused)
{
    torch_maker m;
    (void)unused;
    torch_begin(&m);
    torch_op_text(&m, "model_state_dict");
    torch_ops(&m, "}");
    torch_op_text(&m, "epoch");
    torch_op_integer(&m, 3);
    torch_end(&m);
    return finish(&m);
}

static shoal_maker *long_name(int bytes)
{
    torch_maker m;
    char *name = calloc(1, (size_t)bytes + 1);
    assert_non_null(name);
    memset(name, 'n', (size_t)bytes);
    torch_begin(&m);
    const torch_tensor t = small_tensor(&m);
    torch_add(&m, name, &t);
    torch_end(&m);
    free(name);
    return finish(&m);
}

static const row rows[] = {
    {"MF-14 os.system", with_pickle, P_SYSTEM, DATA, "'os system'", "nothing", 0, 0},
    {"MF-14 eval", with_pickle, P_EVAL, DATA, "'builtins eval'", NAME, 0, 0},
    {"MF-14 torch.load", with_pickle, P_LOAD, DATA, "'torch load'", "not on the list", 0, 0},
    {"MF-14 unknown class", with_pickle, P_CLASS, DATA, "'torchao.dtypes Pwn'", "", 0, 0},
    {"MF-14 call of a storage", with_pickle, P_STORAGE, DATA, "may not be called", "", 0, 0},
    {"MF-14 dict from a number", with_pickle, P_ORDERED, DATA, "no tuple", "", 0, 0},
    {"MF-14 protocol 4", with_pickle, P_FOUR, DATA, "protocol 4", "", 0, 0},
    {"MF-14 protocol 5", with_pickle, P_FIVE, DATA, "protocol 5", "", 0, 0},
    {"MF-14 INST", with_pickle, P_INST, DATA, "opcode 0x69", "byte 2", 0, 0},
    {"MF-14 PUT", with_pickle, P_PUT, DATA, "opcode 0x6c", "", 0, 0},
    {"MF-14 STACK_GLOBAL", with_pickle, P_STACK_GLOBAL, DATA, "opcode 0x93", "", 0, 0},
    {"MF-14 NEXT_BUFFER", with_pickle, P_BUFFER, DATA, "opcode 0x97", "", 0, 0},
    {"MF-14 LONG4", with_pickle, P_LONG4, DATA, "opcode 0x8b", "", 0, 0},
    {"MF-14 REDUCE of nothing", with_pickle, P_REDUCE, DATA, "no value", "byte 2", 0, 0},
    {"MF-14 SETITEMS of nothing", with_pickle, P_SETITEMS, DATA, "no mark", "", 0, 0},
    {"MF-14 key without value", with_pickle, P_ODD, DATA, "without a value", "", 0, 0},
    {"MF-14 items into a list", with_pickle, P_LIST, DATA, "no dict", "", 0, 0},
    {"MF-14 memo never set", with_pickle, P_MEMO, DATA, "memo", "", 0, 0},
    {"MF-14 long memo never set", with_pickle, P_LONG_MEMO, DATA, "memo", "", 0, 0},
    {"MF-14 memo far away", with_pickle, P_PUT_FAR, DATA, "too large", "", 0, 0},
    {"MF-14 two values", with_pickle, P_TWO, DATA, "one value", "", 0, 0},
    {"MF-14 mark left", with_pickle, P_MARK, DATA, "one value", "", 0, 0},
    {"MF-14 text of 2 GiB", with_pickle, P_TEXT, DATA, "cut off", "", 0, 0},
    {"MF-14 no STOP", with_pickle, P_NO_STOP, DATA, "no STOP", "", 0, 0},
    {"MF-14 a number", with_pickle, P_NUMBER, DATA, "no state dict", "", 0, 0},
    {"MF-14 list in itself", with_pickle, P_CYCLE, DATA, "no state dict", "", 0, 0},
    {"MF-14 BUILD of a number", with_pickle, P_BUILD, DATA, "a state", "", 0, 0},
    {"MF-14 key that is a number", with_pickle, P_KEY, DATA, "no tensor name", "", 0, 0},
    {"MF-14 cut text", with_pickle, P_CUT_TEXT, DATA, "cut off", "", 0, 0},
    {"MF-14 cut global", with_pickle, P_CUT_GLOBAL, DATA, "cut off", "", 0, 0},
    {"MF-14 control characters", with_pickle, P_CONTROL, DATA, "'?[2J x'", "", 0, 0},
    {"MF-14 stack", deep, ']', DATA, "a stack of more than a million", "", 0, 128},
    {"MF-14 marks", deep, '(', DATA, "marks", "", 0, 0},
    {"MF-14 bomb", bomb, 0, DATA, "no tensors", "", 0, 0},
    {"MF-14 class in itself", endless_class, 0, DATA, "nested too deep", "", 0, 0},

    {"MF-14 key with ..", lying_tensor, T_KEY_OUT, DATA, "plain path", "", 0, 0},
    {"MF-14 storage missing", lying_tensor, T_KEY_MISSING, DATA, "no storage '7'", "", 0, 0},
    {"MF-14 storage too short", lying_tensor, T_ELEMENTS, DATA, "127 F32", "512 bytes", 0, 0},
    {"MF-14 storage overflow", lying_tensor, T_MANY_ELEMENTS, DATA, "tensor a", "", 0, 0},
    {"MF-14 offset", lying_tensor, T_OFFSET, DATA, "beyond the end", "", 0, 0},
    {"MF-14 negative offset", lying_tensor, T_NEGATIVE, DATA, "no number", "", 0, 0},
    {"MF-14 stride", lying_tensor, T_STRIDE, DATA, "beyond the end", "", 0, 0},
    {"MF-14 size", lying_tensor, T_SIZE, DATA, "beyond the end", "", 0, 0},
    {"MF-14 shape overflow", lying_tensor, T_OVERFLOW, DATA, "overflows", "", 0, 0},
    {"MF-14 expanded", lying_tensor, T_EXPANDED, DATA, "contiguous", "", 0, 0},
    {"MF-14 call of nothing", lying_call, 0, DATA, "not made from a storage", "", 0, 0},
    {"MF-14 call of None", lying_call, 1, DATA, "not made from a storage", "", 0, 0},
    {"MF-14 parameter of nothing", lying_call, 2, DATA, "no tensors", "", 0, 0},
    {"MF-14 call of Nones", lying_call, 3, DATA, "not made from a storage", "", 0, 0},
    {"MF-14 strange identity", lying_call, 4, DATA, "cut off", "", 0, 0},
    {"MF-14 class of nothing", lying_call, 5, DATA, "not read", "", 0, 0},
    {"MF-14 class of Nones", lying_call, 6, DATA, "not read", "", 0, 0},
    {"MF-14 class without shape", lying_call, 7, DATA, "two sizes", "", 0, 0},
    {"MF-14 transposed class", lying_call, 8, DATA, "a: its codes are transposed", "", 0, 0},
    {"MF-14 None", lying_call, 9, DATA, "no tensors", "a", 0, 0},
    {"MF-14 long name", long_name, 1025, DATA, "no tensor name", "", 0, 0},
    {"MF-14 before 1.6", other_file, 0, DATA, "before version 1.6", "safetensors", 0, 0},
    {"MF-14 tar", other_file, 1, DATA, "before version 1.6", "", 0, 0},
    {"MF-14 Git LFS", other_file, 2, DATA, "no file of torch.save", "", 0, 0},
    {"MF-14 empty", other_file, 3, DATA, "no file of torch.save", "", 0, 0},
    {"MF-15 four bytes", other_file, 4, DATA, "cut off", "", 0, 0},
    {"MF-14 zeros", other_file, 5, DATA, "no file of torch.save", "", 0, 0},
    {"MF-14 training checkpoint", training_checkpoint, 0, DATA, "model_state_dict", "", 0, 0},

    {"MF-15 compressed", damaged_archive, Z_COMPRESSED, DATA, "compressed", "data/0", 0, 0},
    {"MF-15 encrypted", damaged_archive, Z_ENCRYPTED, DATA, "encrypted", "", 0, 0},
    {"MF-15 beyond", damaged_archive, Z_BEYOND, DATA, "before the directory", "", 0, 0},
    {"MF-15 overlap", damaged_archive, Z_OVERLAP, DATA, "overlaps", "", 0, 0},
    {"MF-15 twice", damaged_archive, Z_TWICE, DATA, "there twice", "data/0", 0, 0},
    {"MF-15 ..", damaged_archive, Z_UP, DATA, "plain path", "../up", 0, 0},
    {"MF-15 absolute", damaged_archive, Z_ABSOLUTE, DATA, "plain path", "", 0, 0},
    {"MF-15 count", damaged_archive, Z_COUNT, DATA, "zip archive", "", 0, 0},
    {"MF-15 no end", damaged_archive, Z_NO_END, DATA, "no end record", "", 0, 0},
    {"MF-15 directory", damaged_archive, Z_DIRECTORY, DATA, "before its end", "", 0, 0},
    {"MF-15 two sizes", damaged_archive, Z_SIZES, DATA, "stored size", "", 0, 0},
    {"MF-15 no header", damaged_archive, Z_LOCAL, DATA, "no header where", "", 0, 0},
    {"MF-15 zip64 lie", damaged_archive, Z_ZIP64, DATA, "zip64", "", 0, 0},
    {"MF-15 two folders", damaged_archive, Z_FOLDER, DATA, "one folder", "", 0, 0},
    {"MF-15 no pickle", damaged_archive, Z_NO_PICKLE, DATA, "no data.pkl", "", 0, 0},
    {"MF-15 TorchScript", damaged_archive, Z_SCRIPT, DATA, "TorchScript", "", 0, 0},
    {"MF-15 big-endian", damaged_archive, Z_BIG, DATA, "big-endian", "", 0, 0},
    {"MF-15 byte order", damaged_archive, Z_ORDER, DATA, "unknown", "", 0, 0},
};

static void bad_torch_files(void **state)
{
    (void)state;
    check_rows(rows, LENGTH(rows));
}

/* MF-07: no prefix of a good file opens, and none of its bytes can be changed into a crash. */
static void prefixes_and_flips(void **state)
{
    torch_maker m;
    (void)state;
    torch_begin(&m);
    const torch_tensor t = small_tensor(&m);
    torch_add(&m, "model.norm.weight", &t);
    torch_end(&m);
    shoal_maker *maker = weights(m.file.at, m.file.size);
    shoal_checkpoint *c = NULL;
    assert_int_equal(shoal_checkpoint_open(shoal_maker_path(maker), &c), SHOAL_OK);
    shoal_checkpoint_close(c);
    for (size_t bytes = 0; bytes < m.file.size; bytes++) {
        c = NULL;
        shoal_maker_file(maker, NAME, m.file.at, bytes);
        assert_int_equal(shoal_checkpoint_open(shoal_maker_path(maker), &c), SHOAL_ERR_DATA);
        assert_null(c);
    }
    for (size_t at = 0; at < m.file.size; at++) {
        c = NULL;
        m.file.at[at] ^= 0xa5;
        shoal_maker_file(maker, NAME, m.file.at, m.file.size);
        if (shoal_checkpoint_open(shoal_maker_path(maker), &c) == SHOAL_OK)
            shoal_checkpoint_close(c);
        else
            assert_true(shoal_error_text()[0] != '\0');
        m.file.at[at] ^= 0xa5;
    }
    shoal_maker_end(maker);
    torch_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_torch_files),
        cmocka_unit_test(prefixes_and_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
