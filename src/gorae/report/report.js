// Language, theme, charts and sorting of one report page.
(() => {
  "use strict";
  const { themes, charts } = JSON.parse(document.getElementById("report-data").textContent);
  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const places = [...document.querySelectorAll("[data-chart]")];
  const remembered = "gorae.language";
  let printing = false;

  // Storage is refused to pages opened from some folders and in private windows.
  const recall = () => { try { return localStorage.getItem(remembered); } catch { return null; } };
  const remember = (language) => { try { localStorage.setItem(remembered, language); } catch { /* shown, not kept */ } };

  function draw() {
    if (!window.Plotly) return;
    const theme = themes[dark.matches && !printing ? "dark" : "light"];
    for (const place of places) {
      const figure = structuredClone(charts[root.dataset.language][place.dataset.chart]);
      figure.layout.template = theme;
      if (printing) figure.layout.width = place.clientWidth;
      Plotly.react(place, figure.data, figure.layout, { displayModeBar: false, responsive: true });
    }
  }

  function choose(language) {
    root.dataset.language = root.lang = language;
    for (const button of document.querySelectorAll("[data-choose]")) {
      button.setAttribute("aria-pressed", String(button.dataset.choose === language));
    }
    draw();
  }

  for (const button of document.querySelectorAll("[data-choose]")) {
    button.addEventListener("click", () => {
      remember(button.dataset.choose);
      choose(button.dataset.choose);
    });
  }

  // Numbers start with the largest, names in the order of the classes.
  for (const head of document.querySelectorAll("table.sortable th[data-sort]")) {
    head.addEventListener("click", () => {
      const table = head.closest("table");
      const first = head.dataset.sort === "number" ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? second : first;
      for (const other of table.querySelectorAll("th")) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const value = (row) => Number(row.cells[head.cellIndex].dataset.value);
      const rows = [...table.tBodies[0].rows].sort((a, b) => sign * (value(a) - value(b)));
      table.tBodies[0].append(...rows);
    });
  }

  dark.addEventListener("change", draw);
  window.addEventListener("beforeprint", () => { printing = true; root.classList.add("printing"); draw(); });
  window.addEventListener("afterprint", () => { printing = false; root.classList.remove("printing"); draw(); });

  const wanted = recall() || (navigator.language || "en").slice(0, 2);
  choose(wanted === "ko" ? "ko" : "en");
})();
