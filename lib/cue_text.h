/*
 * What a subtitle says, as the payload of a WebVTT cue.
 *
 * libav's decoders hand every kind of text subtitle over as an event of an
 * ASS script ("ReadOrder,Layer,Style,Name,MarginL,MarginR,MarginV,Effect,Text").
 * Of its markup italics, bold and underline are kept; everything else is left
 * out, drawings too.
 */

#ifndef AVP_CUE_TEXT_H
#define AVP_CUE_TEXT_H

#include "lib/str.h"

#define AVP_CUE_MAX 4096 /* bytes of a payload, its NUL included */

/*
 * The payload of an event: valid UTF-8, `&`, `<` and `>` escaped, no blank
 * line, no control characters but the line feeds between lines, tags closed
 * in order; cut at a character (and then closed) when it does not fit.
 * Returns its length; 0 when the event says nothing.
 */
size_t avp_cue_from_ass(char dst[AVP_CUE_MAX], avp_str_t event);

#endif
