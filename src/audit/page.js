"use strict";
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = head.querySelector("button");
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.key ?? row.cells[column].textContent;
      const rows = [...body.rows].map((row) => [key(row), row]);
      const order = new Intl.Collator(undefined, { numeric: true });
      rows.sort(([a], [b]) => (down ? order.compare(b, a) : order.compare(a, b)));
      body.append(...rows.map(([, row]) => row));
    });
  });
}
