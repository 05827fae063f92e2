"use strict";
const all = (query, root = document) => [...root.querySelectorAll(query)];
const one = (id) => document.getElementById(id);

const table = one("cases");
if (table) {
  const body = table.tBodies[0], heads = all("thead th", table), rows = [...body.rows];
  const state = { show: "all", group: "", words: "" };

  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.classList.contains("n") ? parseFloat(cell.dataset.v) : cell.textContent.trim();
  };
  const missing = (v) => v === "" || Number.isNaN(v);
  const sort = (column) => {
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.hasAttribute("aria-sort") && head.setAttribute("aria-sort", "none"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    rows.sort((first, second) => {
      const a = value(first, column), b = value(second, column);
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      const order = typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
      return down ? -order : order;
    });
    body.append(...rows);
  };
  heads.forEach((head, column) => all("button", head).forEach((b) => b.addEventListener("click", () => sort(column))));

  const filter = () => {
    let shown = 0;
    rows.forEach((row) => {
      row.hidden = (state.show !== "all" && !(state.show in row.dataset))
        || (state.group !== "" && row.dataset.group !== state.group)
        || !row.textContent.toLowerCase().includes(state.words);
      shown += !row.hidden;
    });
    one("count").textContent = `${shown} of ${rows.length} shown`;
  };
  const buttons = all("[data-show]");
  buttons.forEach((button) => button.addEventListener("click", () => {
    state.show = button.dataset.show;
    buttons.forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
    filter();
  }));
  const group = one("group");
  if (group) group.addEventListener("change", () => { state.group = group.value; filter(); });
  one("words").addEventListener("input", (event) => { state.words = event.target.value.toLowerCase(); filter(); });
  one("tools").hidden = false;
  filter();
}

const viewer = one("viewer"), large = one("large");
let shown = null;
const show = (link) => {
  shown = link;
  one("caption").textContent = link.dataset.caption;
  one("missing").hidden = true;
  one("file").hidden = false;
  one("file").href = link.href;
  large.alt = link.firstElementChild.alt;
  large.src = link.href;
};
large.addEventListener("error", () => {
  const thumbnail = shown.firstElementChild.src;
  if (large.src === thumbnail) return;
  one("missing").hidden = false;
  one("file").hidden = true;
  large.src = thumbnail;
});
const step = (by) => {
  const links = all("a.open").filter((link) => link.offsetParent !== null);
  show(links[(links.indexOf(shown) + by + links.length) % links.length]);
};
all("a.open").forEach((link) => link.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(link);
  viewer.showModal();
}));
one("previous").addEventListener("click", () => step(-1));
one("next").addEventListener("click", () => step(1));
one("close").addEventListener("click", () => viewer.close());
viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
viewer.addEventListener("close", () => shown.focus());
viewer.addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
