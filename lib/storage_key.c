#include "lib/storage_key.h"
#include "lib/uuid.h"

#include <stdio.h>

#define COMPONENT_MAX 64
#define COMPONENTS_MAX 4

int
avp_key_original(char dst[AVP_KEY_MAX], const char *video, avp_format_t f)
{
    char id[AVP_UUID_LEN + 1];

    if ((unsigned)f >= AVP_FMT_COUNT
        || avp_uuid_parse(id, avp_str_c(video)) != 0)
    {
        return -1;
    }

    snprintf(dst, AVP_KEY_MAX, "originals/%s/source.%s", id,
             avp_format_name(f));
    return 0;
}

int
avp_prefix_check(avp_str_t prefix)
{
    size_t digits = 0;

    while (digits < prefix.len && prefix.data[digits] >= '0'
           && prefix.data[digits] <= '9')
    {
        digits++;
    }

    /* attempts are int4 and begin with 1 */
    if (digits == 0 || digits > 10 || prefix.data[0] == '0'
        || prefix.len != digits + 1 + 16 || prefix.data[digits] != '-')
    {
        return -1;
    }

    for (size_t i = digits + 1; i < prefix.len; i++) {
        char c = prefix.data[i];

        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return -1;
        }
    }

    return 0;
}

static int
ending_check(avp_str_t ending)
{
    static const char *const endings[] = { "m3u8", "m4s", "mp4", "webm",
                                           "mpd",  "vtt", "jpg", "webp" };

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (avp_str_eq(ending, avp_str_c(endings[i]))) {
            return 0;
        }
    }
    return -1;
}

/* One component; the last one has a dot and an ending. */
static int
component_check(avp_str_t c, int last)
{
    size_t n = 0;

    while (n < c.len
           && ((c.data[n] >= 'a' && c.data[n] <= 'z')
               || (c.data[n] >= '0' && c.data[n] <= '9') || c.data[n] == '_'
               || c.data[n] == '-'))
    {
        n++;
    }

    if (n == 0 || n > COMPONENT_MAX) {
        return -1;
    }

    if (!last) {
        return n == c.len ? 0 : -1;
    }

    if (n == c.len || c.data[n] != '.') {
        return -1;
    }
    return ending_check((avp_str_t){ c.data + n + 1, c.len - n - 1 });
}

int
avp_object_path_check(avp_str_t path)
{
    unsigned    n = 0;
    const char *p = path.data, *end = path.data + path.len;

    for (;;) {
        const char *slash = p < end ? memchr(p, '/', (size_t)(end - p)) : NULL;
        const char *stop = slash ? slash : end;
        avp_str_t   c = { p, (size_t)(stop - p) };

        if (++n > COMPONENTS_MAX) {
            return -1;
        }
        if (n == 1) {
            if (slash == NULL || avp_prefix_check(c) != 0) {
                return -1;
            }
        } else if (component_check(c, slash == NULL) != 0) {
            return -1;
        }

        if (slash == NULL) {
            return 0;
        }
        p = slash + 1;
    }
}
