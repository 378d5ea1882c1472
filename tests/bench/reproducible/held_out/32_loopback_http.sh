# A server and its clients in one program, over 127.0.0.1: dates in headers, ports that the kernel draws.
# equal: D3
# varies
# needs: node
set -eu
node - <<'J'
const http = require('http'), crypto = require('crypto');
const server = http.createServer((request, response) => {
    response.setHeader('X-Request', crypto.randomUUID());
    setTimeout(() => response.end(`${request.url} ${Date.now()}\n`), 5 + 7 * (request.url.length % 3));
});
server.listen(0, '127.0.0.1', () => {
    const port = server.address().port;
    let open = 6;
    for (const path of ['/a', '/bb', '/ccc', '/d', '/ee', '/fff'])
        http.get({port, path, agent: false}, response => {
            let text = '';
            response.on('data', piece => text += piece);
            response.on('end', () => {
                console.log(response.headers.date, response.headers['x-request'], text.trim());
                if (--open === 0) server.close();
            });
        });
});
J
