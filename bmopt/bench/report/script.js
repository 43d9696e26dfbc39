"use strict";
// Without scripts the page is whole; this only adds a filter to long tables.
for (const block of document.querySelectorAll(".filtered")) {
  const bar = block.querySelector(".filter");
  const field = bar.querySelector("input");
  const count = bar.querySelector("output");
  const rows = [...block.querySelectorAll("tbody tr")];
  bar.hidden = rows.length < 2;
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = wanted ? ` ${shown} of ${rows.length}` : "";
  });
}
// What is folded away on the screen belongs on paper too.
addEventListener("beforeprint", () => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
});
