# Compiled modules hold the time of their source.
# equal: D2
# varies
# needs: python3
set -eu
mkdir m; echo 'X = 1' >m/a.py; touch m/__init__.py
python3 -c 'import m.a'; python3 -m compileall -q m
find m -name '*.pyc' | sort | xargs sha256sum
python3 -c 'import pickle; pickle.dump({i for i in "abcdefgh"}, open("p.pkl", "wb"))'
