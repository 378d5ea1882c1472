# What the shells offer behind a Tab, in the real shells, and the man pages. Both come from the commands' tables.
load ../lib/common
#
# once: a shell's completion depends on nobody's rights

# fill_in SHELL PROGRAM - the script, as the build makes it
fill_in() { sed "s/@NAME@/$2/g; s/@FUNCTION@/${2/-/_}/g" "$NJ_ROOT/.cmake/packaging/completion/$1.in"; }

setup() {
    nj_setup
    mkdir -p runs/night/journal runs/other 'my run/journal' inbox completion
    touch job.yaml a.njb replies.txt
    printf '%s\n' '{"key":"a b","status":"failed"}' '{"key":"abc","status":"succeeded"}' \
        '{"key":"x:y","status":"succeeded"}' '{"key":"tab\tkey","status":"succeeded"}' 'no json' >runs/night/results.jsonl
    local name
    for name in nightjar nightjar-replay; do
        fill_in bash "$name" >"completion/_$name"
    done
}
teardown() { nj_teardown; }

# words PROGRAM WORD... - what it offers, without what it is
words() { "$1" __complete "${@:2}" | tail -n +2 | cut -f 1 | LC_ALL=C sort | paste -s -d '|'; }
directive() { "$1" __complete "${@:2}" | head -n 1; }

@test "commands, options, folders, runs and keys are offered where they fit" {
    same "resume" "$(words nightjar res)"
    same "--run-dir" "$(words nightjar run --run-d)"
    same "files *.yaml *.yml *.json" "$(directive nightjar run '')"
    same "folders" "$(directive nightjar run job.yaml --run-dir '')"
    same "folders" "$(directive nightjar run --run-dir=in)"
    same "none" "$(directive nightjar run job.yaml '')"
    same "users" "$(directive nightjar run --user '')"
    same "runs/night|runs/other/" "$(words nightjar resume runs/)"
    same "completion/|inbox/|my run|runs/|runs/night" "$(words nightjar resume '')"
    same "runs/night:a b|runs/night:abc" "$(words nightjar bundle runs/night:a)"
    same "files *.njb" "$(directive nightjar-replay verify one.njb '')"
    same "my run:|runs/night:" "$(words nightjar-replay show '')"
    same "" "$(words nightjar-replay show one.njb '')"
    same "report|resume|run" "$(words nightjar help r)"
}

@test "keys of a run that has no results yet come from its journal" {
    job_many 3
    expect 0 nightjar run job.yaml --run-dir run
    rm run/results.jsonl
    same "run:001|run:002|run:003" "$(words nightjar-replay show run:)"
}

@test "completion fails at nothing: no command, no folder, no run, hostile words" {
    for word in '' - -- --x= : run: nowhere/ /nonexistent/x: $'a\nb/' "$(printf 'x%.0s' {1..9000})/"; do
        expect 0 nightjar __complete nothing "$word"
        expect 0 nightjar __complete run "$word"
        expect 0 nightjar __complete resume "$word"
        expect 0 nightjar __complete bundle "$word"
        expect 0 nightjar __complete "$word"
    done
    expect 0 nightjar __complete run --help ''
    same "files *.yaml *.yml *.json" "$out"
}

@test "hidden commands are offered and listed nowhere" {
    [[ $(words nightjar '') != *__* ]]
    expect 0 nightjar --help
    hasnt __
}

