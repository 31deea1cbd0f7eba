/* A profile of a file: refused with a sentence, or whole and sane, and then
 * printed as what is read back as the same. */

#include "lib/profile.h"
#include "t/fuzz/fuzz.h"

static void
check(const avp_profile_t *p)
{
    MUST(p->nrungs >= 1 && p->nrungs <= AVP_LADDER_MAX);
    for (int i = 0; i < p->nrungs; i++) {
        const avp_rung_spec_t *s = &p->rungs[i];

        MUST(strlen(s->name) >= 2 && strlen(s->name) < AVP_RUNG_NAME_MAX);
        MUST(s->mp4 || s->webm || s->hls);
        MUST(s->short_side >= 100 && s->short_side % 2 == 0);
        MUST(s->long_side >= s->short_side && s->long_side <= 4096);
        MUST(i == 0 || s->short_side > s[-1].short_side);
        for (int c = 0; c < AVP_CODEC_COUNT; c++) {
            MUST(s->rate[c].crf >= 0 && s->rate[c].crf <= 63);
            MUST(s->rate[c].maxrate >= 50000);
            MUST(s->rate[c].maxrate_high >= s->rate[c].maxrate);
        }
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char         *copy = copy_of(data, size);
    avp_profile_t p, q;
    char          err[AVP_PROFILE_ERROR] = "";
    avp_rung_t    rungs[AVP_LADDER_MAX];

    if (avp_profile_parse(&p, (avp_str_t){ copy, size }, err) == 0) {
        json_t *v = avp_profile_json(&p), *w;

        check(&p);
        MUST(avp_profile_from_json(&q, v, err) == 0);
        w = avp_profile_json(&q);
        MUST(json_equal(v, w));
        MUST(avp_ladder(rungs, 1920, 1080, p.rungs, p.nrungs) >= 1);
        json_decref(v);
        json_decref(w);
    } else {
        MUST(err[0] != '\0');
    }
    free(copy);
    return 0;
}
