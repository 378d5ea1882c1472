# Node's worker threads and the order of their messages.
# equal: D3
# varies
# needs: node
set -eu
node - <<'J'
const {Worker} = require('worker_threads');
const code = "const {parentPort, workerData: n} = require('worker_threads');" +
    "let s = 0; for (let i = 0; i < 1e5 * n; i++) s += Math.sqrt(i);" +
    "parentPort.postMessage([n, Math.round(s), Math.random()]);";
for (const n of [4, 2, 3, 1])
    new Worker(code, {eval: true, workerData: n}).on('message', m => console.log(m.join(' ')));
J
