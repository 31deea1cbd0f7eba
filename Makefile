# Async Video Processing: what builders need. People want ./avp.
#
#   make                 module and workerd
#   make unit            unit tests of lib/ (Check)
#   make fuzz            each fuzz target for a few seconds, ASan (build-fuzz/)
#   make lint            structure check, cppcheck, shellcheck
#   make format          clang-format over lib, workerd and t
#   make ASAN=1          the same with AddressSanitizer and UBSan (build-asan/)
#   make COVERAGE=1      the same with gcov counters (build-cov/)
#   make coverage        line coverage of what has run with COVERAGE=1
#   make install DESTDIR=
#   make dist            avp-VERSION.tar.gz of what is committed

CC       ?= cc
PKG      ?= pkg-config
PREFIX   ?= /usr
NGX_SRC  ?= /usr/share/nginx/src
MODULEDIR ?= $(PREFIX)/lib/nginx/modules
SHAREDIR  ?= $(PREFIX)/share/avp
DOCDIR    ?= $(PREFIX)/share/doc/avp
SYSCONFDIR ?= /etc
SYSTEMDDIR ?= $(PREFIX)/lib
VERSION   := 0.1.0

ifeq ($(ASAN),1)
BUILD    ?= build-asan
SAN      := -fsanitize=address,undefined -fno-sanitize-recover=undefined -U_FORTIFY_SOURCE
OPT      := -O1 -g -fno-omit-frame-pointer
else ifeq ($(COVERAGE),1)
BUILD    ?= build-cov
SAN      := --coverage -DAVP_COVERAGE
OPT      := -O0 -g
else
BUILD    ?= build
SAN      :=
OPT      := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection
endif

WARN     := -std=gnu11 -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla
CPPFLAGS += -I. -D_GNU_SOURCE -DAVP_VERSION='"$(VERSION)"'
CFLAGS   += $(OPT) $(WARN) $(SAN) -fPIE -MMD -MP
LDFLAGS  += -pie -Wl,-z,relro,-z,now $(SAN)

LIB_PKGS      := jansson openssl libjwt
SUPERVISOR_PKGS := libpq hiredis libcurl libmicrohttpd
MEDIA_PKGS    := libavformat libavcodec libavfilter libswscale libswresample libavutil libseccomp zlib

PKG_CFLAGS    := $(shell $(PKG) --cflags $(LIB_PKGS) $(SUPERVISOR_PKGS) $(MEDIA_PKGS))
LIB_LIBS      := $(shell $(PKG) --libs $(LIB_PKGS)) -largon2
WORKERD_LIBS  := $(LIB_LIBS) $(shell $(PKG) --libs $(SUPERVISOR_PKGS) $(MEDIA_PKGS)) -lpthread -lm

LIB_SRCS      := $(wildcard lib/*.c)
WORKERD_SRCS  := $(wildcard workerd/*.c workerd/supervisor/*.c workerd/media/*.c)
UNIT_SRCS     := $(wildcard t/unit/*.c)

# objects have a folder of their own: build/workerd is the program
OBJ           := $(BUILD)/obj
LIB_OBJS      := $(LIB_SRCS:%.c=$(OBJ)/%.o)
WORKERD_OBJS  := $(WORKERD_SRCS:%.c=$(OBJ)/%.o)
UNIT_OBJS     := $(UNIT_SRCS:%.c=$(OBJ)/%.o)

MODULE        := $(BUILD)/ngx_http_avp_module.so
WORKERD       := $(BUILD)/workerd

.PHONY: all module workerd packtool unit fuzz lint format coverage player install dist clean

all: module workerd
workerd: $(WORKERD)
module: $(MODULE)

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(PKG_CFLAGS) $(CFLAGS) -c -o $@ $<

$(BUILD)/libavp.a: $(LIB_OBJS)
	rm -f $@
	$(AR) rcs $@ $^

$(WORKERD): $(WORKERD_OBJS) $(BUILD)/libavp.a
	$(CC) $(LDFLAGS) -o $@ $^ $(WORKERD_LIBS)

# The module is built by NGINX's own build system, out of its source tree;
# configure runs again only when the build script or the list of files changes.
MODULE_DEPS   := $(wildcard lib/*.[ch] ngx_module/*.[ch] ngx_module/*/*.[ch])

