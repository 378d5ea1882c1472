// check.mjs PAGE... - look at report pages in headless Chromium: nothing serious by axe-core, no request, no script of
// others, no page wider than its window, and search, filter and sorting that work. Says what is wrong and exits 1.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { HtmlValidate } from "html-validate";

const PATIENCE_MS = 240_000; // a browser beside other suites on two processors takes its time

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath: process.env.NJ_CHROMIUM,
  timeout: PATIENCE_MS,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});
const faults = [];

async function look(path, width, colorScheme) {
  const where = `${path} at ${width}, ${colorScheme}`;
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  page.on("console", (message) => faults.push(`${where}: console: ${message.text()}`));
  page.on("pageerror", (error) => faults.push(`${where}: ${error}`));
  page.on("dialog", (dialog) => { faults.push(`${where}: a dialog`); dialog.dismiss(); });
  page.on("request", (request) => {
    if (request.url() !== `file://${path}`)
      faults.push(`${where}: request to ${request.url()}`);
  });
  await page.goto(`file://${path}`);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  if (wide > width)
    faults.push(`${where}: ${wide} pixels wide`);
  const out = await page.$$eval("section table", (tables) => tables.filter((table) => {
    const card = table.closest("section"), inside = parseFloat(getComputedStyle(card).paddingRight);
    return table.getBoundingClientRect().right > card.getBoundingClientRect().right - inside + 1;
  }).map((table) => table.closest("section").getAttribute("aria-labelledby")));
  for (const name of out)
    faults.push(`${where}: the table of ${name} sticks out of its card`);
  const { violations } = await page.evaluate(`${axe}; axe.run()`);
  for (const { id, impact, nodes } of violations)
    faults.push(`${where}: axe ${impact} ${id}: ${nodes[0].html}`);
  await context.close();
}

async function use(path) {
  const page = await browser.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  await page.goto(`file://${path}`);
  const count = () => page.locator("#sessions-table tbody tr").count();
  const all = await count();
  await page.fill("#search", "invoice-00007");
  if (await count() !== 1)
    faults.push(`${path}: searching for one session finds ${await count()}`);
  await page.fill("#search", "");
  await page.click("#tools button[data-s=failed]");
  const failed = await count();
  if (failed === 0 || failed >= all)
    faults.push(`${path}: the filter shows ${failed} failed of ${all}`);
  await page.click("#tools button[data-s='']");
  await page.click("#sessions-table th:nth-child(6) button");
  const times = await page.$$eval("#sessions-table tbody tr", (rows) => rows.map((row) => Number(row.cells[5].dataset.v)));
  if (times.some((time, i) => i > 0 && time > times[i - 1]))
    faults.push(`${path}: sorting by time leaves them unsorted`);
  await page.close();
}

const validator = new HtmlValidate({ extends: ["html-validate:recommended"], rules: { "long-title": "off" } });
for (const path of process.argv.slice(2)) {
  const report = await validator.validateFile(path);
  for (const { messages } of report.results)
    for (const { line, column, message, ruleId } of messages.slice(0, 5))
      faults.push(`${path}:${line}:${column}: ${message} (${ruleId})`);
  await look(path, 360, "light");
  await look(path, 768, "dark");
  await look(path, 920, "light");
  await look(path, 1160, "light");
  await look(path, 1280, "light");
}
await use(process.argv[2]);
await browser.close();
console.log(faults.join("\n"));
process.exit(faults.length > 0 ? 1 : 0);
