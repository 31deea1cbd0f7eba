/* The job as a media process gets it (docs/architecture.md 5): what may be
 * made and how, nothing of who asked or where things lie. */

#include "workerd/supervisor/worker.h"

#include "lib/ladder.h"
#include "lib/sniff.h"

#include <jansson.h>

static json_t *
allowed(uint32_t mask)
{
    json_t *a = json_array();

    for (int f = 0; f < AVP_FMT_COUNT; f++) {
        if (mask & (1u << f)) {
            json_array_append_new(
                a, json_string(avp_format_name((avp_format_t) f)));
        }
    }
    return a;
}

int
avp_job_profile(avp_profile_t *p, const avp_settings_t *set,
                char err[AVP_PROFILE_ERROR])
{
    static const char *const names[] = { "480p", "720p", "1080p", "4k" };
    avp_profile_limit_t      l = { .formats = set->has_outputs,
                                   .mp4 = set->out_mp4,
                                   .webm = set->out_webm,
                                   .hls = set->out_hls,
                                   .webm_codec = set->has_webm,
                                   .vp9 = set->webm_vp9 };
    unsigned                 bit;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (set->has_qualities
            && avp_rung_by_name(avp_str_c(names[i]), &bit) == 0
            && (set->quality_levels & bit))
        {
            (void) avp_profile_limit_rung(&l, avp_str_c(names[i]));
        }
    }

    return avp_profile_load(p, set->profile, err) != 0
                   || avp_profile_limit(p, &l, err) != 0
               ? -1
               : 0;
}

char *
avp_job_text(const avp_worker_t *w, bool first)
{
    static const char *const orders[] = { "auto", "together", "hls-first" };
    const avp_settings_t    *set = &w->set;
    json_t                  *job;
    char                    *text;
    /* copying may be what the attempt before failed with, after it could be
     * played: nothing is tried twice in a way that may not work */
    bool                     copy = set->passthrough && first;

    job = json_pack("{s:o,s:b,s:s,s:s,s:b,s:o,s:I,s:i,s:b,s:b}",    /**/
                    "profile", avp_profile_json(&w->profile),       /**/
                    "early", set->early ? 1 : 0,                    /**/
                    "passthrough", copy ? "auto" : "off",           /**/
                    "order", orders[set->order],                    /**/
                    "preview", set->preview ? 1 : 0,                /**/
                    "allowed", allowed(set->allowed_formats),       /**/
                    "maxDuration", (json_int_t) set->max_duration,  /**/
                    "threads", w->threads,                          /**/
                    "sandbox", set->sandbox ? 1 : 0,                /**/
                    "hold", w->nslots > 1 ? 1 : 0);
    if (job == NULL) {
        return NULL;
    }
    text = json_dumps(job, JSON_COMPACT);
    json_decref(job);
    return text;
}
