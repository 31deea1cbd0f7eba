/*
 * Text from clients: UTF-8, titles, file names as display text (never as
 * paths), Content-Disposition (RFC 6266), JSON string escaping.
 */

#ifndef AVP_TEXT_H
#define AVP_TEXT_H

#include "lib/str.h"

#include <stdbool.h>
#include <stdint.h>

/* One character of well-formed UTF-8 at s: its length and *cp, or 0. */
size_t avp_utf8_char(const char *s, size_t n, uint32_t *cp);

/* Well-formed UTF-8 (RFC 3629), without U+0000. */
bool avp_utf8_valid(avp_str_t s);

/* Code points of valid UTF-8. */
size_t avp_utf8_count(avp_str_t s);

/* Whether it has control characters (C0, DEL, C1); `allow_lines` lets tab,
 * CR and LF pass. */
bool avp_text_has_controls(avp_str_t s, bool allow_lines);

/*
 * The display name of an uploaded file: the last component of either kind of
 * path, invalid UTF-8 and control characters replaced by U+FFFD, at most 255
 * bytes cut at a character, "upload" when nothing is left.  dst holds 256.
 */
void avp_display_name(char dst[256], avp_str_t filename);

/*
 * A name to choose from in a menu, out of what a file says: invalid UTF-8
 * replaced by U+FFFD, white space and control characters folded to single
 * blanks, trimmed, cut at a character.  "" when nothing is left.
 */
void avp_text_label(char *dst, size_t size, avp_str_t s);

/*
 * `attachment; filename="..."; filename*=UTF-8''...` for a title and an
 * ending without dot.  Returns the length, or -1 when it does not fit.
 */
int avp_content_disposition(char *dst, size_t size, avp_str_t title,
                            const char *ending);

/* Appends s as a JSON string with its quotes; returns bytes written or -1. */
long avp_json_escape(char *dst, size_t size, avp_str_t s);

#endif