# bash_offers LINE - COMPREPLY, as bash would have it: ':' and '=' end words
bash_offers() {
    bash --norc -c '
        source /usr/share/bash-completion/bash_completion
        source completion/_nightjar
        source completion/_nightjar-replay
        COMP_LINE=$1 COMP_POINT=${#1}
        mapfile -t COMP_WORDS < <(grep -oE "([^[:space:]:=\\]|\\\\.)+|[:=]+" <<<"$1")
        [[ $1 != *[[:space:]:=] ]] || COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _$(tr - _ <<<"${COMP_WORDS[0]}")
        printf "%s\n" "${COMPREPLY[@]}"' bash "$1" | LC_ALL=C sort | paste -s -d '|'
}

@test "bash completes" {
    [ -f /usr/share/bash-completion/bash_completion ] || skip "no bash-completion here"
    same "resume" "$(bash_offers 'nightjar resu')"
    same "completion/|inbox/|job.yaml|my\\ run/|runs/" "$(bash_offers 'nightjar run ')"
    same "inbox/" "$(bash_offers 'nightjar run --run-dir=i')"
    same "a\\ b|abc" "$(bash_offers 'nightjar bundle runs/night:a')"
    same "y" "$(bash_offers 'nightjar-replay show runs/night:x:')"
    same "my\\ run" "$(bash_offers 'nightjar resume my')"
    same "root" "$(bash_offers 'nightjar run --user roo')"
}

@test "fish completes" {
    command -v fish >/dev/null || skip "no fish here"
    fill_in fish nightjar >n.fish
    fish_offers() { HOME=$PWD fish --no-config -c "source n.fish; complete -C '$1'" | cut -f 1 | LC_ALL=C sort | paste -s -d '|'; }
    same "resume" "$(fish_offers 'nightjar resu')"
    same "completion/|inbox/|job.yaml|my run/|runs/" "$(fish_offers 'nightjar run ')"
    same "runs/night:a b|runs/night:abc" "$(fish_offers 'nightjar bundle runs/night:a')"
    same "--run-dir=inbox/" "$(fish_offers 'nightjar run --run-dir=i')"
}

@test "zsh completes" {
    command -v zsh >/dev/null || skip "no zsh here"
    mkdir zsh
    fill_in zsh nightjar >zsh/_nightjar
    # A line is typed into a zsh on a pseudo-terminal; what stands on it after a Tab is written to a file.
    cat >typed.zsh <<'ZSH'
zmodload zsh/zpty
zpty z env HOME=$PWD zsh -f -i
zpty -w z "fpath=($PWD/zsh \$fpath); autoload -U compinit; compinit -u -D; unsetopt zle_bracketed_paste; accept() { print -r -- \$BUFFER >line; BUFFER=; }; zle -N accept; bindkey '^T' accept; bindkey '^I' complete-word; print REA''DY"
zpty -r -m z out '*READY*' || exit 1
zpty -w -n z "$1"$'\t\x14'
for i in {1..200}; do [[ -s line ]] && break; sleep 0.05; done
zpty -rt z out
cat line
zpty -d z
ZSH
    zsh_line() { rm -f line; timeout 30 zsh -f typed.zsh "$1"; }
    same "nightjar resume " "$(zsh_line 'nightjar resu')"
    same "nightjar run --run-dir " "$(zsh_line 'nightjar run --run-d')"
    same "nightjar bundle runs/night:abc " "$(zsh_line 'nightjar bundle runs/night:ab')"
    same "nightjar resume my\\ run " "$(zsh_line 'nightjar resume my')"
    same "nightjar run job.yaml " "$(zsh_line 'nightjar run j')"
}

@test "every command has a man page, which names every option and has no fault" {
    command -v man >/dev/null || skip "no man here"
    mkdir pages
    for program in nightjar nightjar-replay; do
        expect 0 "$program" __pages pages
        for command in $(words "$program" '' | tr '|' ' '); do
            page=pages/$program-$command.1
            [ -s "$page" ]
            text=$(MANWIDTH=80 man -l "$page" | col -b)
            for option in $(words "$program" "$command" - | tr '|' ' '); do
                [[ $text == *"$option"* ]] || complain "$page lacks $option"
            done
        done
    done
    awk -v name=nightjar-manifest -v summary="the file that says what a job is" -v version=0 -v 'leave=Identity|Canonical form|Changes' \
        -f "$NJ_ROOT/.cmake/packaging/format_page.awk" "$NJ_ROOT/formats/manifest/FORMAT.md" >pages/nightjar-manifest.5
    for page in pages/*; do
        same "" "$(man --warnings -E UTF-8 -l "$page" 2>&1 >/dev/null)" "$page: warnings"
        command -v mandoc >/dev/null || continue
        same "" "$(mandoc -T lint "$page" | grep -vE 'STYLE: input text line longer|WARNING: missing date')" "$page: lint"
    done
}

@test "nightjar-manifest(5) names every key that FORMAT.md has" {
    awk -v name=x -v summary=y -v version=0 -v leave=Changes -f "$NJ_ROOT/.cmake/packaging/format_page.awk" "$NJ_ROOT/formats/manifest/FORMAT.md" |
        sed 's/\\f[BIR]//g; s/\\-/-/g' >page
    keys=$(sed -n 's/^| `\([a-z_.]*\)`.*/\1/p' "$NJ_ROOT/formats/manifest/FORMAT.md")
    [ "$(wc -l <<<"$keys")" -ge 60 ]
    for key in $keys; do
        grep -qF -- "$key" page || complain "the page lacks $key"
    done
}
