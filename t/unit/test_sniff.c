#include "lib/sniff.h"
#include "t/unit/unit.h"

#include <stdlib.h>

/* Sniffs a copy of just that size, so that ASan sees a read behind it. */
static avp_format_t
sniff(const void *data, size_t n)
{
    uint8_t     *copy = malloc(n ? n : 1);
    avp_format_t f;

    memcpy(copy, data, n);
    f = avp_sniff(copy, n);
    free(copy);
    return f;
}

#define SNIFF(literal) sniff(literal, sizeof(literal) - 1)

START_TEST(boxes)
{
    /* as real files begin */
    ck_assert_int_eq(SNIFF("\0\0\0\x20" "ftypisom\0\0\2\0isomiso2avc1mp41"),
                     AVP_FMT_MP4);
    ck_assert_int_eq(SNIFF("\0\0\0\x18" "ftypmp42\0\0\0\0isommp42"),
                     AVP_FMT_MP4);
    ck_assert_int_eq(SNIFF("\0\0\0\x14" "ftypqt  \0\0\0\0qt  "), AVP_FMT_MOV);
    ck_assert_int_eq(SNIFF("\0\0\0\x14" "ftyp3gp5\0\0\0\0" "3gp5"),
                     AVP_FMT_3GP);
    ck_assert_int_eq(SNIFF("\0\0\0\x14" "ftyp3g2a\0\0\0\0" "3g2a"),
                     AVP_FMT_3GP);
    ck_assert_int_eq(SNIFF("\0\0\0\x14" "ftypM4V \0\0\0\0M4V "), AVP_FMT_MP4);
    ck_assert_int_eq(SNIFF("\0\0\0\x1c" "ftypavif\0\0\0\0avifmif1"),
                     AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("\0\0\0\x18" "ftypheic\0\0\0\0mif1"),
                     AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("\0\0\0\x08" "ftypisom\0\0\0\0"), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("\0\0\0\x20" "ftypiso"), AVP_FMT_UNKNOWN);

    /* QuickTime without ftyp, and fillers before it */
    ck_assert_int_eq(SNIFF("\0\0\1\0moov\0\0\0\x6cmvhd"), AVP_FMT_MOV);
    ck_assert_int_eq(SNIFF("\0\0\0\1mdat\0\0\0\0\0\0\1\0"), AVP_FMT_MOV);
    ck_assert_int_eq(SNIFF("\0\0\0\x08wide\0\x10\0\0mdat"), AVP_FMT_MOV);
    ck_assert_int_eq(SNIFF("\0\0\0\x08" "free\0\0\0\x14" "ftypmp42\0\0\0\0"),
                     AVP_FMT_MP4);
    ck_assert_int_eq(SNIFF("\0\0\0\x08skip\0\0\0\x14" "ftypqt  \0\0\0\0"),
                     AVP_FMT_MOV);
    ck_assert_int_eq(SNIFF("\0\0\x10\0" "free\0\0\0\0\0\0\0\0"), AVP_FMT_MOV);
    ck_assert_int_eq(SNIFF("\0\0\0\x18stypmsdh\0\0\0\0msdhmsix"),
                     AVP_FMT_MP4);
    ck_assert_int_eq(SNIFF("\0\0\0\4" "free\0\0\0\0"), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("\0\0\0\x10" "abcd\0\0\0\0\0\0\0\0"),
                     AVP_FMT_UNKNOWN);
}
END_TEST

START_TEST(ebml)
{
    ck_assert_int_eq(
        SNIFF("\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x1f\x42\x86\x81\1\x42\xf7\x81"
              "\1\x42\xf2\x81\4\x42\xf3\x81\x08\x42\x82\x84webm\x42\x87\x81\2"
              "\x42\x85\x81\2"), AVP_FMT_WEBM);
    ck_assert_int_eq(
        SNIFF("\x1a\x45\xdf\xa3\xa3\x42\x86\x81\1\x42\xf7\x81\1\x42\xf2\x81\4"
              "\x42\xf3\x81\x08\x42\x82\x88matroska\x42\x87\x81\4\x42\x85\x81"
              "\2\x18\x53\x80\x67"), AVP_FMT_MKV);
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\x8b\x42\x82\x88webm\0\0\0\0"),
                     AVP_FMT_WEBM);
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\xff\x42\x82\x84webm"),
                     AVP_FMT_WEBM);
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\x87\x42\x82\x84weba"),
                     AVP_FMT_UNKNOWN);
    /* behind the header's end, inside of another element, cut off */
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\x80\x42\x82\x84webm"),
                     AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\x89\xec\x87\x42\x82\x84webm"),
                     AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\x87\x42\x82\x84web"),
                     AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\x87\x42"), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\0"), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3"), AVP_FMT_UNKNOWN);
    /* damaged, but one sees what it was */
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\x87\0\x82\x84webm"),
                     AVP_FMT_WEBM);
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\x89\x08\0\0\0\x42\x82\x84"
                           "webm"), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\x8f\xec\x8f\x42\x82\x84webm"),
                     AVP_FMT_WEBM);
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\x8b\0\x42\x82\x88matroska"),
                     AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("\x1a\x45\xdf\xa3\x8c\0\x42\x82\x88matroska"),
                     AVP_FMT_MKV);
}
END_TEST