$(MODULE): $(MODULE_DEPS) config ngx_module/build.sh
	+AVP_BUILD="$(CURDIR)/$(BUILD)" NGX_SRC="$(NGX_SRC)" ASAN="$(ASAN)" COVERAGE="$(COVERAGE)" \
	  bash ngx_module/build.sh "$(CURDIR)"

UNIT_WORKERD_OBJS := $(patsubst %,$(OBJ)/workerd/%.o,media/sandbox \
                   media/progress \
                   media/sandbox_filter media/sandbox_landlock \
                   media/sandbox_trap \
                   media/playlist media/master media/codec_string \
                   media/fragment media/limiter media/fits media/keys \
                   media/plan media/estimate media/passthrough \
                   log supervisor/store_file supervisor/child \
                   supervisor/guard supervisor/redis)

$(BUILD)/unit-tests: $(UNIT_OBJS) $(UNIT_WORKERD_OBJS) $(BUILD)/libavp.a
	$(CC) $(LDFLAGS) -o $@ $^ $(LIB_LIBS) $(shell $(PKG) --libs check libseccomp hiredis libavutil) -lm

# Feeds the packagers without the pipeline; t/media/test_package.py runs it.
PACKTOOL_OBJS := $(patsubst %,$(OBJ)/workerd/media/%.o,out package \
                   package_mp4 package_webm package_hls hls_finish hls_dash \
                   hls_text \
                   hls_track fragment \
                   playlist master codec_string picture poster thumbnails \
                   storyboard preview clip)

packtool: $(BUILD)/packtool

$(BUILD)/packtool: $(OBJ)/t/media/packtool.o $(PACKTOOL_OBJS) $(BUILD)/libavp.a
	$(CC) $(LDFLAGS) -o $@ $^ $(shell $(PKG) --libs $(MEDIA_PKGS)) -lpthread -lm

unit: $(BUILD)/unit-tests
	$(BUILD)/unit-tests

# libFuzzer: one program per file of t/fuzz, its seeds in t/fuzz/corpus/NAME.
# What is found new goes to build-fuzz/, so that the tree stays clean.
FUZZ_CC       ?= clang
FUZZ_SECONDS  ?= 5
FUZZ_SECONDS_multipart ?= 20
FUZZ_FLAGS    := -I. -D_GNU_SOURCE -std=gnu11 -Wall -Wextra -Werror -O1 -g \
                 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
                 -fno-sanitize-recover=undefined
