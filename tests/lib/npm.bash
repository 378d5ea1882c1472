# npm.bash - npm packages of exact versions, for the suites and the bench
#
#   npm_install NAME PACKAGE@VERSION...   sets $npm_modules, a node_modules folder that holds them and what they need. It is made
#                                         once, in build/npm/NAME of this tree, and stays. Where that cannot be done it returns 1,
#                                         and $npm_why says why
#   npm_node VERSION                      is there a node of at least that version (18, 20.15)?
#
# No package runs anything while it is installed. tests/run installs what the suites need before they begin, and gives the
# ordinary user's copy of the tree the same folders; a suite that is run by itself installs it then.

NJ_NPM_MOCK="@copilotkit/aimock@1.43.0"
NJ_NPM_MSGPACK="@msgpack/msgpack@3.1.3"
NPM_SECONDS_MAX=180

npm_node() {
    local have
    have=$(node -p process.versions.node 2>/dev/null) || { npm_why="no node here"; return 1; }
    [ "$(printf '%s\n' "$1" "$have" | sort -V | head -n 1)" = "$1" ] || { npm_why="node $1 is needed, and this one is $have"; return 1; }
}

npm_install() {
    local name=$1 base=$NJ_ROOT/build/npm wanted status
    shift
    wanted="$*"
    npm_modules=$base/$name/node_modules
    [ "$(cat "$base/$name/packages" 2>/dev/null)" != "$wanted" ] || return 0
    command -v npm >/dev/null || { npm_why="no npm here"; return 1; }
    mkdir -p "$base" 2>/dev/null && [ -w "$base" ] || { npm_why="$base cannot be written"; return 1; }
    (
        flock 9 || exit 1
        [ "$(cat "$base/$name/packages" 2>/dev/null)" != "$wanted" ] || exit 0
        new=$(mktemp -d "$base/$name.XXXXXX") || exit 1
        trap 'rm -rf "$new"' EXIT
        chmod 755 "$new"
        echo '{"private": true}' >"$new/package.json"
        # The registry and its credentials are those of whoever runs this: npm's own configuration.
        (cd "$new" && timeout "$NPM_SECONDS_MAX" npm install --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error \
            --save-exact --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-timeout=30000 "$@") >"$base/$name.log" 2>&1 </dev/null || exit 1
        echo "$wanted" >"$new/packages"
        rm -rf "${base:?}/$name" && mv -T "$new" "$base/$name"
    ) 9>"$base/.$name.lock"
    status=$?
    [ "$status" -eq 0 ] || npm_why="npm could not install $wanted: $(grep -m 1 -E 'code|ERR|error' "$base/$name.log" 2>/dev/null || echo "no answer within $NPM_SECONDS_MAX s")"
    return "$status"
}
