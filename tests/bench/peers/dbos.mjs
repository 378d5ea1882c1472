// dbos.mjs SESSIONS TURNS BYTES BOX - a workflow of steps, each written to PostgreSQL before the next
import { DBOS } from "@dbos-inc/dbos-sdk";
import { model, sessions, told, tool, turns, url } from "./turns.mjs";

DBOS.setConfig({ name: "bench", systemDatabaseUrl: url, logLevel: "error", runAdminServer: false });
const session = DBOS.registerWorkflow(async () => {
  let count = 0;
  for (let turn = 0; turn < turns; turn++) {
    await DBOS.runStep(() => model(turn), { name: "model" });
    await DBOS.runStep(() => tool(turn), { name: "tool" });
    count += 2;
  }
  return count;
}, { name: "session" });
await DBOS.launch();

const begun = performance.now();
const handles = await Promise.all(Array.from({ length: sessions }, (_, n) => DBOS.startWorkflow(session, { workflowID: `s${n}` })()));
const ends = await Promise.all(handles.map((handle) => handle.getResult()));
if (ends.some((count) => count !== 2 * turns))
  throw new Error("a session is not whole");
told(begun);
await DBOS.shutdown();
