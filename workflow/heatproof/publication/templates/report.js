"use strict";
(() => {
  const said = document.getElementById("said");
  const say = (text) => { said.textContent = text; setTimeout(() => { said.textContent = ""; }, 2500); };
  const text = (row, column) => row.cells[column].textContent;
  const number = (value) => (/^[+\-−]?[\d.]+(e[+-]?\d+)?$/i.test(value) ? parseFloat(value.replace("−", "-")) : NaN);

  // Missing values go last in either direction; equal values keep their order.
  const compare = (a, b, sign) => {
    if ((a === "n/a") !== (b === "n/a")) return a === "n/a" ? 1 : -1;
    const [x, y] = [number(a), number(b)];
    return sign * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en") : x - y);
  };

  document.querySelectorAll("[data-sort]").forEach((button) => button.addEventListener("click", () => {
    const head = button.closest("th");
    const table = button.closest("table");
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    table.querySelectorAll("th[aria-sort]").forEach((other) => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => compare(text(a, head.cellIndex), text(b, head.cellIndex), sign));
    table.tBodies[0].append(...rows);
  }));

  document.querySelectorAll("[data-filter]").forEach((input) => input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of input.closest("details").querySelector("tbody").rows) {
      const cells = [...row.cells].map((cell) => cell.textContent).join("\t").toLowerCase();
      row.hidden = !wanted.every((word) => cells.includes(word));
      left += row.hidden ? 0 : 1;
    }
    say(`${left} rows`);
  }));

  const copy = async (content) => {
    try {
      await navigator.clipboard.writeText(content);
    } catch {
      // A file opened from disk may not use the clipboard interface.
      const area = document.createElement("textarea");
      area.value = content;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  };
  document.querySelectorAll("[data-copy]").forEach((button) => button.addEventListener("click", async () => {
    const table = button.closest("details").querySelector("table");
    const rows = [...table.rows].filter((row) => !row.hidden);
    await copy(rows.map((row) => [...row.cells].map((cell) => cell.textContent.trim()).join("\t")).join("\n"));
    say(`${rows.length - 1} rows copied`);
  }));

  // Frames stand side by side in one picture; the slider moves it behind a window as wide as one of them.
  document.querySelectorAll("[data-frames]").forEach((box) => {
    const doses = box.dataset.frames.split(" ");
    const [picture, slider, shown] = ["img", "input", "output"].map((tag) => box.querySelector(tag));
    const show = () => {
      const words = slider.value === "0" ? "none: the scan as it is" : doses[slider.value];
      picture.style.transform = `translateX(${-100 * slider.value / doses.length}%)`;
      slider.setAttribute("aria-valuetext", words);
      shown.textContent = words;
    };
    const start = () => {
      picture.style.width = `${100 * doses.length}%`;
      picture.parentElement.style.maxWidth = `${picture.naturalWidth / doses.length}px`;
      box.classList.add("sliding");
      box.querySelector(".plate").removeAttribute("tabindex");
      box.querySelector(".slider").hidden = false;
      slider.addEventListener("input", show);
      show();
    };
    if (picture.complete) start();
    else picture.addEventListener("load", start);
  });

  // A link into a closed table opens it; paper shows everything.
  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const details = target && target.closest("details");
    if (details) details.open = true;
  };
  addEventListener("hashchange", open);
  open();
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
})();
