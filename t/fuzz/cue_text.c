/* Subtitle events: what any file may say, as a cue that players can read. */

#include "lib/cue_text.h"
#include "lib/text.h"
#include "t/fuzz/fuzz.h"

/* Tags: of the three kinds, nested, closed; every other `<` is escaped. */
static void
check_tags(const char *cue)
{
    char open[3];
    int  n = 0;

    for (const char *p = cue; *p; p++) {
        if (*p != '<') {
            MUST(*p != '>');
            continue;
        }
        if (p[1] == '/') {
            MUST(n > 0 && open[--n] == p[2] && p[3] == '>');
            p += 3;
        } else {
            MUST(n < 3 && strchr("ibu", p[1]) && p[2] == '>');
            open[n++] = p[1];
            p += 2;
        }
    }
    MUST(n == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char  *copy = copy_of(data, size);
    char   cue[AVP_CUE_MAX];
    size_t n;

    n = avp_cue_from_ass(cue, (avp_str_t){ copy, size });
    MUST(n < AVP_CUE_MAX && strlen(cue) == n);
    MUST(avp_utf8_valid(avp_str_c(cue)));
    MUST(!avp_text_has_controls(avp_str_c(cue), true));
    MUST(strpbrk(cue, "\r\t") == NULL);
    MUST(cue[0] != '\n' && strstr(cue, "\n\n") == NULL);
    MUST(n == 0 || cue[n - 1] != '\n');
    MUST(strstr(cue, "-->") == NULL);
    check_tags(cue);

    free(copy);
    return 0;
}
