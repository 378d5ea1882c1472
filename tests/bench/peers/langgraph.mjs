// langgraph.mjs SESSIONS TURNS BYTES BOX - a graph of two nodes whose state is written to PostgreSQL after each of them
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import { model, sessions, told, tool, turns, url } from "./turns.mjs";

const checkpointer = PostgresSaver.fromConnString(url);
await checkpointer.setup();
const State = Annotation.Root({
  messages: Annotation({ reducer: (old, added) => old.concat(added), default: () => [] }),
  turn: Annotation({ reducer: (_, turn) => turn, default: () => 0 }),
});
const graph = new StateGraph(State)
  .addNode("model", async ({ turn }) => ({ messages: [await model(turn)] }))
  .addNode("tool", async ({ turn }) => ({ messages: [await tool(turn)], turn: turn + 1 }))
  .addEdge(START, "model")
  .addEdge("model", "tool")
  .addConditionalEdges("tool", ({ turn }) => (turn < turns ? "model" : END))
  .compile({ checkpointer });

const begun = performance.now();
const ends = await Promise.all(Array.from({ length: sessions }, (_, n) =>
  graph.invoke({}, { configurable: { thread_id: `s${n}` }, recursionLimit: 2 * turns + 4, durability: "sync" })));
if (ends.some(({ messages }) => messages.length !== 2 * turns))
  throw new Error("a session is not whole");
told(begun);
await checkpointer.end();
