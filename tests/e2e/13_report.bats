# report.html: one page that needs nothing else, whatever the sessions are called and however many they are.
#
# once: the page is made of events alone

load ../lib/common

setup() { nj_setup; }
teardown() { nj_teardown; }

many() { "$NJ_BUILD/tests/many_sessions" "$@"; }

# inspect PAGE COUNT - by a strict reader of our own: balanced tags, no address, a policy that fits what is inline
inspect() {
    python3 -I - "$@" <<-'PYTHON'
	import base64, hashlib, html.parser, re, sys
	page, count = open(sys.argv[1], encoding="utf-8").read(), int(sys.argv[2])
	void = {"meta", "input", "link", "br", "img"}
	class Reader(html.parser.HTMLParser):
	    def __init__(self):
	        super().__init__()
	        self.open, self.rows, self.inline, self.ids, self.policy = [], 0, {"style": [], "script": []}, [], ""
	    def handle_starttag(self, tag, attributes):
	        names = [name for name, _ in attributes]
	        assert len(names) == len(set(names)), (tag, names)
	        attributes = dict(attributes)
	        assert not [n for n in names if n.startswith("on") or n in ("style", "src", "srcset", "action", "background")], (tag, names)
	        assert tag not in ("img", "iframe", "object", "embed", "link", "form", "base"), tag
	        assert attributes.get("href", "#").startswith("#"), attributes
	        if "id" in attributes:
	            self.ids.append(attributes["id"])
	        if attributes.get("http-equiv") == "Content-Security-Policy":
	            self.policy = attributes["content"]
	        self.rows += tag == "tr" and "data-s" in attributes
	        if tag not in void:
	            self.open.append(tag)
	    def handle_startendtag(self, tag, attributes):
	        self.handle_starttag(tag, attributes)
	        if tag not in void:
	            self.open.pop()
	    def handle_endtag(self, tag):
	        assert self.open and self.open.pop() == tag, (tag, self.getpos())
	    def handle_data(self, data):
	        if self.open and self.open[-1] in self.inline:
	            self.inline[self.open[-1]].append(data)
	reader = Reader()
	reader.feed(page)
	reader.close()
	assert reader.open == [], reader.open
	assert len(reader.ids) == len(set(reader.ids)), reader.ids
	assert reader.rows == count, (reader.rows, count)
	assert "default-src 'none'" in reader.policy and "unsafe" not in reader.policy, reader.policy
	for tag, texts in reader.inline.items():
	    digest = base64.b64encode(hashlib.sha256("".join(texts).encode()).digest()).decode()
	    assert f"{tag}-src 'sha256-{digest}'" in reader.policy, (tag, reader.policy)
	assert not re.search(r"https?://", page), "an address"
	PYTHON
}

@test "the page is whole at 1, 20, 51 and 2,000 sessions" {
    for n in 1 20 51 2000; do
        many html "$n" >page.html
        inspect page.html "$n"
    done
}

@test "beyond 5,000 sessions the failed ones are kept, and the page says what it leaves out" {
    many html 6000 >page.html
    inspect page.html 5000
    grep -q "5,000 of 6,000, the failed ones first" page.html
    same "$(grep -c '<tr data-s="failed"' page.html)" "$(many json 6000 | python3 -c 'import json,sys; print(json.load(sys.stdin)["sessions"]["failed"])')"
}

@test "what sessions are called and say stays text" {
    many html 51 >page.html
    ! grep -q '<img' page.html || complain "a key became markup"
    grep -qF '&lt;img src=x onerror=alert(1)&gt;&#39;&quot;&amp;' page.html
    grep -qF '&lt;/script&gt;&lt;script&gt;' page.html
    same "$(grep -c '<script>' page.html)" 1
}

@test "junit.xml and metrics of the same sessions are well-formed" {
    many junit 51 | python3 -I -c 'import sys, xml.etree.ElementTree as t; assert len(t.parse(sys.stdin).getroot().findall(".//testcase")) == 51'
    many metrics 51 | python3 -I -c 'import re, sys
for line in sys.stdin:
    assert re.fullmatch(r"# (HELP|TYPE) nightjar_run_\w+ .+|nightjar_run_\w+\{(\w+=\"([^\"\\\n]|\\.)*\",?)+\} [0-9.]+", line.rstrip("\n")), line'
}

@test "a run leaves its page, and report writes it anew" {
    skip_without namespaces
    job_one bash <<<'true'
    expect 0 nightjar run job.yaml --run-dir run
    inspect run/report.html 1
    expect 0 nightjar report run --html page.html
    inspect page.html 1
    expect 0 nightjar report run --html -
    cmp page.html "$BATS_TEST_TMPDIR/out"
}

@test "sessions taken over from an earlier run are told as such" {
    job_one bash <<<'echo hello'
    expect 0 nightjar run --run-dir first job.yaml
    expect 0 nightjar run --run-dir second --reuse first job.yaml
    inspect second/report.html 1
    grep -q '1 of them taken over from an earlier run' second/report.html
    grep -q 'taken over from .*/first' second/report.html
    ! grep -q 'taken over' first/report.html
}

@test "in a browser: axe-core and html-validate find nothing, nothing is requested, and the table can be used" {
    local node_modules=$BATS_FILE_TMPDIR/browser
    NJ_CHROMIUM=$(command -v chromium || command -v chromium-browser) || skip "no chromium here"
    command -v node >/dev/null && command -v npm >/dev/null || skip "no node and npm here"
    export NJ_CHROMIUM HOME=$BATS_TEST_TMPDIR
    mkdir "$node_modules" && cp "$NJ_ROOT"/tests/lib/browser/* "$node_modules"
    (cd "$node_modules" && timeout 120 npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts >npm.log 2>&1) ||
        skip "npm could not install: $(tail -n 1 "$node_modules/npm.log")"
    many html 51 >page.html
    many html 20 >small.html
    expect 0 timeout 450 node "$node_modules/check.mjs" "$PWD/page.html" "$PWD/small.html"
}
