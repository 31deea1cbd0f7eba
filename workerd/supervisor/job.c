/* The job as a media process gets it (docs/architecture.md 5): what may be
 * made and how, nothing of who asked or where things lie. */

#include "workerd/supervisor/worker.h"

#include "lib/ladder.h"
#include "lib/sniff.h"

#include <jansson.h>

static json_t *
qualities(unsigned mask)
{
    static const char *const names[] = { "480p", "720p", "1080p", "4k" };
    json_t                  *a = json_array();
    unsigned                 bit;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (avp_rung_by_name(avp_str_c(names[i]), &bit) == 0 && (mask & bit)) {
            json_array_append_new(a, json_string(names[i]));
        }
    }
    return a;
}

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

static json_t *
formats(const avp_settings_t *set)
{
    json_t *a = json_array();

    if (set->out_mp4) {
        json_array_append_new(a, json_string("mp4"));
    }
    if (set->out_webm) {
        json_array_append_new(a, json_string("webm"));
    }
    if (set->out_hls) {
        json_array_append_new(a, json_string("hls"));
    }
    return a;
}

char *
avp_job_text(const avp_worker_t *w)
{
    static const char *const orders[] = { "auto", "together", "hls-first" };
    const avp_settings_t    *set = &w->set;
    json_t                  *job;
    char                    *text;

    job = json_pack("{s:o,s:o,s:s,s:b,s:s,s:b,s:o,s:I,s:i,s:b}",            /**/
                    "formats", formats(set),                            /**/
                    "qualities", qualities(set->quality_levels),        /**/
                    "webmCodec", set->webm_vp9 ? "vp9" : "av1",         /**/
                    "early", set->early ? 1 : 0,                        /**/
                    "order", orders[set->order],                        /**/
                    "preview", set->preview ? 1 : 0,                    /**/
                    "allowed", allowed(set->allowed_formats),           /**/
                    "maxDuration", (json_int_t) set->max_duration,      /**/
                    "threads", w->threads,                              /**/
                    "sandbox", set->sandbox ? 1 : 0);
    if (job == NULL) {
        return NULL;
    }
    text = json_dumps(job, JSON_COMPACT);
    json_decref(job);
    return text;
}
