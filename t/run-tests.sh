#!/bin/sh
# All tests, in the order in which they find mistakes cheapest:
#
#   lint   structure check, cppcheck, shellcheck
#   unit   lib/ by Check, plain and with ASan + UBSan
#   fuzz   each parser for a few seconds under ASan
#   sql    the database's functions
#   api    NGINX, PostgreSQL and Redis, without media; plain and ASan
#   media  the pipeline on clips
#   faults kills, flushes, reloads
#   e2e    the whole system, Chromium, ./avp itself
#
# Called by ./avp test [STAGE...], which has installed what is needed.  The
# last line is the sum; the exit status is 1 when anything failed.

set -u
cd "$(dirname "$0")/.." || exit 1
JOBS=$(nproc 2> /dev/null || echo 1)
PY=/usr/bin/python3
PATH=$PATH:/usr/sbin:/sbin
LC_ALL=C.UTF-8
PYTHONDONTWRITEBYTECODE=1
export PATH LC_ALL PYTHONDONTWRITEBYTECODE

OUT=$(mktemp -d /tmp/avp-test.XXXXXX)
trap 'rm -rf "$OUT"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

passed=0
failed=0
table=

# result STAGE SECONDS PASSED FAILED
result() {
    passed=$((passed + $3))
    failed=$((failed + $4))
    table="$table$(printf '%-14s %6s passed %6s failed %6s s' "$1" "$3" "$4" "$2")
"
}

heading() { printf '\n=== %s\n' "$*"; started=$(date +%s); }
seconds() { echo $(($(date +%s) - started)); }

# make_it NAME ARGUMENTS...: a build that fails counts as a failed test.
make_it() {
    name=$1
    shift
    if ! make -j"$JOBS" "$@" > "$OUT/make.log" 2>&1; then
        tail -n 40 "$OUT/make.log"
        result "build:$name" "$(seconds)" 0 1
        return 1
    fi
}

