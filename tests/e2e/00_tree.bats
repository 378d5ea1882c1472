# The tree itself: who includes whom, and that each storey is one target. An arrow that turns round is
# seen here before it is seen in a review.
#
# once: nothing here depends on who runs it

setup() {
    ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd -P)
    cd "$ROOT"
}

# includes FOLDER... - "file: included" for every include of ours
includes() {
    grep -rnoE --include='*.[ch]' '^#include "[^"]+"' "$@" | sed -E 's/^([^:]+):[0-9]+:#include "([^"]+)"/\1: \2/' |
        tee -a "$BATS_TEST_TMPDIR/includes"
}

# none - fail, and show them, when there are lines on standard input
none() {
    local found
    found=$(cat)
    [ -z "$found" ] || { printf '%s\n' "$found" >&2; return 1; }
}

# Only of a test that looked at something can one say that it found nothing.
teardown() {
    [ ! -e "$BATS_TEST_TMPDIR/includes" ] || [ -s "$BATS_TEST_TMPDIR/includes" ]
}

@test "formats include nothing but formats" {
    includes formats | { grep -vE ': formats/' || true; } | none
}

@test "the base includes nothing but the base" {
    includes formats/base | { grep -vE ': formats/base/' || true; } | none
}

@test "batch includes formats and batch, never replay" {
    includes batch | { grep -vE ': (formats|batch)/' || true; } | none
}

@test "the session core sees formats and itself only" {
    includes batch/session | { grep -vE ': (formats|batch/session)/' || true; } | none
}

@test "the session core asks no clock, no chance and no system" {
    grep -rnE '\b(clock_gettime|gettimeofday|time|rand|random|getrandom|open|openat|read|write|fork|getenv|usleep|nanosleep)\(' batch/session --include='*.c' | none
}

@test "journal and snapshot do not know each other" {
    includes formats/journal | { grep -E ': formats/snapshot/' || true; } | none
    includes formats/snapshot | { grep -E ': formats/journal/journal' || true; } | none
}

@test "model, sandbox and tools meet only in the plan and in the engine" {
    includes batch/model | { grep -E ': batch/(sandbox|plan|run|engine|tools|report|cli)/' || true; } | none
    includes batch/sandbox | { grep -E ': batch/(model|plan|run|engine|tools|report|cli)/' || true; } | none
    includes batch/tools | { grep -E ': batch/(model|plan|run|engine|report|cli)/' || true; } | none
}

@test "a plan knows no run, and neither of them the engine" {
    includes batch/plan | { grep -E ': batch/(run|engine|report|cli)/' || true; } | none
    includes batch/run | { grep -vE ': (formats|batch/run)/' || true; } | none
}

@test "the HTTP client knows no model, box or session" {
    includes batch/http | { grep -vE ': (formats/base|batch/http)/' || true; } | none
    grep -rln 'curl/curl.h' formats batch replay --include='*.[ch]' | { grep -v '^batch/http/' || true; } | none
}

@test "reports read the journal and nothing else of batch" {
    includes batch/report | { grep -E ': batch/(model|plan|run|engine|tools|sandbox|cli)/' || true; } | none
}

@test "the command table knows no command, and only programs know it" {
    includes batch/command | { grep -vE ': (formats|batch/command)/' || true; } | none
    includes batch/session batch/plan batch/run batch/engine batch/model batch/tools batch/sandbox batch/report | { grep -E ': batch/command/' || true; } | none
}

@test "nobody includes a command" {
    includes formats batch replay | { grep -E ': (batch/cli|replay)/.*\.c$' || true; } | none
    includes formats batch/session batch/plan batch/run batch/engine batch/model batch/tools batch/sandbox batch/report replay | { grep -E ': batch/cli/' || true; } | none
}

@test "each storey is one target and links only to its left" {
    links() { tr '\n' ' ' <CMakeLists.txt | grep -oE "target_link_libraries\($1 [^)]*\)" | grep -oE 'nj_[a-z]+' | grep -vx "$1" | sort -u | tr '\n' ' '; }
    for storey in nj_base nj_formats nj_session nj_batch nj_replay; do
        [ "$(grep -c "^nj_storey($storey " CMakeLists.txt)" -eq 1 ]
    done
    [ -z "$(links nj_base)" ]
    [ "$(links nj_formats)" = "nj_base " ]
    [ "$(links nj_session)" = "nj_formats " ]
    [ "$(links nj_batch)" = "nj_session " ]
    [ "$(links nj_replay)" = "nj_batch " ]
}

@test "what engine and helper are of one build by holds all that their messages are made of" {
    # CMakeLists.txt, NJ_BOX_SOURCES: what is included from these is one of them.
    local of='(batch/sandbox|formats/base|formats/object)/|formats/journal/event\.h'
    tr '\n' ' ' <CMakeLists.txt | grep -qE 'NJ_BOX_SOURCES [^)]* batch/sandbox/\*\.\[ch\] +formats/base/\*\.\[ch\] formats/object/\*\.\[ch\] formats/journal/event\.h\)'
    includes batch/sandbox formats/base formats/object formats/journal/event.h | { grep -vE ": ($of)" || true; } | none
}

@test "every source file ends its includes with banned.h" {
    find formats batch replay -name '*.c' >"$BATS_TEST_TMPDIR/files"
    [ -s "$BATS_TEST_TMPDIR/files" ]
    xargs awk '
        function look() { if (seen && last != "#include \"formats/base/banned.h\"") print seen ": " last }
        FNR == 1 { look(); seen = FILENAME; last = "" }
        /^#include / { last = $0 }
        END { look() }' <"$BATS_TEST_TMPDIR/files" | none
}

@test "no source file is longer than 900 lines, and no test than 1100" {
    find formats batch replay -name '*.[ch]' -exec wc -l {} + | awk '$1 > 900 && $2 != "total"' | none
    find tests -name '*.[ch]' -exec wc -l {} + | awk '$1 > 1100 && $2 != "total"' | none
}

@test "nothing stands at the top but what belongs there" {
    strangers=$(for entry in *; do
        case $entry in
        batch | build | replay | formats | samples | tests | CMakeLists.txt | README.md) ;;
        *) echo "$entry" ;;
        esac
    done)
    [ -z "$strangers" ] || { echo "$strangers" >&2; return 1; }
}

@test "every folder says in a page what lives there" {
    for folder in formats batch replay tests; do
        [ -s "$folder/README.md" ]
        [ "$(wc -l <"$folder/README.md")" -le 80 ]
    done
    for format in manifest object journal snapshot bundle; do
        [ -s "formats/$format/FORMAT.md" ]
    done
}

@test "every source file stands as clang-format leaves it" {
    clang-format --version 2>/dev/null | grep -q 'version 14\.' || skip "no clang-format 14 here"
    find formats batch replay tests -name '*.[ch]' -exec clang-format --dry-run --Werror {} + 2>&1 | { grep -oE '^[^:]+:[0-9]+' || true; } | head -n 20 | none
}
