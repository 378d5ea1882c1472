# A data base with random values and dates; the file's own bytes.
# equal: D1
# varies
# needs: sqlite3
set -eu
sqlite3 a.db "create table t(a,b,c); insert into t values(random(),datetime('now'),hex(randomblob(8))); insert into t select random(), julianday('now'), strftime('%f','now') from t; select * from t; pragma journal_mode=wal; insert into t values(1,2,3); pragma integrity_check;"
sha256sum a.db
