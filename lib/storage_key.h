/*
 * Names inside the storage (DESIGN 5), the same for every driver:
 *
 *   originals/{video}/source.{ext}
 *   outputs/{video}/{prefix}/...      prefix = {attempt}-{16 hex digits}
 *   incoming/{random}                 file driver: an upload on its way
 *   trash/{video}-{random}            file driver: deleted, not yet unlinked
 *
 * and the check that every path named by a client must pass.
 */

#ifndef AVP_STORAGE_KEY_H
#define AVP_STORAGE_KEY_H

#include "lib/str.h"
#include "lib/sniff.h"

#include <stdint.h>

#define AVP_KEY_MAX 256    /* any key with its NUL */
#define AVP_PREFIX_MAX 40  /* {attempt}-{random} with its NUL */

int avp_key_original(char dst[AVP_KEY_MAX], const char *video, avp_format_t f);

/* 0, or -1 when `prefix` is not {attempt}-{16 hex}. */
int avp_prefix_check(avp_str_t prefix);

/*
 * A path below a video's outputs, as in a delivery URI: the prefix and up to
 * three more components; each `[a-z0-9_-]{1,64}`, the last with one ending of
 * m3u8 m4s mp4 webm mpd vtt jpg webp.  0, or -1: the answer is 404.
 */
int avp_object_path_check(avp_str_t path);

#endif
