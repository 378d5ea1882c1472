# Orders that come from hashes and addresses, and what is stored of them.
# equal: D1
# varies
# needs: python3
set -eu
python3 - <<'P'
import json, pickle, weakref
class Thing: pass
things = {Thing() for _ in range(12)}
order = sorted(range(12), key=lambda n: id(list(things)[n]))
print(order, [hash(t) for t in things][:4], hash(None), hash(("a", 1)))
words = {w for w in "the quick brown fox jumps over the lazy dog".split()}
print(list(words), frozenset(words), repr(Thing()))
with open("w.json", "w") as f: json.dump(list(words), f)
with open("w.pkl", "wb") as f: pickle.dump(words, f)
P