# pytest_in STAGE FOLDER [ARGUMENTS...]
pytest_in() {
    stage=$1
    shift
    heading "$stage"
    # -s would mix what parallel tests say; the rig's own words come at the end
    $PY -m pytest -q --junitxml="$OUT/junit.xml" "$@" < /dev/null
    code=$?
    counts=$($PY - "$OUT/junit.xml" << 'PYTHON'
import sys
import xml.etree.ElementTree as tree
n = bad = 0
try:
    for suite in tree.parse(sys.argv[1]).iter("testsuite"):
        n += int(suite.get("tests"))
        # a test that was skipped has not passed
        bad += sum(int(suite.get(k)) for k in ("errors", "failures",
                                               "skipped"))
except (OSError, tree.ParseError):
    bad = 1
print(max(0, n - bad), bad)
PYTHON
    )
    rm -f "$OUT/junit.xml"
    ok=${counts% *}
    bad=${counts#* }
    # 0: fine, 1: failures (counted); all else went wrong as a whole
    [ "$code" -le 1 ] || [ "$bad" -gt 0 ] || bad=1
    result "$stage" "$(seconds)" "$ok" "$bad"
}

parallel="-n $JOBS --dist loadfile"

stage_lint() {
    heading lint
    if make -s lint; then result lint "$(seconds)" 1 0
    else result lint "$(seconds)" 0 1; fi
}

# check_counts: of Check's summary, "97%: Checks: 30, Failures: 1, Errors: 0"
unit_in() {
    name=$1
    shift
    heading "unit ($name)"
    make_it "$name" -s "$@" "${unit_binary:?}" || return 0
    timeout 300 "$unit_binary" > "$OUT/unit.log" 2>&1
    code=$?
    cat "$OUT/unit.log"
    checks=$(sed -n 's/.*Checks: \([0-9]*\),.*/\1/p' "$OUT/unit.log" |
        awk '{ n += $1 } END { print n + 0 }')
    bad=$(sed -n 's/.*Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2/p' \
        "$OUT/unit.log" | awk '{ n += $1 + $2 } END { print n + 0 }')
    if [ $code -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    if [ "$checks" -eq 0 ]; then checks=1 bad=1; fi
    result "unit ($name)" "$(seconds)" $((checks - bad)) "$bad"
}

stage_unit() {
    unit_binary=build/unit-tests
    unit_in plain
    unit_binary=build-asan/unit-tests
    unit_in asan ASAN=1
}

stage_fuzz() {
    heading fuzz
    ok=0
    bad=0
    for source in t/fuzz/*.c; do
        [ -e "$source" ] || continue
        name=$(basename "$source" .c)
        if make -s "fuzz-$name" > "$OUT/fuzz.log" 2>&1; then
            ok=$((ok + 1))
            printf '%-20s %s runs\n' "$name" "$(sed -n \
                's/^stat::number_of_executed_units: *//p' "$OUT/fuzz.log")"
        else
            bad=$((bad + 1))
            echo "$name:"
            tail -n 40 "$OUT/fuzz.log"
        fi
    done
    [ $((ok + bad)) -gt 0 ] || bad=1
    result fuzz "$(seconds)" $ok $bad
}

stage_sql() {
    heading "build"
    make_it workerd -s workerd || return 0
    # shellcheck disable=SC2086
    pytest_in sql $parallel t/sql
}

stage_api() {
    heading "build"
    make_it api -s workerd module || return 0
    # shellcheck disable=SC2086
    pytest_in api $parallel t/api
    heading "build (asan)"
    make_it asan -s ASAN=1 workerd module || return 0
    # shellcheck disable=SC2086
    AVP_BUILD=build-asan pytest_in "api (asan)" $parallel t/api
}

stage_media() {
    heading "build"
    make_it media -s workerd packtool || return 0
    # shellcheck disable=SC2086
    pytest_in media $parallel t/media
}

stage_faults() {
    heading "build"
    make_it faults -s workerd module || return 0
    # shellcheck disable=SC2086
    pytest_in faults $parallel t/faults
}

# playwright-core for the browser
browser_tools() {
    [ ! -e t/e2e/node_modules/playwright-core ] || return 0
    heading "npm: playwright-core"
    if ! ( cd t/e2e && NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
            npm ci --ignore-scripts --no-audit --no-fund \
            > "$OUT/npm.log" 2>&1 < /dev/null ); then
        cat "$OUT/npm.log"
        result "npm" "$(seconds)" 0 1
        return 1
    fi
}

stage_e2e() {
    heading "build"
    make_it e2e -s workerd module player || return 0
    browser_tools || return 0
    pytest_in e2e t/e2e
}

stage_coverage() {
    heading "build (coverage)"
    make_it coverage -s COVERAGE=1 workerd module packtool build-cov/unit-tests \
        player || return 0
    browser_tools || return 0
    find build-cov -name '*.gcda' -delete
    unit_binary=build-cov/unit-tests
    unit_in coverage COVERAGE=1
    AVP_BUILD=build-cov
    export AVP_BUILD
    # ./avp's own tests build for themselves; the rest counts
    for f in sql api faults media e2e/test_main_job.py; do
        pytest_in "${f%%/*} (coverage)" "t/$f"
    done
    unset AVP_BUILD
    heading "line coverage"
    if $PY t/coverage.py build-cov --floor lib=85; then
        result coverage "$(seconds)" 1 0
    else
        result coverage "$(seconds)" 0 1
    fi
}

if [ -n "${AVP_COVERAGE:-}" ]; then
    stage_coverage
else
    wanted=
    for s in "$@"; do
        case $s in
        all) wanted="$wanted lint unit fuzz sql api media faults e2e" ;;
        lint|unit|fuzz|sql|api|media|faults|e2e) wanted="$wanted $s" ;;
        *) echo "run-tests: there is no stage $s" >&2; exit 2 ;;
        esac
    done
    for s in ${wanted:-lint unit fuzz sql api media faults e2e}; do
        "stage_$s"
    done
fi

printf '\n%s\n%d passed, %d failed\n' "$table" "$passed" "$failed"
[ "$failed" -eq 0 ]
