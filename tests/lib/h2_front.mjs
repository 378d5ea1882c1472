// h2_front.mjs - HTTP/2 over TLS before an HTTP/1.1 server on loopback, and what can go wrong there
//
//   node h2_front.mjs UPSTREAM-PORT CERT KEY PORT-FILE LOG [FAULTS]
//
// Only h2 is offered by ALPN. FAULTS is JSON: {"STREAM": KIND}, by the number of the request over all connections, from 1;
// {"streams": N} the most streams at once of a connection; and {"http1": true}: HTTP/1.1 is offered, too, and wanted: each
// stream of HTTP/2 is reset with HTTP_1_1_REQUIRED. KINDS, each once:
//   goaway     this request is answered, then the connection takes no more (GOAWAY, no error)
//   goaway-now GOAWAY that disowns this request and all later ones of the connection, which then closes
//   refused    RST_STREAM, REFUSED_STREAM: nothing was done
//   reset      RST_STREAM, INTERNAL_ERROR, after the first bytes of the answer
//   stall      the first bytes of the answer, then nothing; the connection lives
//   close      the connection is destroyed under all its streams
// LOG gets a line a request before anything else is done with it: {"n", "connection", "fault", "open": streams then open},
// of HTTP/1.1 {"n", "connection", "version": 1}, where "connection" is the client's port.
// It ends with the process that started it.
import http from 'node:http';
import http2 from 'node:http2';
import fs from 'node:fs';

const [upstream, cert, key, portFile, log, faultsJson = '{}'] = process.argv.slice(2);
const faults = JSON.parse(faultsJson);
const agent = new http.Agent({keepAlive: true});
const out = fs.openSync(log, 'a', 0o600);
const {NGHTTP2_REFUSED_STREAM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_HTTP_1_1_REQUIRED} = http2.constants;
const CONNECTION_HEADERS = new Set(['connection', 'keep-alive', 'transfer-encoding', 'proxy-connection', 'upgrade']);
let count = 0, connections = 0;

const server = http2.createSecureServer({
  cert: fs.readFileSync(cert), key: fs.readFileSync(key), allowHTTP1: faults.http1 ?? false, settings: {maxConcurrentStreams: faults.streams ?? 256},
});
server.on('session', (session) => {
  session.number = ++connections;
  session.open = 0;
  session.on('error', () => {}); // a client may leave at any time
});

server.on('stream', (stream, headers) => {
  const session = stream.session, n = ++count, fault = faults[n] ?? null;
  session.open++;
  stream.on('close', () => { session.open--; });
  stream.on('error', () => {});
  fs.writeSync(out, JSON.stringify({n, connection: session.number, fault, open: session.open}) + '\n');
  if (faults.http1)
    return stream.close(NGHTTP2_HTTP_1_1_REQUIRED);
  if (fault === 'refused')
    return stream.close(NGHTTP2_REFUSED_STREAM);
  if (fault === 'close')
    return session.destroy();
  if (fault === 'goaway-now') {
    session.goaway(0, stream.id - 2);
    return setTimeout(() => session.destroy(), 20);
  }
  const passed = {};
  for (const [name, value] of Object.entries(headers))
    if (!name.startsWith(':'))
      passed[name] = value;
  const asked = http.request({host: '127.0.0.1', port: upstream, agent, method: headers[':method'], path: headers[':path'],
    headers: passed});
  stream.pipe(asked);
  asked.on('error', () => stream.destroyed || stream.close(NGHTTP2_INTERNAL_ERROR));
  asked.on('response', (answer) => {
    const given = {':status': answer.statusCode};
    for (const [name, value] of Object.entries(answer.headers))
      if (!CONNECTION_HEADERS.has(name))
        given[name] = value;
    if (stream.destroyed)
      return answer.resume();
    answer.on('error', () => stream.close(NGHTTP2_INTERNAL_ERROR)); // cut short: nothing of it may pass for whole
    answer.on('aborted', () => stream.close(NGHTTP2_INTERNAL_ERROR));
    stream.respond(given);
    if (fault === 'goaway')
      session.close();
    if (fault !== 'reset' && fault !== 'stall')
      return answer.pipe(stream);
    answer.once('data', (bytes) => {
      stream.write(bytes.subarray(0, 40), () => { if (fault === 'reset') stream.close(NGHTTP2_INTERNAL_ERROR); });
      answer.resume();
    });
  });
});

// A request of HTTP/2 comes here, too, and has been dealt with above.
server.on('request', (request, response) => {
  if (request.httpVersionMajor !== 1)
    return;
  fs.writeSync(out, JSON.stringify({n: ++count, connection: request.socket.remotePort, version: 1}) + '\n');
  const asked = http.request({host: '127.0.0.1', port: upstream, agent, method: request.method, path: request.url, headers: request.headers});
  request.pipe(asked);
  asked.on('error', () => response.destroy());
  asked.on('response', (answer) => { response.writeHead(answer.statusCode, answer.headers); answer.pipe(response); });
});

server.on('error', (error) => { console.error(String(error)); process.exit(1); });
server.listen(0, '127.0.0.1', () => fs.writeFileSync(portFile, String(server.address().port)));
const parent = process.ppid;
setInterval(() => { if (process.ppid !== parent) process.exit(0); }, 500);
