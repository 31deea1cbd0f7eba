#include "lib/uuid.h"

#include <stdint.h>
#include <sys/random.h>

static int
is_hyphen_place(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

int
avp_uuid_v4(char dst[AVP_UUID_LEN + 1])
{
    static const char hex[] = "0123456789abcdef";
    uint8_t           raw[16];
    size_t            nibble = 0;

    /* up to 256 bytes are never cut short once the pool is initialised */
    if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw)) {
        return -1;
    }

    raw[6] = (uint8_t)((raw[6] & 0x0f) | 0x40);
    raw[8] = (uint8_t)((raw[8] & 0x3f) | 0x80);

    for (size_t i = 0; i < AVP_UUID_LEN; i++) {
        if (is_hyphen_place(i)) {
            dst[i] = '-';
            continue;
        }
        dst[i] = hex[(raw[nibble / 2] >> (nibble % 2 ? 0 : 4)) & 15];
        nibble++;
    }

    dst[AVP_UUID_LEN] = '\0';
    return 0;
}

int
avp_uuid_parse(char dst[AVP_UUID_LEN + 1], avp_str_t src)
{
    if (src.len != AVP_UUID_LEN) {
        return -1;
    }

    for (size_t i = 0; i < AVP_UUID_LEN; i++) {
        char c = src.data[i];

        if (is_hyphen_place(i)) {
            if (c != '-') {
                return -1;
            }

        } else if (c >= 'A' && c <= 'F') {
            c = (char)(c - 'A' + 'a');

        } else if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return -1;
        }

        dst[i] = c;
    }

    dst[AVP_UUID_LEN] = '\0';
    return 0;
}
