// turns.mjs - what each peer's sessions do: a model's reply of some bytes, then a tool call, again and again. The reply is at
// hand and the tool is this process, or a program in a new bubblewrap box, so that the record of the steps is what is measured.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";

export const [sessions, turns, bytes, box] = process.argv.slice(2).map(Number);
export const url = process.env.BENCH_POSTGRES;

const text = "x".repeat(bytes);
const words = ["--unshare-all", "--die-with-parent", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin", "--symlink",
  "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "bash", "-c", ":"];

export async function model(turn) { return `${turn}: ${text}`; }

export async function tool(turn) {
  if (!box) return `done ${turn}`;
  const status = await new Promise((resolve, reject) => spawn("bwrap", words, { stdio: "ignore" }).on("error", reject).on("exit", resolve));
  if (status !== 0) throw new Error(`the box ended with ${status}`);
  return `done ${turn}`;
}

// cpu - seconds of this process and of its children that have ended
function cpu() {
  const fields = readFileSync("/proc/self/stat", "latin1").replace(/^.*\) /s, "").split(" ");
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / 100; // USER_HZ is 100 on Linux
}

const before = cpu();

// told - seconds of the clock since @begun, and of CPU since the modules were loaded, on one line
export function told(begun) {
  console.log(((performance.now() - begun) / 1000).toFixed(3), (cpu() - before).toFixed(3));
}
