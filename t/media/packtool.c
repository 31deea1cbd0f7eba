/*
 * packtool: feeds the packagers with the packets of a media file, so that
 * they can be tested without the pipeline.
 *
 *   packtool package SRC OUTDIR [--webm] [--budget N] [--cap N] [--no-audio]
 *            [--rungs 480p,720p] [--audio-first] [--copied]
 *            [--sound NAME:LABEL:LANGUAGE:FLAGS]...
 *            [--text NAME:LABEL:LANGUAGE:FLAGS:CUES]...
 *   packtool images SRC OUTDIR [--duration SECONDS]
 *   packtool clip OUT.mp4 ...            (as workerd clip)
 *
 * package: audio and video are written by a thread each, as in the media process.
 * --copied tells the packager where the key frames are.  --sound adds a rendition of the same packets; FLAGS are letters: d default,
 * s surround, a audio description, f forced, c captions.  CUES is a file of
 * lines "start end payload", times in us, "\\n" for a line's end.
 * Prints one JSON object per line: what became playable and each rendition.
 * The source's time stamps are moved so that they keep the contract of
 * package.h: first frame at 0, priming before 0.
 */

#include "workerd/commands.h"
#include "workerd/media/images.h"
#include "workerd/media/out.h"
#include "workerd/media/package.h"

#include <libavutil/avstring.h>
#include <libavutil/mem.h>

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RUNGS 4
#define SOUNDS 12

typedef struct {
    AVPacket        **packets;
    size_t            n;
    avp_stream_spec_t spec;
} source_t;

static source_t         sources[2];
static avp_packager_t  *files[RUNGS];
static avp_hls_track_t *video_tracks[RUNGS], *sounds[1 + SOUNDS];
static char            *sound_args[SOUNDS], *text_args[SOUNDS];
static int              nsounds, nsound_args, ntext_args;
static int              nrungs, with_audio = 1, failed;
static pthread_barrier_t barrier;
static int              audio_first, copied;

static int
fail(const char *what, int err)
{
    fprintf(stderr, "packtool: %s: %s\n", what, av_err2str(err));
    return err;
}

/* Reads all packets of the best stream of a kind. */
static int
read_source(source_t *s, const char *path, enum AVMediaType kind)
{
    AVFormatContext *ctx = NULL;
    AVPacket        *pkt = av_packet_alloc();
    AVStream        *st;
    int64_t          first = INT64_MAX;
    int              i, ret;

    ret = avformat_open_input(&ctx, path, NULL, NULL);
    if (ret < 0 || (ret = avformat_find_stream_info(ctx, NULL)) < 0) {
        return fail(path, ret);
    }
    i = av_find_best_stream(ctx, kind, -1, -1, NULL, 0);
    if (i < 0) {
        av_packet_free(&pkt);
        avformat_close_input(&ctx);
        return 0;
    }
    st = ctx->streams[i];
    while (av_read_frame(ctx, pkt) >= 0) {
        if (pkt->stream_index == i) {
            s->packets = realloc(s->packets, (s->n + 1) * sizeof(pkt));
            s->packets[s->n++] = av_packet_clone(pkt);
            if (pkt->pts < first) {
                first = pkt->pts;
            }
        }
        av_packet_unref(pkt);
    }
    av_packet_free(&pkt);

    s->spec.par = avcodec_parameters_alloc();
    avcodec_parameters_copy((AVCodecParameters *)s->spec.par, st->codecpar);
    s->spec.time_base = st->time_base;
    s->spec.cap = st->codecpar->bit_rate;
    if (kind == AVMEDIA_TYPE_VIDEO) {
        s->spec.frame_rate = st->avg_frame_rate;
        s->spec.bufsize = 2 * s->spec.cap;
        for (size_t k = 0; k < s->n; k++) {
            s->packets[k]->pts -= first;
            s->packets[k]->dts -= first;
        }
    } else if (first < 0) {
        AVRational sample = { 1, st->codecpar->sample_rate };

        if (st->codecpar->initial_padding == 0) {
            ((AVCodecParameters *)s->spec.par)->initial_padding =
                (int)av_rescale_q(-first, st->time_base, sample);
        }
    }
    av_strlcpy(s->spec.language, "eng", sizeof(s->spec.language));
    avformat_close_input(&ctx);
    return 0;
}