FUZZERS       := $(patsubst t/fuzz/%.c,build-fuzz/%,$(wildcard t/fuzz/*.c))
FUZZ_OBJS     := $(LIB_SRCS:%.c=build-fuzz/obj/%.o)

build-fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_CC) $(FUZZ_FLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

build-fuzz/%: build-fuzz/obj/t/fuzz/%.o $(FUZZ_OBJS)
	$(FUZZ_CC) -fsanitize=fuzzer,address,undefined -o $@ $^ $(LIB_LIBS)

# a parser of workerd's own
build-fuzz/keys: build-fuzz/obj/workerd/media/keys.o

.SECONDARY: $(FUZZERS) $(FUZZ_OBJS) $(FUZZERS:build-fuzz/%=build-fuzz/obj/t/fuzz/%.o)

fuzz: $(FUZZERS:build-fuzz/%=fuzz-%)

fuzz-%: build-fuzz/%
	@mkdir -p build-fuzz/found/$*
	build-fuzz/$* -max_total_time=$(or $(FUZZ_SECONDS_$*),$(FUZZ_SECONDS)) \
	  -print_final_stats=1 -timeout=10 -rss_limit_mb=1024 \
	  -artifact_prefix=build-fuzz/$*- build-fuzz/found/$* \
	  $(wildcard t/fuzz/corpus/$*)

lint: $(MODULE)
	/usr/bin/python3 t/lint/structure.py --self-test
	/usr/bin/python3 t/lint/structure.py $(MODULE)
	cppcheck --quiet --error-exitcode=1 --std=c11 --inline-suppr \
	  --enable=warning,portability --suppress=missingIncludeSystem \
	  --suppress=ctuuninitvar -D_GNU_SOURCE -I. lib workerd
	@if command -v shellcheck > /dev/null; then \
	  shellcheck -s sh avp t/run-tests.sh bench/run.sh .ci/run; fi

format:
	clang-format -i $$(git ls-files 'lib/*.[ch]' 'workerd/*.[ch]' 't/*.c' 't/*.h')

coverage:
	/usr/bin/python3 t/coverage.py build-cov --files

player: build/player/hls.min.js

build/player/hls.min.js: conf/player/package.json conf/player/package-lock.json
	rm -rf build/player
	mkdir -p build/player
	cp $^ build/player
	cd build/player && NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
	  npm ci --ignore-scripts --no-audit --no-fund
	cp build/player/node_modules/hls.js/dist/hls.min.js build/player/

install: all player
	install -d $(DESTDIR)$(MODULEDIR) $(DESTDIR)$(PREFIX)/bin \
	  $(DESTDIR)$(SHAREDIR)/migrations/functions $(DESTDIR)$(SHAREDIR)/player \
	  $(DESTDIR)$(DOCDIR) $(DESTDIR)$(SYSCONFDIR)/avp \
	  $(DESTDIR)$(SYSTEMDDIR)/systemd/system $(DESTDIR)$(SYSTEMDDIR)/sysusers.d \
	  $(DESTDIR)$(SYSTEMDDIR)/tmpfiles.d
	install -m 644 $(MODULE) $(DESTDIR)$(MODULEDIR)/
	install -m 755 $(WORKERD) $(DESTDIR)$(PREFIX)/bin/
	install -m 644 migrations/*.sql $(DESTDIR)$(SHAREDIR)/migrations/
	install -m 644 migrations/functions/*.sql \
	  $(DESTDIR)$(SHAREDIR)/migrations/functions/
	install -m 644 conf/player/*.html conf/player/*.css conf/player/player.js \
	  build/player/hls.min.js $(DESTDIR)$(SHAREDIR)/player/
	install -m 644 README.md LICENSE docs/*.md $(DESTDIR)$(DOCDIR)/
	for f in nginx.conf avp.conf delivery.conf avp.env.example; do \
	  to=$(DESTDIR)$(SYSCONFDIR)/avp/$$f; \
	  [ -e "$$to" ] || install -m 644 conf/$$f "$$to" || exit 1; done
	install -m 644 conf/systemd/*.service \
	  $(DESTDIR)$(SYSTEMDDIR)/systemd/system/
	install -m 644 conf/systemd/avp.sysusers \
	  $(DESTDIR)$(SYSTEMDDIR)/sysusers.d/avp.conf
	install -m 644 conf/systemd/avp.tmpfiles \
	  $(DESTDIR)$(SYSTEMDDIR)/tmpfiles.d/avp.conf

dist:
	git archive --format=tar.gz --prefix=avp-$(VERSION)/ \
	  -o avp-$(VERSION).tar.gz HEAD

clean:
	rm -rf build build-asan build-cov build-fuzz

# Where an installed workerd finds the migrations.
$(OBJ)/workerd/cmd_migrate.o: CPPFLAGS += -DAVP_SHAREDIR='"$(SHAREDIR)"'

-include $(LIB_OBJS:.o=.d) $(WORKERD_OBJS:.o=.d) $(UNIT_OBJS:.o=.d) \
         $(OBJ)/t/media/packtool.d $(FUZZ_OBJS:.o=.d) \
         $(FUZZERS:build-fuzz/%=build-fuzz/obj/t/fuzz/%.d)
