# Node's thread pool beside timers: in which order the answers come back.
# equal: D3
# varies
# needs: node
set -eu
node - <<'J'
const crypto = require('crypto'), fs = require('fs'), seen = [];
for (let i = 0; i < 5; i++) {
    setTimeout(() => seen.push('t' + i), 10 * (5 - i));
    setImmediate(() => seen.push('i' + i));
    fs.readFile('/etc/passwd', () => seen.push('f' + i));
    crypto.randomBytes(16, (error, bytes) => seen.push('c' + i + bytes.toString('hex')));
}
process.on('exit', () => console.log(seen.join(' '), Math.round(performance.now() * 1000)));
J
