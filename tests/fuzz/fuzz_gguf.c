/* libFuzzer target: the bytes of a GGUF file as a whole model. */
#include <stddef.h>
#include <stdint.h>

#include "tests/fuzz/whole_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    const int fd = whole_file(data, size, path);
    open_whole_model(path);
    close(fd);
    return 0;
}
