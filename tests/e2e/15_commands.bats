# How the programs speak to whoever types: help, usage, and words that were meant otherwise. Everything is made
# from the commands' tables, so what is asked here is that each command is there, whole and truthful.
#
# once: what a command says of itself it says to everybody

load ../lib/common

setup() { nj_setup; }
teardown() { nj_teardown; }

# commands PROGRAM - the names that its --help lists
commands() { "$1" --help | sed -n 's/^  \([a-z][a-z-]*\)  *[a-z].*/\1/p'; }

@test "every command explains itself, by --help, by -h and by help" {
    for program in nightjar nightjar-replay; do
        [ "$(commands "$program" | wc -l)" -ge 5 ]
        for command in $(commands "$program"); do
            expect 0 "$program" "$command" --help
            has_out "usage: $program $command"
            has_out "-h, --help"
            [ -z "$err" ]
            told=$out
            expect 0 "$program" "$command" -h
            same "$told" "$out" "help"
            expect 0 "$program" help "$command"
            same "$told" "$out" "help"
        done
    done
}

@test "help keeps to 80 columns" {
    for program in nightjar nightjar-replay; do
        for command in "" $(commands "$program"); do
            wide=$("$program" help $command | awk 'length > 80')
            [ -z "$wide" ] || complain "$program help $command: $wide"
        done
    done
}

@test "each program tells its version" {
    expect 0 nightjar --version
    [[ $out =~ ^nightjar\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
    expect 0 nightjar-replay --version
    [[ $out =~ ^nightjar-replay\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "a word that is near a known one gets that one's name, exit 2" {
    expect 2 nightjar rum job.yaml
    has_err "rum: no such command; did you mean run?"
    expect 2 nightjar help resme
    has_err "did you mean resume?"
    expect 2 nightjar run --run-dri here job.yaml
    has_err "--run-dri: no such option; did you mean --run-dir?"
    expect 2 nightjar-replay verfy x
    has_err "did you mean verify?"
}

@test "a word that is near nothing gets the place where all are listed, exit 2" {
    expect 2 nightjar "$(printf 'x%.0s' {1..5000})"
    has_err "nightjar --help lists them"
    expect 2 nightjar run --zzzzzz job.yaml
    has_err "--zzzzzz: no such option"
    has_err "usage: nightjar run JOB"
}

@test "operands and values that are missing or too many are named, exit 2" {
    expect 2 nightjar run
    has_err "JOB is missing"
    expect 2 nightjar run one.yaml two.yaml
    has_err "two.yaml: one operand too many"
    expect 2 nightjar run job.yaml --run-dir
    has_err "--run-dir DIR: its value is missing"
    expect 2 nightjar check --plan=yes job.yaml
    has_err "--plan takes no value"
    expect 2 nightjar-replay verify --jobs 0 some.njb
    has_err "--jobs N: 0 is no whole number from 1 to 256"
    expect 2 nightjar-replay verify --jobs 99999999999999999999999 some.njb
    has_err "no whole number"
    expect 2 nightjar-replay ls -x some.njb
    has_err "-x: no such option"
}

@test "what stands behind -- is no option" {
    expect 2 nightjar check -- --help
    has_err "--help"
    hasnt "usage: nightjar check JOB ["$'\n'
    hasnt "this text"
}

@test "a full standard output is told, not passed over" {
    [ -w /dev/full ] || skip "no /dev/full here"
    status=0
    nightjar --help >/dev/full 2>err || status=$?
    [ "$status" -eq 3 ]
    grep -q "standard output" err
}
