// The map of the pictures: the one pointed at, and a mosaic of them all.
(() => {
  "use strict";
  const { map } = JSON.parse(document.getElementById("report-data").textContent);
  const plot = document.querySelector('[data-chart="map"]');
  const card = plot.closest(".map");
  const drawn = card.querySelector(".drawn");
  const peek = document.getElementById("map-peek");
  const sheet = document.getElementById("map-sheet");
  const mosaic = document.getElementById("map-mosaic");
  const CELL = 34;
  const [WIDEST, GAP] = [1.8, 16];
  let cells = new Map();
  let across = 1;

  // Where picture i lies in the sheet.
  const place = (i) => [(i % map.columns) * map.side, Math.floor(i / map.columns) * map.side];

  function show(i, clientX, clientY) {
    const language = document.documentElement.dataset.language;
    const [label, part, name] = [...peek.querySelectorAll("b, span, small")];
    label.textContent = map.label[i] ?? "";
    part.textContent = map.parts[language][map.part[i]];
    name.textContent = map.name[i];
    peek.style.borderTopColor = map.colour[i];
    const canvas = peek.querySelector("canvas");
    if (canvas) {
      const aspect = Math.min(Math.max(map.aspect[i] ?? 1, 1 / WIDEST), WIDEST);
      const scale = 3 * map.side;
      canvas.width = aspect >= 1 ? scale : Math.round(scale * aspect);
      canvas.height = aspect >= 1 ? Math.round(scale / aspect) : scale;
      const pen = canvas.getContext("2d");
      pen.imageSmoothingQuality = "high";
      pen.drawImage(sheet, ...place(i), map.side, map.side, 0, 0, canvas.width, canvas.height);
      canvas.style.width = aspect >= 1 ? "158px" : `${Math.round(158 * aspect)}px`;
    }
    peek.hidden = false;
    // Beside the pointer, on the side that has room.
    const box = card.getBoundingClientRect();
    const [x, y] = [clientX - box.left, clientY - box.top];
    const left = x + GAP + peek.offsetWidth < box.width ? x + GAP : x - GAP - peek.offsetWidth;
    const top = Math.min(y - peek.offsetHeight / 3, box.height - peek.offsetHeight - 8);
    peek.style.left = `${Math.max(4, Math.min(left, box.width - peek.offsetWidth - 4))}px`;
    peek.style.top = `${Math.max(4, top)}px`;
  }

  const hide = () => { peek.hidden = true; };

  // One picture per cell, the one nearest to its middle: no picture covers another.
  function arrange() {
    const width = mosaic.clientWidth;
    const height = Math.min(640, Math.max(420, width * 0.6));
    across = Math.max(1, Math.floor(width / CELL));
    const down = Math.floor(height / CELL);
    const scale = (values) => {
      const known = values.filter((v) => v !== null);
      const low = known.reduce((a, b) => Math.min(a, b), Infinity);
      const high = known.reduce((a, b) => Math.max(a, b), -Infinity);
      return (v) => (high > low ? (v - low) / (high - low) : 0.5) * 0.9999;
    };
    const [toX, toY] = [scale(map.x), scale(map.y)];
    cells = new Map();
    map.x.forEach((x, i) => {
      if (x === null || map.y[i] === null) return;
      const [column, row] = [toX(x) * across, (0.9999 - toY(map.y[i])) * down];
      const key = Math.floor(row) * across + Math.floor(column);
      const away = Math.hypot((column % 1) - 0.5, (row % 1) - 0.5);
      if (!cells.has(key) || cells.get(key).away > away) cells.set(key, { i, away });
    });
    const sharp = window.devicePixelRatio || 1;
    const size = width / across;
    mosaic.width = width * sharp;
    mosaic.height = down * size * sharp;
    const pen = mosaic.getContext("2d");
    pen.scale(sharp, sharp);
    for (const [key, { i }] of cells) {
      const [left, top] = [(key % across) * size, Math.floor(key / across) * size];
      pen.fillStyle = map.colour[i];
      pen.fillRect(left + 1, top + 1, size - 2, size - 2);
      pen.drawImage(sheet, ...place(i), map.side, map.side, left + 2.5, top + 2.5, size - 5, size - 5);
    }
  }

  plot.on("plotly_hover", ({ points, event }) => show(points[0].customdata, event.clientX, event.clientY));
  plot.on("plotly_unhover", hide);
  if (!sheet) return;

  mosaic.addEventListener("pointermove", (event) => {
    const box = mosaic.getBoundingClientRect();
    const size = box.width / across;
    const key = Math.floor((event.clientY - box.top) / size) * across + Math.floor((event.clientX - box.left) / size);
    if (cells.has(key)) show(cells.get(key).i, event.clientX, event.clientY);
    else hide();
  });
  mosaic.addEventListener("pointerleave", hide);

  for (const button of card.querySelectorAll("[data-view]")) {
    button.addEventListener("click", async () => {
      const isMosaic = button.dataset.view === "mosaic";
      for (const other of card.querySelectorAll("[data-view]")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      hide();
      mosaic.hidden = !isMosaic;
      drawn.hidden = isMosaic;
      if (isMosaic) {
        await sheet.decode();
        arrange();
      } else {
        window.Plotly.Plots.resize(plot);
      }
    });
  }
  window.addEventListener("resize", () => { if (!mosaic.hidden) arrange(); });
})();
