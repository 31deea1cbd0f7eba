/*
 * What the media process says, as the supervisor reads it: any bytes.  Holds
 * that nothing crashes, and that what is accepted keeps the promises that the
 * supervisor builds on: bounded clean text, numbers in range, a document that
 * parses again.
 */

#include "lib/media_message.h"
#include "lib/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(int condition)
{
    if (!condition) {
        abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    avp_media_message_t m;
    const char         *why = NULL;
    char               *doc;

    if (avp_media_message_parse(&m, (avp_str_t){ (const char *) data, size })
        == 0)
    {
        must(memchr(m.text, '\0', sizeof(m.text)) != NULL);
        must(!avp_text_has_controls(avp_str_c(m.text), false));
        must(m.progress >= 0 && m.progress <= 99 && m.eta >= -1);
        must(m.memory_bytes >= 0 && m.output_bytes >= 0);
        must(m.cpu_seconds >= 0 && m.duration >= 0);
        must((m.doc != NULL)
             == (m.kind == AVP_MEDIA_DONE || m.kind == AVP_MEDIA_PLAYABLE));
        if (m.doc != NULL) {
            must(avp_media_doc_check(m.doc, &why) == 0 || why != NULL);
        }
    } else {
        must(m.doc == NULL);
    }
    avp_media_message_free(&m);

    doc = malloc(size + 1);
    must(doc != NULL);
    if (size > 0) {
        memcpy(doc, data, size);
    }
    doc[size] = '\0';
    (void) avp_media_doc_check(doc, &why);
    free(doc);
    return 0;
}