START_TEST(others)
{
    ck_assert_int_eq(SNIFF("RIFF\xf2\x3e\1\0AVI LIST"), AVP_FMT_AVI);
    ck_assert_int_eq(SNIFF("RIFF\xf2\x3e\1\0WAVEfmt "), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("RIFF\xf2\x3e\1\0AV"), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("FLV\1\1\0\0\0\x09\0\0\0\0"), AVP_FMT_FLV);
    ck_assert_int_eq(SNIFF("OggS\0\2\0\0"), AVP_FMT_OGG);
    ck_assert_int_eq(SNIFF("\0\0\1\xba\x44\0\4\0\4\1"), AVP_FMT_MPG);
    ck_assert_int_eq(SNIFF("\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0"
                           "\x62\xce\x6c\x23\3"), AVP_FMT_WMV);
    ck_assert_int_eq(SNIFF("\6\x0e\x2b\x34\2\5\1\1\x0d\1\2\1\1\2\4\0"),
                     AVP_FMT_MXF);

    ck_assert_int_eq(SNIFF(""), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("#EXTM3U\n#EXT-X-VERSION:7\n"), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("ffconcat version 1.0\nfile /etc/passwd\n"),
                     AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("<html><script>alert(1)</script>"),
                     AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("GIF89a"), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("PK\3\4\0\0\0\0\0\0\0\0"), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(SNIFF("\xff\xd8\xff\xe0\0\x10JFIF"), AVP_FMT_UNKNOWN);
}
END_TEST

static avp_format_t
packets(size_t packet, size_t first, size_t total)
{
    uint8_t     *data = calloc(1, total);
    avp_format_t f;

    for (size_t i = first; i < total; i += packet) {
        data[i] = 0x47;
    }
    f = avp_sniff(data, total);
    free(data);
    return f;
}

START_TEST(transport_streams)
{
    ck_assert_int_eq(packets(188, 0, AVP_SNIFF_MIN), AVP_FMT_TS);
    ck_assert_int_eq(packets(188, 0, 377), AVP_FMT_TS);
    ck_assert_int_eq(packets(192, 4, AVP_SNIFF_MIN), AVP_FMT_TS);
    ck_assert_int_eq(packets(204, 0, AVP_SNIFF_MIN), AVP_FMT_TS);
    ck_assert_int_eq(packets(188, 100, AVP_SNIFF_MIN), AVP_FMT_TS);
    ck_assert_int_eq(packets(188, 100, 1000), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(packets(188, 0, 376), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(packets(187, 0, AVP_SNIFF_MIN), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(packets(4096, 4095, AVP_SNIFF_MIN), AVP_FMT_UNKNOWN);
}
END_TEST

START_TEST(words)
{
    for (int i = 0; i < AVP_FMT_COUNT; i++) {
        const char *name = avp_format_name((avp_format_t)i);

        ck_assert_int_eq(avp_format_by_name(avp_str_c(name)), i);
        ck_assert_uint_eq(avp_formats_parse(avp_str_c(name)), 1u << i);
        ck_assert_ptr_nonnull(strchr(avp_format_mime((avp_format_t)i), '/'));
    }
    ck_assert_int_eq(avp_format_by_name(avp_str("MP4")), AVP_FMT_MP4);
    ck_assert_int_eq(avp_format_by_name(avp_str("mp")), AVP_FMT_UNKNOWN);
    ck_assert_int_eq(avp_format_by_name(avp_str("unknown")), AVP_FMT_UNKNOWN);
    ck_assert_str_eq(avp_format_name(AVP_FMT_UNKNOWN), "unknown");
    ck_assert_str_eq(avp_format_name((avp_format_t)77), "unknown");
    ck_assert_str_eq(avp_format_mime((avp_format_t)-1),
                     "application/octet-stream");
}
END_TEST

START_TEST(lists)
{
    ck_assert_uint_eq(avp_formats_parse(avp_str("mp4,mov,avi,mkv,webm")),
                      AVP_FMT_DEFAULT);
    ck_assert_uint_eq(avp_formats_parse(avp_str("mp4, \tMOV ,avi,mkv,webm")),
                      AVP_FMT_DEFAULT);
    ck_assert_uint_eq(avp_formats_parse(avp_str("3gp,3gp")),
                      1u << AVP_FMT_3GP);
    ck_assert_uint_eq(avp_formats_parse(avp_str("")), 0);
    ck_assert_uint_eq(avp_formats_parse((avp_str_t){ NULL, 0 }), 0);
    ck_assert_uint_eq(avp_formats_parse(avp_str(" ")), 0);
    ck_assert_uint_eq(avp_formats_parse(avp_str("mp4,")), 0);
    ck_assert_uint_eq(avp_formats_parse(avp_str(",mp4")), 0);
    ck_assert_uint_eq(avp_formats_parse(avp_str("mp4,gif")), 0);
    ck_assert_uint_eq(avp_formats_parse(avp_str("mp4 mov")), 0);
}
END_TEST

UNIT_SUITE(sniff, boxes, ebml, others, transport_streams, words, lists)
