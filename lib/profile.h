/*
 * Encoding profiles: which rungs, formats and codecs a job makes, and how
 * well.  docs/profiles.md describes every member of the file.
 *
 * The supervisor reads a profile once, at start, and puts it, complete, into
 * each job; the media process parses it again with the same code.  Unknown
 * members, words and numbers out of range are refused with a message that
 * names the member by its JSON pointer and says what is allowed.
 *
 * A profile is a plain struct: copied by assignment, nothing to free.
 */

#ifndef AVP_PROFILE_H
#define AVP_PROFILE_H

#include "lib/ladder.h"

#include <jansson.h>

#define AVP_PROFILE_NAME_MAX 32
#define AVP_PROFILE_ERROR 256
#define AVP_PROFILE_FILE_MAX 65536 /* bytes */

typedef struct {
    char name[AVP_PROFILE_NAME_MAX];
    bool vp9; /* of WebM; else AV1 */

    struct {
        int preset, lookahead; /* preset: avp_x264_preset() */
    } h264;
    struct {
        int preset;            /* the same words */
    } hevc;
    struct {
        int realtime, cpu_used, gop; /* gop in seconds */
    } vp9_how;
    struct {
        int preset, lookahead, gop;
    } av1;
    struct {
        int aac, opus;         /* bit/s, stereo */
    } audio;

    int             nrungs; /* 1 or more, ascending by short side */
    avp_rung_spec_t rungs[AVP_LADDER_MAX];
} avp_profile_t;

/* What the simple settings say beside a profile: they win. */
typedef struct {
    bool formats;        /* mp4, webm and hls below count */
    bool mp4, webm, hls;
    bool webm_codec;     /* vp9 below counts */
    bool vp9;
    int  nrungs;         /* only rungs of these names; 0: all */
    char rungs[AVP_LADDER_MAX][AVP_RUNG_NAME_MAX];
} avp_profile_limit_t;

/* "fast", "balanced", "quality"; -1 for another name. */
int avp_profile_builtin(avp_profile_t *p, avp_str_t name);

/* A profile of a JSON value.  0, or -1 with a sentence in err. */
int avp_profile_from_json(avp_profile_t *p, const json_t *v,
                          char err[AVP_PROFILE_ERROR]);

/* The same of a text. */
int avp_profile_parse(avp_profile_t *p, avp_str_t text,
                      char err[AVP_PROFILE_ERROR]);

/* A built-in one by its name, or a file by its path (whatever has a '/' or
 * ends in .json). */
int avp_profile_load(avp_profile_t *p, const char *name_or_path,
                     char err[AVP_PROFILE_ERROR]);

/* Adds a name to the limit's rungs; -1 when it cannot be one. */
int avp_profile_limit_rung(avp_profile_limit_t *l, avp_str_t name);

/*
 * Applies the limit: formats and the WebM codec replace the profile's, rungs
 * that are not named go.  A name must be a rung of the profile or a word of
 * QUALITY_LEVELS.  -1 with a sentence when nothing would be left.
 */
int avp_profile_limit(avp_profile_t *p, const avp_profile_limit_t *l,
                      char err[AVP_PROFILE_ERROR]);

/* All of it, every member stated: what avp_profile_from_json() reads back as
 * the same profile.  A new reference, NULL without memory. */
json_t *avp_profile_json(const avp_profile_t *p);

/* The word of a preset, as x264 and x265 know it. */
const char *avp_x264_preset(int preset);

#endif
