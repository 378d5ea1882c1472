# format_page.awk - a FORMAT.md as a man page of section 5
#
# usage: awk -v name=nightjar-manifest -v summary="..." -v version=0.1.0 -v leave="Identity|Changes" -f format_page.awk FORMAT.md
#
# It knows the Markdown that our FORMAT.md pages are written in: headings, paragraphs, lists, tables and
# fenced blocks. Sections named in `leave`, which only those who write a reader need, are left out. A table's row
# becomes a tagged paragraph, its other columns with their titles: no column is too narrow for its text.

function escape(text,    n, parts, i, out) {
    gsub(/\\\|/, "\001", text) # an escaped bar of a table
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    gsub(/\001/, "|", text)
    while (match(text, /\[[^]]*\]\([^)]*\)/)) { # a link: its words
        out = substr(text, RSTART, RLENGTH)
        sub(/^\[/, "", out); sub(/\]\(.*$/, "", out)
        text = substr(text, 1, RSTART - 1) out substr(text, RSTART + RLENGTH)
    }
    n = split(text, parts, "`") # every second part is code
    out = italic(parts[1])
    for (i = 2; i <= n; i++) out = out (i % 2 == 0 ? "\\fB" parts[i] : "\\fR" italic(parts[i]))
    n = split(out, parts, "\\*\\*")
    out = parts[1]
    for (i = 2; i <= n; i++) out = out (i % 2 == 0 ? "\\fB" : "\\fR") parts[i]
    return out
}
function italic(text,    done) {
    while (match(text, /\*[A-Za-z][^*]*\*/)) {
        done = done substr(text, 1, RSTART - 1) "\\fI" substr(text, RSTART + 1, RLENGTH - 2) "\\fR"
        text = substr(text, RSTART + RLENGTH)
    }
    return done text
}
function put(text) {
    text = escape(text)
    if (text ~ /^[.']/) text = "\\&" text
    print text
}
function cells(row,    i) {
    gsub(/\\\|/, "\002", row)
    sub(/^\|[ ]*/, "", row); sub(/[ ]*\|[ ]*$/, "", row)
    n_cells = split(row, cell, /[ ]*\|[ ]*/)
    for (i = 1; i <= n_cells; i++) gsub("\002", "|", cell[i])
}
BEGIN {
    upper = toupper(name)
    printf ".TH %s 5 \"\" \"nightjar %s\" \"Nightjar\"\n.nh\n.ad l\n.SH NAME\n", upper, version
    gsub(/-/, "\\-", name); print name " \\- " summary
    open_section = ".SH DESCRIPTION"
}
/^```/ {
    if (left) next
    fenced = !fenced
    if (fenced && !fresh) print ".PP"
    print fenced ? ".in +2\n.nf" : ".fi\n.in -2"
    fresh = 0
    next
}
fenced { if (!left) { gsub(/\\/, "\\e"); gsub(/-/, "\\-"); if (/^[.']/) $0 = "\\&" $0; print } next }
/^# / { next }
/^## / {
    title = substr($0, 4)
    left = title ~ ("^(" leave ")$")
    if (!left) print ".SH " toupper(title)
    started = 1; open_section = ""; fresh = 1; para = 0
    next
}
left { next }
open_section != "" && NF { print open_section; open_section = ""; fresh = 1; para = 0 }
/^### / { print ".SS " escape(substr($0, 5)); fresh = 1; para = 0; next }
/^\|[- |:]*\|$/ { in_table = 2; next }
/^\|/ {
    cells($0)
    if (in_table != 2) { for (i = 1; i <= n_cells; i++) title_of[i] = cell[i]; in_table = 1; next }
    fresh = 0; print ".TP"; put(cell[1])
    text = ""
    for (i = 2; i <= n_cells; i++)
        if (cell[i] != "")
            text = text (text == "" ? "" : "; ") (i == n_cells ? "" : tolower(title_of[i]) ": ") cell[i]
    put(text == "" ? "\\&" : text)
    next
}
{ in_table = 0 }
/^$/ { if (!fresh) para = 1; next }
/^- / { fresh = 0; print ".IP \\(bu 2"; para = 0; put(substr($0, 3)); next }
{
    if (para) print ".PP"
    para = 0; fresh = 0
    sub(/^  +/, "")
    put($0)
}
