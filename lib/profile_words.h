/*
 * Words of a profile, for its reader and its writer.  Each list ends with
 * NULL; the index is what the struct has.
 */

#ifndef AVP_PROFILE_WORDS_H
#define AVP_PROFILE_WORDS_H

#include "lib/str.h"

extern const char *const avp_profile_presets[];
extern const int         avp_profile_lookaheads[]; /* of each preset */
extern const char *const avp_profile_deadlines[];
extern const char *const avp_profile_webm_codecs[];

/* The short side that a rung's name says; 0 when it is no name. */
int avp_profile_side(avp_str_t name);

#endif
