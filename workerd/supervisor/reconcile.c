/*
 * Rule 7 of DESIGN 4: every 10 s whoever holds the row `reconciler` in
 * `leases` puts jobs back whose lease has run out and pushes as many wake-ups
 * as are missing: max(0, min(due, 100) - LLEN).  `workerd reconcile` does one
 * round by hand, leader or not: a round more does no harm.
 */

#include "workerd/supervisor/worker.h"

#include "workerd/commands.h"
#include "workerd/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEADER_S 15
#define ROUND_MAX "100"

static void
publish_all(avp_redis_t *redis, const char *events)
{
    json_t *a, *e;
    size_t  i;
    char   *text;

    a = events != NULL ? json_loads(events, 0, NULL) : NULL;
    json_array_foreach(a, i, e) {
        text = json_dumps(e, JSON_COMPACT);
        avp_redis_event(redis, text);
        free(text);
    }
    json_decref(a);
}

int
avp_reconcile_round(avp_db_t *db, avp_redis_t *redis, avp_metrics_t *metrics)
{
    avp_db_result_t *r = avp_db_callv(db, "reconcile_jobs", ROUND_MAX);
    int64_t          lapsed, due;
    long             missing = 0, length;

    if (r == NULL || strcmp(avp_db_verdict(r), "ok") != 0) {
        avp_log(AVP_LOG_WARN, "no reconciliation",
                AVP_S("error", r != NULL ? avp_db_verdict(r)
                                         : avp_db_error(db)));
        avp_db_result_free(r);
        return -1;
    }
    lapsed = avp_db_int(r, 0, "lapsed", 0);
    due = avp_db_int(r, 0, "due", 0);
    publish_all(redis, avp_db_text(r, 0, "events"));
    avp_db_result_free(r);

    if (due > 0 && (length = avp_redis_length(redis)) >= 0) {
        missing = (due < 100 ? (long) due : 100) - length;
        if (missing > 0
            && avp_redis_push(redis, "reconcile", (int) missing) != 0)
        {
            missing = 0;
        }
    }
    missing = missing > 0 ? missing : 0;

    if (metrics != NULL) {
        atomic_fetch_add(&metrics->reconcile_rounds, 1);
        atomic_fetch_add(&metrics->reconcile_lapsed, lapsed);
        atomic_fetch_add(&metrics->reconcile_pushed, missing);
    }
    avp_log(lapsed > 0 ? AVP_LOG_WARN : AVP_LOG_DEBUG, "reconciled",
            AVP_I("lapsed", lapsed), AVP_I("due", due),
            AVP_I("pushed", missing));
    return 0;
}

void
avp_reconcile_tick(avp_worker_t *w, int64_t now)
{
    avp_db_result_t *r;
    char             seconds[16];
    bool             leader;

    if (now < w->reconcile_next || w->once || w->draining) {
        return;
    }
    w->reconcile_next = now + avp_jitter((int64_t) w->set.reconcile * 1000, 10);

    (void) snprintf(seconds, sizeof(seconds), "%d",
                    w->set.reconcile > 10 ? w->set.reconcile * 3 / 2
                                          : LEADER_S);
    r = avp_db_callv(w->db, "lease_take", "reconciler", w->incarnation,
                     seconds);
    leader = r != NULL && strcmp(avp_db_verdict(r), "ok") == 0;
    avp_db_result_free(r);
    if (leader) {
        (void) avp_reconcile_round(w->db, w->redis, &w->metrics);
    }
}

int
avp_reconcile_main(int argc, char **argv)
{
    avp_settings_t set;
    avp_db_t      *db = NULL;
    avp_redis_t   *redis = NULL;
    avp_metrics_t  metrics = { 0 };
    const char    *why;
    int            rc = AVP_EXIT_FAILED;

    (void) argv;
    if (argc > 1) {
        avp_command_error("takes no arguments");
        return AVP_EXIT_USAGE;
    }
    if (avp_command_settings(&set) != 0) {
        return AVP_EXIT_FAILED;
    }
    db = avp_db_new(set.database_url, "workerd reconcile", 5000);
    redis = avp_redis_new(set.redis_url, &why);
    if (db == NULL || redis == NULL) {
        avp_command_error("%s", redis == NULL ? why : "out of memory");
        goto done;
    }
    if (avp_reconcile_round(db, redis, &metrics) != 0) {
        avp_command_error("%s", avp_db_error(db));
        goto done;
    }
    printf("lapsed %lld, pushed %lld\n",
           (long long) atomic_load(&metrics.reconcile_lapsed),
           (long long) atomic_load(&metrics.reconcile_pushed));
    rc = AVP_EXIT_OK;

done:
    avp_redis_free(redis);
    avp_db_free(db);
    avp_settings_free(&set);
    return rc;
}
