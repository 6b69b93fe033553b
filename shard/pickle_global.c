#include "shard/pickle_global.h"

#include <string.h>

#include "proto/bytes.h"

#define FUNCTION(module, name, kind)                                                               \
    {                                                                                              \
        module, name, kind, true, SHOAL_F32                                                        \
    }
#define MARK(module, name, kind)                                                                   \
    {                                                                                              \
        module, name, kind, false, SHOAL_F32                                                       \
    }
#define DTYPE(name, dtype)                                                                         \
    {                                                                                              \
        "torch", name, SHOAL_GLOBAL_DTYPE, false, dtype                                            \
    }
#define STORAGE(name, dtype)                                                                       \
    {                                                                                              \
        "torch", name, SHOAL_GLOBAL_STORAGE, false, dtype                                          \
    }
#define TENSOR_CLASS(name) FUNCTION("torchao.", name, SHOAL_GLOBAL_SUBCLASS)
#define OBJECT(name)       FUNCTION("torchao.", name, SHOAL_GLOBAL_PLAIN)
#define ENUM(name)         FUNCTION("torchao.", name, SHOAL_GLOBAL_ENUM)
#define ACT(name)          MARK("torchao.", name, SHOAL_GLOBAL_ACT_FUNCTION)

static const shoal_pickle_global table[] = {
    FUNCTION("collections", "OrderedDict", SHOAL_GLOBAL_ORDERED_DICT),
    FUNCTION("torch._utils", "_rebuild_tensor", SHOAL_GLOBAL_REBUILD_TENSOR),
    FUNCTION("torch._utils", "_rebuild_tensor_v2", SHOAL_GLOBAL_REBUILD_TENSOR_V2),
    FUNCTION("torch._utils", "_rebuild_tensor_v3", SHOAL_GLOBAL_REBUILD_TENSOR_V3),
    FUNCTION("torch._utils", "_rebuild_parameter", SHOAL_GLOBAL_REBUILD_PARAMETER),
    FUNCTION("torch._utils", "_rebuild_parameter_with_state", SHOAL_GLOBAL_REBUILD_PARAMETER),
    FUNCTION("torch._tensor", "_rebuild_from_type_v2", SHOAL_GLOBAL_REBUILD_SUBCLASS),
    MARK("torch._utils", "_rebuild_wrapper_subclass", SHOAL_GLOBAL_WRAPPER_SUBCLASS),
    MARK("torch.nn.parameter", "Parameter", SHOAL_GLOBAL_PLAIN),
    FUNCTION("torch", "Size", SHOAL_GLOBAL_SIZE),
    FUNCTION("torch", "device", SHOAL_GLOBAL_PLAIN),
    FUNCTION("torch.serialization", "_get_layout", SHOAL_GLOBAL_PLAIN),
    FUNCTION("_codecs", "encode", SHOAL_GLOBAL_PLAIN),
    MARK("torch.storage", "UntypedStorage", SHOAL_GLOBAL_BYTE_STORAGE),
    MARK("torch", "UntypedStorage", SHOAL_GLOBAL_BYTE_STORAGE),
    STORAGE("FloatStorage", SHOAL_F32),
    STORAGE("HalfStorage", SHOAL_F16),
    STORAGE("BFloat16Storage", SHOAL_BF16),
    STORAGE("DoubleStorage", SHOAL_F64),
    STORAGE("CharStorage", SHOAL_I8),
    STORAGE("ByteStorage", SHOAL_U8),
    STORAGE("ShortStorage", SHOAL_I16),
    STORAGE("IntStorage", SHOAL_I32),
    STORAGE("LongStorage", SHOAL_I64),
    STORAGE("BoolStorage", SHOAL_BOOL),
    DTYPE("float32", SHOAL_F32),
    DTYPE("float16", SHOAL_F16),
    DTYPE("bfloat16", SHOAL_BF16),
    DTYPE("float64", SHOAL_F64),
    DTYPE("int8", SHOAL_I8),
    DTYPE("uint8", SHOAL_U8),
    DTYPE("int16", SHOAL_I16),
    DTYPE("uint16", SHOAL_U16),
    DTYPE("int32", SHOAL_I32),
    DTYPE("uint32", SHOAL_U32),
    DTYPE("int64", SHOAL_I64),
    DTYPE("uint64", SHOAL_U64),
    DTYPE("bool", SHOAL_BOOL),
    DTYPE("float8_e4m3fn", SHOAL_F8_E4M3),
    DTYPE("float8_e5m2", SHOAL_F8_E5M2),
    TENSOR_CLASS("AffineQuantizedTensor"),
    TENSOR_CLASS("LinearActivationQuantizedTensor"),
    TENSOR_CLASS("PlainAQTTensorImpl"),
    TENSOR_CLASS("TensorCoreTiledAQTTensorImpl"),
    TENSOR_CLASS("Int4CPUAQTTensorImpl"),
    TENSOR_CLASS("Int4Tensor"),
    TENSOR_CLASS("Int4TilePackedTo4dTensor"),
    TENSOR_CLASS("Int4OpaqueTensor"),
    TENSOR_CLASS("Int4PlainInt32Tensor"),
    TENSOR_CLASS("Int8Tensor"),
    TENSOR_CLASS("IntxUnpackedToInt8Tensor"),
    OBJECT("PlainLayout"),
    OBJECT("TensorCoreTiledLayout"),
    OBJECT("Int4CPULayout"),
    OBJECT("QuantizeTensorToInt8Kwargs"),
    OBJECT("PerRow"),
    OBJECT("PerToken"),
    OBJECT("PerTensor"),
    OBJECT("PerAxis"),
    OBJECT("PerGroup"),
    ENUM("ZeroPointDomain"),
    ENUM("MappingType"),
    ENUM("IntxUnpackedToInt8TensorActivationQuantization"),
    ACT("_int8_symm_per_token_reduced_range_quant"),
    ACT("_int8_symm_per_token_reduced_range_quant_noop_decode"),
    ACT("_int8_symm_per_token_quant"),
    ACT("_int8_asymm_per_token_quant"),
};

static bool is_module(const char *text, size_t bytes, const char *expected)
{
    const size_t length = strlen(expected);
    if (expected[length - 1] == '.')
        return bytes > length && memcmp(text, expected, length) == 0;
    return shoal_text_is(text, bytes, expected);
}

const shoal_pickle_global *shoal_pickle_global_find(const char *module, size_t module_bytes,
                                                    const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (shoal_text_is(name, name_bytes, table[i].name) &&
            is_module(module, module_bytes, table[i].module))
            return &table[i];
    return NULL;
}
