/* H.264 as it is stored: a record of parameter sets, its first byte the
 * record's length, and behind it a packet. */

#include "workerd/media/keys.h"
#include "t/fuzz/fuzz.h"

#include <stdlib.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t     n = size > 0 && data[0] < size ? data[0] : 0;
    uint8_t   *record = malloc(n + 1), *packet = malloc(size + 1);
    avp_avcc_t a;
    avp_sps_t  s;
    unsigned   whole, head;

    /* each in a block of its own: what is read beyond is found */
    if (n > 0) {
        memcpy(record, data + 1, n);
    }
    memcpy(packet, data + n, size - n);

    if (avp_avcc_parse(&a, record, n) == 0) {
        MUST(a.length_size >= 1 && a.length_size <= 4);
        MUST(a.nsps >= 1 && a.nsets > a.nsps && a.nsets <= AVP_SETS_MAX);
        for (int i = 0; i < a.nsets; i++) {
            MUST(a.sets[i] >= record && a.sets[i] + a.sizes[i] <= record + n);
            if (avp_sps_parse(&s, a.sets[i], a.sizes[i]) == 0) {
                MUST(s.profile <= 255 && s.level <= 255);
            }
        }
        whole = avp_nal_look(&a, packet, size - n, true);
        head = avp_nal_look(&a, packet, size - n, false);
        MUST((whole & (AVP_NAL_IDR | AVP_NAL_SLICE | AVP_NAL_BAD)) != 0);
        MUST((whole & AVP_NAL_IDR & ~head) == 0);
    }
    free(packet);
    free(record);
    return 0;
}