/* Where the key frames of a source are, and its end. */
static void
find_keys(source_t *s)
{
    int64_t *keys = calloc(s->n, sizeof(*keys));

    for (size_t i = 0; i < s->n; i++) {
        const AVPacket *p = s->packets[i];
        int64_t         end = av_rescale_q(p->pts + p->duration,
                                           s->spec.time_base, AV_TIME_BASE_Q);

        if (p->flags & AV_PKT_FLAG_KEY) {
            keys[s->spec.nkeys++] =
                av_rescale_q(p->pts, s->spec.time_base, AV_TIME_BASE_Q);
        }
        if (end > s->spec.keys_end_us) {
            s->spec.keys_end_us = end;
        }
    }
    s->spec.key_us = keys;
}

static void
free_source(source_t *s)
{
    AVCodecParameters *par = (AVCodecParameters *)s->spec.par;

    for (size_t i = 0; i < s->n; i++) {
        av_packet_free(&s->packets[i]);
    }
    free(s->packets);
    free((void *)(uintptr_t)s->spec.key_us);
    avcodec_parameters_free(&par);
}

static void
check(const char *what, int ret)
{
    if (ret < 0 && !__atomic_exchange_n(&failed, ret, __ATOMIC_SEQ_CST)) {
        fail(what, ret);
    }
}

