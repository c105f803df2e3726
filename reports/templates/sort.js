"use strict";
// Every heading of a sortable table becomes a button: a click, Enter or the space bar sorts by its
// column. Missing values stay last; equal rows keep their order. Without this script the page has
// all it shows, in the order of the line.
const compare = (one, other) =>
  isNaN(one) || isNaN(other) ? one.localeCompare(other, "en", { numeric: true }) : one - other;

function sortBy(table, heading) {
  const body = table.tBodies[0];
  const up = heading.getAttribute("aria-sort") !== "ascending";
  const key = (row) => row.cells[heading.cellIndex].dataset.key;
  const order = (a, b) =>
    !key(a) - !key(b) || (up ? compare(key(a), key(b)) : compare(key(b), key(a)));
  body.append(...[...body.rows].sort(order));
  for (const one of heading.parentElement.cells) one.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(table, heading));
    heading.append(button);
  }
}
document.documentElement.classList.add("scripted");
