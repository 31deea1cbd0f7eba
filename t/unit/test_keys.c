#include "t/unit/unit.h"
#include "workerd/media/keys.h"

#include <string.h>

/* As x264 writes it for 64x48 at 25 frames a second, High. */
static const uint8_t avcc[] = {
    0x01, 0x64, 0x00, 0x0a, 0xff, 0xe1, 0x00, 0x18, 0x67, 0x64, 0x00, 0x0a,
    0xac, 0xd9, 0x44, 0x7b, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00,
    0x00, 0x03, 0x03, 0x20, 0xf1, 0x22, 0x59, 0x60, 0x01, 0x00, 0x06, 0x68,
    0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0xfd, 0xf8, 0xf8, 0x00
};

static avp_avcc_t
record(void)
{
    avp_avcc_t a;

    ck_assert_int_eq(avp_avcc_parse(&a, avcc, sizeof(avcc)), 0);
    return a;
}

START_TEST(records)
{
    avp_avcc_t a = record();

    ck_assert_int_eq(a.length_size, 4);
    ck_assert_int_eq(a.nsps, 1);
    ck_assert_int_eq(a.nsets, 2);
    ck_assert_uint_eq(a.sizes[0], 24);
    ck_assert_uint_eq(a.sizes[1], 6);

    /* cut off anywhere within its sets (what follows them is not read) */
    for (size_t n = 0; n < 41; n++) {
        ck_assert_int_eq(avp_avcc_parse(&a, avcc, n), -1);
    }
}
END_TEST

START_TEST(sequence_sets)
{
    avp_avcc_t a = record();
    avp_sps_t  s;

    ck_assert_int_eq(avp_sps_parse(&s, a.sets[0], a.sizes[0]), 0);
    ck_assert_int_eq(s.profile, 100);
    ck_assert_int_eq(s.level, 10);
    ck_assert_int_eq(s.chroma, 1);
    ck_assert_int_eq(s.depth, 8);
    ck_assert(s.progressive);
    ck_assert_int_eq(avp_sps_parse(&s, a.sets[1], a.sizes[1]), -1);
    ck_assert_int_eq(avp_sps_parse(&s, a.sets[0], 4), -1);
}
END_TEST

/* A unit with its length in front. */
static size_t
unit(uint8_t *p, const uint8_t *data, size_t size)
{
    p[0] = p[1] = p[2] = 0;
    p[3] = (uint8_t)size;
    memcpy(p + 4, data, size);
    return size + 4;
}

START_TEST(packets)
{
    static const uint8_t idr[] = { 0x65, 1, 2 }, slice[] = { 0x41, 1, 2 };
    static const uint8_t a53[] = { 0x06, 4,   14,  0xb5, 0x00, 0x31, 'G',
                                   'A',  '9', '4', 0x03, 0x41, 0xff, 0xfc,
                                   0x94, 0x2c, 0xff, 0x80 };
    static const uint8_t note[] = { 0x06, 5, 4, 'n', 'o', 't', 'e', 0x80 };
    avp_avcc_t a = record();
    uint8_t    p[128], other[24];
    size_t     n;

    n = unit(p, idr, sizeof(idr));
    ck_assert_uint_eq(avp_nal_look(&a, p, n, true), AVP_NAL_IDR);
    n = unit(p, slice, sizeof(slice));
    ck_assert_uint_eq(avp_nal_look(&a, p, n, true), AVP_NAL_SLICE);

    /* its own sets again are nothing new, others are */
    n = unit(p, a.sets[0], a.sizes[0]);
    n += unit(p + n, a.sets[1], a.sizes[1]);
    n += unit(p + n, note, sizeof(note));
    n += unit(p + n, idr, sizeof(idr));
    ck_assert_uint_eq(avp_nal_look(&a, p, n, true), AVP_NAL_IDR);
    memcpy(other, a.sets[0], sizeof(other));
    other[3] = 0x1f;
    n = unit(p, other, sizeof(other));
    n += unit(p + n, idr, sizeof(idr));
    ck_assert_uint_eq(avp_nal_look(&a, p, n, true),
                      AVP_NAL_IDR | AVP_NAL_SETS);

    n = unit(p, a53, sizeof(a53));
    n += unit(p + n, slice, sizeof(slice));
    ck_assert_uint_eq(avp_nal_look(&a, p, n, true),
                      AVP_NAL_SLICE | AVP_NAL_CAPTIONS);

    /* a packet that is cut off is damaged, a beginning is not */
    n = unit(p, idr, sizeof(idr));
    ck_assert_uint_eq(avp_nal_look(&a, p, n - 1, true), AVP_NAL_BAD);
    ck_assert_uint_eq(avp_nal_look(&a, p, n - 1, false), AVP_NAL_IDR);
    ck_assert_uint_eq(avp_nal_look(&a, p, 2, false), 0);
    ck_assert_uint_eq(avp_nal_look(&a, p, 0, true), AVP_NAL_BAD);
}
END_TEST

/* Any byte may be anything: it is read within bounds (sanitizers see). */
START_TEST(no_byte_is_trusted)
{
    uint8_t    p[sizeof(avcc)];
    avp_avcc_t a;
    avp_sps_t  s;

    memcpy(p, avcc, sizeof(p));
    for (size_t i = 0; i < sizeof(p); i++) {
        uint8_t was = p[i];

        for (int v = 0; v < 256; v++) {
            p[i] = (uint8_t)v;
            if (avp_avcc_parse(&a, p, sizeof(p)) == 0) {
                for (int k = 0; k < a.nsets; k++) {
                    ck_assert(a.sets[k] + a.sizes[k] <= p + sizeof(p));
                    avp_sps_parse(&s, a.sets[k], a.sizes[k]);
                }
                avp_nal_look(&a, p, sizeof(p), true);
                avp_nal_look(&a, p, sizeof(p), false);
            }
        }
        p[i] = was;
    }
}
END_TEST

UNIT_SUITE(keys, records, sequence_sets, packets, no_byte_is_trusted)
