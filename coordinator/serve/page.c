#include "coordinator/serve/page.h"

/* The bytes of page.html as numbers, made by CMake (coordinator/CMakeLists.txt). */
static const unsigned char html[] = {
#include "coordinator/serve/page_html.inc"
};

const char *shoal_page(size_t *bytes)
{
    *bytes = sizeof html;
    return (const char *)html;
}
