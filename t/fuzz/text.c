/* Text from clients: UTF-8, display names, header values, JSON strings. */

#include "lib/text.h"
#include "t/fuzz/fuzz.h"

#include <jansson.h>

static void
check_json(avp_str_t s)
{
    size_t  room = s.len * 6 + 2;
    char   *out = malloc(room);
    long    n;
    json_t *back;

    MUST(out != NULL);
    n = avp_json_escape(out, room, s);
    MUST(n >= 2);
    back = json_loadb(out, (size_t)n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    MUST(json_is_string(back));
    if (avp_utf8_valid(s)) {
        MUST(json_string_length(back) == s.len);
        MUST(s.len == 0 || memcmp(json_string_value(back), s.data, s.len) == 0);
    }
    json_decref(back);
    free(out);

    out = malloc((size_t)n); /* just enough, and one too few */
    MUST(avp_json_escape(out, (size_t)n, s) == n);
    MUST(avp_json_escape(out, (size_t)n - 1, s) == -1);
    free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char     *copy = copy_of(data, size);
    avp_str_t s = { copy, size };
    char      name[256], *header;
    int       n;

    MUST(avp_utf8_count(s) <= s.len);
    MUST(!avp_text_has_controls(s, true) || avp_text_has_controls(s, false));

    avp_display_name(name, s);
    MUST(name[0] != '\0' && strlen(name) <= 255);
    MUST(strpbrk(name, "/\\") == NULL);
    MUST(avp_utf8_valid(avp_str_c(name)));
    MUST(!avp_text_has_controls(avp_str_c(name), false));

    header = malloc(size * 10 + 128);
    n = avp_content_disposition(header, size * 10 + 128, s, "mp4");
    MUST(n > 0 && n == (int)strlen(header));
    for (int i = 0; i < n; i++) {
        MUST(header[i] >= 0x20 && header[i] < 0x7f);
        MUST(header[i] != '/' && header[i] != '\\');
    }
    MUST(strchr(strchr(header, '"') + 1, '"') == strrchr(header, '"'));
    free(header);

    check_json(s);
    free(copy);
    return 0;
}
