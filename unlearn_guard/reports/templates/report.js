// Tables that sort: each column's head becomes a button. Without this the page still reads, in the order written.
"use strict";
document.querySelectorAll("table.sorts").forEach((table) => {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const key = (row, place) => {
    const cell = row.cells[place];
    const number = cell.dataset.n;
    return number === undefined ? cell.textContent.trim() : number === "" ? null : Number(number);
  };
  const compare = (a, b) => {
    if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  };
  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [key(row, place), row]);
      // What was never measured stays last, whichever way round.
      rows.sort(([a], [b]) => (a === null || b === null ? compare(a, b) : up ? compare(a, b) : compare(b, a)));
      body.append(...rows.map(([, row]) => row));
    });
  });
});
// What goes on to the right says so: a bar to scroll with is not shown on every screen.
const watch = new ResizeObserver((entries) => entries.forEach(({ target }) => {
  const hint = target.nextElementSibling;
  hint.hidden = target.scrollWidth <= target.clientWidth + 1;
}));
document.querySelectorAll(".scroll").forEach((place) => {
  const hint = document.createElement("p");
  hint.className = "more";
  hint.hidden = true;
  hint.setAttribute("aria-hidden", "true");
  hint.textContent = "goes on to the right \u2192";
  place.after(hint);
  watch.observe(place);
});
// On paper nothing can be opened.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => (each.open = true)));
