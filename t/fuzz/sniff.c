/* The first bytes of a file, and lists of container words. */

#include "lib/sniff.h"
#include "t/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char        *copy = copy_of(data, size);
    avp_format_t f = avp_sniff((const uint8_t *)copy, size);
    uint32_t     mask = avp_formats_parse((avp_str_t){ copy, size });

    MUST((unsigned)f <= AVP_FMT_UNKNOWN);
    MUST(mask < 1u << AVP_FMT_COUNT);
    MUST(avp_format_by_name(avp_str_c(avp_format_name(f))) == f);
    MUST(avp_format_by_name((avp_str_t){ copy, size }) <= AVP_FMT_UNKNOWN);
    free(copy);
    return 0;
}
