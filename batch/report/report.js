"use strict";
// The page is whole without this: it adds search, filters, sorting, pages and buttons that copy.
(() => {
  const PAGE = 100;
  const table = document.getElementById("sessions-table");

  for (const code of document.querySelectorAll("code[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy: " + code.textContent);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 1600);
    });
    code.after(button);
  }
  if (!table)
    return;

  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({ row, text: row.textContent.toLowerCase(), status: row.dataset.s }));
  const tools = document.getElementById("tools");
  const pages = document.getElementById("pages");
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const earlier = document.getElementById("earlier");
  const later = document.getElementById("later");
  const chips = Array.from(tools.querySelectorAll("button[data-s]"));
  let order = rows;
  let status = "";
  let first = 0;

  function draw() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = order.filter((r) => (!status || r.status === status) && words.every((w) => r.text.includes(w)));
    if (first >= found.length)
      first = 0;
    const visible = found.slice(first, first + PAGE);
    body.replaceChildren(...visible.map((r) => r.row));
    const last = first + visible.length;
    shown.textContent = found.length === 0 ? "No session fits." :
      `${(first + 1).toLocaleString("en")} to ${last.toLocaleString("en")} of ${found.length.toLocaleString("en")}`;
    earlier.disabled = first === 0;
    later.disabled = last >= found.length;
    earlier.hidden = later.hidden = found.length <= PAGE;
  }
  function again() {
    first = 0;
    draw();
  }

  for (const chip of chips)
    chip.addEventListener("click", () => {
      status = chip.dataset.s;
      for (const other of chips)
        other.setAttribute("aria-pressed", String(other === chip));
      again();
    });
  search.addEventListener("input", again);
  earlier.addEventListener("click", () => { first = Math.max(0, first - PAGE); draw(); });
  later.addEventListener("click", () => { first += PAGE; draw(); });

  Array.from(table.tHead.rows[0].cells).forEach((th, column) => {
    if (!th.dataset.sort)
      return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = th.textContent;
    th.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = th.dataset.sort === "number" ? th.getAttribute("aria-sort") !== "descending" : th.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells)
        other.removeAttribute("aria-sort");
      th.setAttribute("aria-sort", down ? "descending" : "ascending");
      const value = (r) => {
        const cell = r.row.cells[column];
        return th.dataset.sort === "number" ? Number(cell.dataset.v) : cell.dataset.v ?? cell.textContent;
      };
      order = rows.map((r) => [value(r), r]).sort(([a], [b]) => {
        const way = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
        return down ? -way : way;
      }).map(([, r]) => r);
      again();
    });
  });
  tools.hidden = false;
  pages.hidden = false;
  draw();
})();
