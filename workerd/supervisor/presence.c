/*
 * Every 10 s the worker says who it is: to the database, where administrators
 * see it with its sandbox's level (worker_list), and to Redis.  Nothing depends
 * on it but what people are shown: leases have a heartbeat of their own.
 */

#include "workerd/supervisor/worker.h"

#include "workerd/commands.h"
#include "workerd/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PRESENCE_MS 10000

/* {"libavcodec":"59.37.100"}; malloc'ed, NULL out of memory. */
static char *
libraries(void)
{
    json_t *o = json_object();
    char   *text;

    for (const avp_media_library_t *l = avp_media_libraries(); l->name != NULL;
         l++)
    {
        (void) json_object_set_new(o, l->name, json_string(l->version));
    }
    text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    return text;
}

static void
say_database(avp_worker_t *w)
{
    char            *libs = libraries();
    char             slots[16], landlock[16];
    avp_db_result_t *r;
    bool             seen;

    if (libs == NULL) {
        return;
    }
    (void) snprintf(slots, sizeof(slots), "%d", w->nslots);
    (void) snprintf(landlock, sizeof(landlock), "%d", w->cage.landlock);
    r = avp_db_callv(w->db, "worker_seen", w->incarnation, w->set.worker_name,
                     w->host, AVP_VERSION, slots, w->cage.ns, landlock,
                     w->cage.seccomp ? "t" : "f", libs);
    free(libs);

    seen = r != NULL && strcmp(avp_db_verdict(r), "ok") == 0;
    if (!seen && !w->unseen) { /* once, not every 10 s */
        avp_log(AVP_LOG_WARN, "the database does not know this worker",
                AVP_S("error", r != NULL ? avp_db_verdict(r)
                                         : avp_db_error(w->db)));
    }
    w->seen = seen;
    w->unseen = !seen;
    avp_db_result_free(r);
}

bool
avp_presence_tick(avp_worker_t *w, int64_t now)
{
    if (now < w->presence_next) {
        return false;
    }
    w->presence_next = now + PRESENCE_MS;
    avp_redis_presence(w->redis, w->set.worker_name, w->incarnation, w->host,
                       AVP_VERSION, w->nslots, avp_slots_busy(w));
    say_database(w);
    return true;
}

void
avp_presence_end(avp_worker_t *w)
{
    if (w->redis != NULL) {
        avp_redis_presence(w->redis, w->set.worker_name, w->incarnation,
                           w->host, AVP_VERSION, -1, 0);
    }
    if (w->seen) { /* a database that was away by then is not waited for */
        avp_db_result_free(avp_db_callv(w->db, "worker_gone", w->incarnation));
    }
}