static void *
feed(void *arg)
{
    int       which = arg == &sources[AVP_PKT_AUDIO];
    source_t *s = arg;

    if (which == AVP_PKT_VIDEO && audio_first) {
        pthread_barrier_wait(&barrier);
    }
    for (size_t i = 0; i < s->n && !failed; i++) {
        for (int r = 0; r < nrungs; r++) {
            check("file", avp_packager_write(files[r], which, s->packets[i]));
            if (which == AVP_PKT_VIDEO && video_tracks[r] != NULL) {
                check("hls", avp_hls_write(video_tracks[r], s->packets[i]));
            }
        }
        for (int a = 0; a < nsounds && which == AVP_PKT_AUDIO; a++) {
            check("hls audio", avp_hls_write(sounds[a], s->packets[i]));
        }
    }
    for (int r = 0; r < nrungs && !failed; r++) {
        check("end", avp_packager_end(files[r], which));
        if (which == AVP_PKT_VIDEO && video_tracks[r] != NULL) {
            check("hls end", avp_hls_end(video_tracks[r]));
        }
    }
    for (int a = 0; a < nsounds && which == AVP_PKT_AUDIO && !failed; a++) {
        check("hls audio end", avp_hls_end(sounds[a]));
    }
    if (which == AVP_PKT_AUDIO && audio_first) {
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

static void
print_rendition(const avp_rendition_t *r)
{
    char mime[2 * sizeof(r->mime)], *d = mime;

    for (const char *s = r->mime; *s; s++) {
        if (*s == '"') {
            *d++ = '\\';
        }
        *d++ = *s;
    }
    *d = '\0';
    printf("{\"format\": \"%s\", \"quality\": \"%s\", \"path\": \"%s\", "
           "\"size\": %lld, \"duration\": %.6f, \"bitrate\": %lld, "
           "\"codec\": \"%s\", \"mime\": \"%s\", \"width\": %d, "
           "\"height\": %d}\n",
           r->format, r->quality, r->path, (long long)r->size, r->duration,
           (long long)r->bitrate, r->codec, mime, r->width, r->height);
}

/* How many lines of a file below the folder begin so; -1: no such file. */
static int
count_lines(int dirfd, const char *path, const char *begin)
{
    char  line[256];
    int   fd = openat(dirfd, path, O_RDONLY), n = 0;
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

    if (f == NULL) {
        return -1;
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        n += strncmp(line, begin, strlen(begin)) == 0;
    }
    fclose(f);
    return n;
}

/* Says what a player would find at that moment. */
static void
on_playable(void *ctx)
{
    int dirfd = *(int *)ctx;

    printf("{\"playable\": {\"variants\": %d, \"video\": %d, "
           "\"audio\": %d}}\n",
           count_lines(dirfd, "hls/live-master.m3u8", "#EXT-X-STREAM-INF"),
           count_lines(dirfd, "hls/480p/live.m3u8", "#EXTINF"),
           count_lines(dirfd, "hls/audio/live.m3u8", "#EXTINF"));
    fflush(stdout);
}

/* The part of an argument up to the next colon. */
static char *
part(char **arg)
{
    char *s = strsep(arg, ":");

    return s != NULL ? s : (char *)"";
}

static int
open_sound(avp_hls_t *hls, char *arg)
{
    avp_stream_spec_t spec = sources[1].spec;
    avp_hls_sound_t   sound = { .spec = &spec };
    char             *flags;

    sound.name = part(&arg);
    sound.label = part(&arg);
    av_strlcpy(spec.language, part(&arg), sizeof(spec.language));
    flags = part(&arg);
    sound.is_default = strchr(flags, 'd') != NULL;
    sound.surround = strchr(flags, 's') != NULL;
    sound.described = strchr(flags, 'a') != NULL;
    return avp_hls_audio(hls, &sounds[nsounds++], &sound);
}

/* A text track with all its cues; says how many were dropped. */
static int
add_text(avp_hls_t *hls, char *arg)
{
    avp_hls_text_spec_t spec = { 0 };
    avp_hls_text_t     *t;
    char               *flags, *line = NULL, *payload, *p;
    size_t              room = 0;
    int                 ret, dropped = 0;
    FILE               *f;

    spec.name = part(&arg);
    spec.label = part(&arg);
    spec.language = part(&arg);
    flags = part(&arg);
    spec.is_default = strchr(flags, 'd') != NULL;
    spec.forced = strchr(flags, 'f') != NULL;
    spec.captions = strchr(flags, 'c') != NULL;
    ret = avp_hls_text(hls, &t, &spec);
    f = fopen(part(&arg), "r");
    if (f == NULL) {
        return AVERROR(errno);
    }
    while (ret >= 0 && getline(&line, &room, f) > 0) {
        int64_t start = strtoll(line, &payload, 10);
        int64_t end = strtoll(payload, &payload, 10);

        payload[strcspn(payload, "\n")] = '\0';
        payload += *payload == ' ';
        while ((p = strstr(payload, "\\n")) != NULL) {
            *p = '\n';
            memmove(p + 1, p + 2, strlen(p + 2) + 1);
        }
        ret = avp_hls_text_cue(t, start, end, payload);
        dropped += ret > 0;
    }
    free(line);
    fclose(f);
    printf("{\"dropped\": %d}\n", dropped);
    return ret < 0 ? ret : avp_hls_text_end(t);
}

static int
open_all(avp_out_t *out, avp_hls_t *hls, int webm, char *rungs)
{
    const avp_stream_spec_t *audio = with_audio ? &sources[1].spec : NULL;
    char                    *save = NULL;
    int                      ret = 0;

    if (audio != NULL && !webm) {
        avp_hls_sound_t sound = { .spec = audio,
                                  .name = "audio",
                                  .label = "Audio",
                                  .is_default = true };

        ret = avp_hls_audio(hls, &sounds[nsounds++], &sound);
    }
    for (int i = 0; i < nsound_args && ret >= 0; i++) {
        ret = open_sound(hls, sound_args[i]);
    }
    for (int i = 0; i < ntext_args && ret >= 0; i++) {
        ret = add_text(hls, text_args[i]);
    }
    for (char *r = strtok_r(rungs, ",", &save); r != NULL && ret >= 0;
         r = strtok_r(NULL, ",", &save)) {
        ret = webm ? avp_webm_open(&files[nrungs], out, r, &sources[0].spec,
                                   audio)
                   : avp_mp4_open(&files[nrungs], out, r, &sources[0].spec,
                                  audio);
        if (ret >= 0 && !webm) {
            ret = avp_hls_video(hls, &video_tracks[nrungs], r,
                                &sources[0].spec);
        }
        nrungs += ret >= 0;
    }
    return ret;
}

static int
finish_all(avp_out_t *out, avp_hls_t *hls, int webm)
{
    avp_rendition_t r, all[RUNGS];
    int             n;

    for (int i = 0; i < nrungs && !failed; i++) {
        check("finish", avp_packager_finish(files[i], &r));
        if (!failed) {
            print_rendition(&r);
        }
    }
    if (!webm && !failed) {
        n = avp_hls_finish(hls, all, RUNGS);
        check("hls finish", n);
        for (int i = 0; i < n; i++) {
            print_rendition(&all[i]);
        }
    }
    if (!failed) {
        check("sync", avp_out_sync(out));
        printf("{\"bytes\": %lld}\n", (long long)avp_out_bytes(out));
    }
    return failed;
}

static int
package(const char *src, const char *dir, int webm, int64_t budget, int64_t cap,
        char *rungs)
{
    avp_out_t *out;
    avp_hls_t *hls;
    pthread_t  threads[2];
    int        dirfd = open(dir, O_RDONLY | O_DIRECTORY);
    int        running = 0, ret = 0;

    for (int i = 0; i < 2 && ret >= 0; i++) {
        ret = read_source(&sources[i], src,
                          i ? AVMEDIA_TYPE_AUDIO : AVMEDIA_TYPE_VIDEO);
    }
    if (ret < 0 || sources[0].n == 0) {
        return 1;
    }
    if (copied) {
        find_keys(&sources[0]);
    }
    with_audio = with_audio && sources[1].n > 0;
    audio_first = audio_first && with_audio;
    if (cap > 0) {
        sources[0].spec.cap = cap;
        sources[0].spec.bufsize = 2 * cap;
    }
    if (avp_out_open(&out, dirfd, budget) < 0 ||
        avp_hls_open(&hls, out) < 0) {
        return 1;
    }
    avp_hls_on_playable(hls, on_playable, &dirfd);
    check("open", open_all(out, hls, webm, rungs));
    pthread_barrier_init(&barrier, NULL, 2);
    for (int i = 0; i < 1 + with_audio && !failed; i++) {
        running += pthread_create(&threads[i], NULL, feed, &sources[i]) == 0;
    }
    for (int i = 0; i < running; i++) {
        pthread_join(threads[i], NULL);
    }
    finish_all(out, hls, webm);
    for (int i = 0; i < RUNGS; i++) {
        avp_packager_free(files[i]);
    }
    avp_hls_free(hls);
    avp_out_free(out);
    free_source(&sources[0]);
    free_source(&sources[1]);
    return failed != 0;
}

/* Every decoded frame goes to the storyboard, every 25th to the poster. */
static int
offer(AVCodecContext *dec, AVFrame *frame, AVRational tb, avp_poster_t *poster,
      avp_storyboard_t *board, double *end, int *n)
{
    int ret;

    while ((ret = avcodec_receive_frame(dec, frame)) >= 0) {
        double t = (double)frame->best_effort_timestamp * av_q2d(tb);

        if ((*n)++ % 25 == 0) {
            check("poster", avp_poster_offer(poster, frame));
        }
        check("storyboard", avp_storyboard_offer(board, frame, t));
        *end = t;
    }
    return ret;
}

static int
images(const char *src, const char *dir, double duration)
{
    AVFormatContext  *ctx = NULL;
    const AVCodec    *codec;
    AVCodecContext   *dec;
    AVFrame          *frame = av_frame_alloc();
    AVPacket         *pkt = av_packet_alloc();
    avp_out_t        *out;
    avp_poster_t     *poster;
    avp_storyboard_t *board;
    double            end = 0;
    int               i, n = 0;

    if (avformat_open_input(&ctx, src, NULL, NULL) < 0 ||
        avformat_find_stream_info(ctx, NULL) < 0 ||
        (i = av_find_best_stream(ctx, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0)) <
            0) {
        return fail(src, AVERROR_INVALIDDATA) != 0;
    }
    dec = avcodec_alloc_context3(codec);
    avcodec_parameters_to_context(dec, ctx->streams[i]->codecpar);
    check("decoder", avcodec_open2(dec, codec, NULL));
    check("out", avp_out_open(&out, open(dir, O_RDONLY | O_DIRECTORY), -1));
    check("poster", avp_poster_open(&poster, out));
    check("storyboard",
          avp_storyboard_open(&board, out, dec->width, dec->height, duration));
    while (!failed && av_read_frame(ctx, pkt) >= 0) {
        if (pkt->stream_index == i && avcodec_send_packet(dec, pkt) >= 0) {
            offer(dec, frame, ctx->streams[i]->time_base, poster, board, &end,
                  &n);
        }
        av_packet_unref(pkt);
    }
    avcodec_send_packet(dec, NULL);
    offer(dec, frame, ctx->streams[i]->time_base, poster, board, &end, &n);
    check("poster", avp_poster_finish(poster));
    check("poster", avp_poster_webp(poster));
    check("storyboard", avp_storyboard_finish(board, end));
    avp_poster_free(poster);
    avp_storyboard_free(board);
    avp_out_free(out);
    av_frame_free(&frame);
    av_packet_free(&pkt);
    avcodec_free_context(&dec);
    avformat_close_input(&ctx);
    return failed != 0;
}

/* workerd's is in main.c. */
void
avp_command_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

int
main(int argc, char **argv)
{
    static const struct option options[] = {
        { "webm", no_argument, NULL, 'w' },
        { "budget", required_argument, NULL, 'b' },
        { "cap", required_argument, NULL, 'c' },
        { "no-audio", no_argument, NULL, 'n' },
        { "rungs", required_argument, NULL, 'r' },
        { "audio-first", no_argument, NULL, 'a' },
        { "duration", required_argument, NULL, 'd' },
        { "copied", no_argument, NULL, 'k' },
        { "sound", required_argument, NULL, 's' },
        { "text", required_argument, NULL, 't' },
        { NULL, 0, NULL, 0 },
    };
    char    rungs[64] = "480p";
    int     webm = 0, c;
    int64_t budget = -1, cap = 0;
    double  duration = 0;

    if (argc > 1 && strcmp(argv[1], "clip") == 0) {
        return avp_clip_main(argc - 1, argv + 1);
    }
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'w':
            webm = 1;
            break;
        case 'b':
            budget = atoll(optarg);
            break;
        case 'c':
            cap = atoll(optarg);
            break;
        case 'n':
            with_audio = 0;
            break;
        case 'r':
            av_strlcpy(rungs, optarg, sizeof(rungs));
            break;
        case 'a':
            audio_first = 1;
            break;
        case 'd':
            duration = atof(optarg);
            break;
        case 'k':
            copied = 1;
            break;
        case 's':
            sound_args[nsound_args] = optarg;
            nsound_args += nsound_args + 1 < SOUNDS;
            break;
        case 't':
            text_args[ntext_args] = optarg;
            ntext_args += ntext_args + 1 < SOUNDS;
            break;
        default:
            return 2;
        }
    }
    if (argc - optind == 3 && strcmp(argv[optind], "package") == 0) {
        return package(argv[optind + 1], argv[optind + 2], webm, budget, cap,
                       rungs);
    }
    if (argc - optind == 3 && strcmp(argv[optind], "images") == 0) {
        return images(argv[optind + 1], argv[optind + 2], duration);
    }
    fprintf(stderr, "usage: packtool package|images SRC OUTDIR [options]\n");
    return 2;
}
