# Timers, intervals and promises of one event loop, and the clock at each.
# equal: D1
# needs: node
set -eu
node - <<'J'
const t0 = performance.now(), note = what => console.log(what, (performance.now() - t0).toFixed(3));
let ticks = 0;
const every = setInterval(() => { note('tick'); if (++ticks === 4) clearInterval(every); }, 7);
setTimeout(() => note('late'), 25); setTimeout(() => note('soon'), 1);
Promise.resolve().then(() => note('promise')); process.nextTick(() => note('next'));
const until = Date.now() + 5; let turns = 0; while (Date.now() < until) turns++;
console.log(turns);
J
