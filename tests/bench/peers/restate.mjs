// restate.mjs SESSIONS TURNS BYTES BOX - a handler of steps that the Restate server journals, each before the next
import * as restate from "@restatedev/restate-sdk";
import http from "node:http";
import http2 from "node:http2";
import { model, sessions, told, tool, turns } from "./turns.mjs";

Promise.withResolvers ??= function () { // node 22 has it, and the SDK wants it
  const parts = {};
  parts.promise = new Promise((resolve, reject) => Object.assign(parts, { resolve, reject }));
  return parts;
};

const folder = process.env.BENCH_RESTATE; // the server's sockets

const session = restate.service({
  name: "bench",
  handlers: {
    session: async (ctx) => {
      let count = 0;
      for (let turn = 0; turn < turns; turn++) {
        await ctx.run("model", () => model(turn));
        await ctx.run("tool", () => tool(turn));
        count += 2;
      }
      return count;
    },
  },
});

function post(socket, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath: `${folder}/${socket}.sock`, path, method: "POST", headers: { "content-type": "application/json" } }, (answer) => {
      let text = "";
      answer.on("data", (data) => { text += data; });
      answer.on("end", () => (answer.statusCode < 300 ? resolve(text) : reject(new Error(`${socket} ${path}: ${answer.statusCode} ${text}`))));
    });
    request.on("error", reject);
    request.end(body);
  });
}

const server = http2.createServer(restate.createEndpointHandler({ services: [session], logger: () => {} }));
await new Promise((resolve) => { server.listen(0, "127.0.0.1", resolve); });
await post("admin", "/deployments", JSON.stringify({ uri: `http://127.0.0.1:${server.address().port}`, force: true }));

const begun = performance.now();
const ends = await Promise.all(Array.from({ length: sessions }, () => post("ingress", "/bench/session", "null")));
if (ends.some((count) => Number(count) !== 2 * turns))
  throw new Error("a session is not whole");
told(begun);
process.exit(0);
