"use strict";
// Sorts a table's rows by the column whose title is clicked; a second click turns the order round.
const units = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };
// What a cell counts as: its number (an exponent of 2, a size, a leading number), else null.
function number(text) {
  const power = /^2\^(-?[\d.]+)$/.exec(text);
  if (power) return parseFloat(power[1]);
  const parts = /^([+-]?[\d.]+)(?:\s*(B|KiB|MiB|GiB))?/.exec(text);
  return parts ? parseFloat(parts[1]) * (units[parts[2]] || 1) : null;
}
function compare(a, b) {
  const x = number(a), y = number(b);
  if (x !== null && y !== null) return x - y;
  return (y !== null) - (x !== null) || a.localeCompare(b, "en", { numeric: true });
}
for (const table of document.querySelectorAll("table.sortable")) {
  const titles = [...table.tHead.rows[0].cells];
  titles.forEach((title, column) => title.firstElementChild.addEventListener("click", () => {
    const sign = title.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    titles.forEach(other => other.removeAttribute("aria-sort"));
    title.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    const text = row => row.cells[column].textContent;
    rows.sort((a, b) => sign * compare(text(a), text(b)));
    table.tBodies[0].append(...rows);
  }));
}
