# Node's own: random numbers, clocks, addresses of the machine, temporary names.
# equal: D1
# varies
# needs: node
set -eu
node - <<'J'
const crypto = require('crypto'), fs = require('fs'), os = require('os');
console.log(Math.random(), Date.now(), crypto.randomUUID(), performance.now(), process.pid, process.ppid);
console.log(process.hrtime.bigint(), os.uptime(), os.hostname(), os.cpus().length, os.loadavg(), os.totalmem() > 0);
console.log(crypto.randomBytes(8).toString('hex'), new Date().toISOString(), fs.mkdtempSync('/tmp/x'), fs.readdirSync('.'));
fs.writeFileSync('n.json', JSON.stringify({at: Date.now(), value: Math.random()}));
J
