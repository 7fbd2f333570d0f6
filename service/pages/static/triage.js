// Draws each chart from the table below it, so both always show the same numbers; and looks again at open tickets.
"use strict";

const style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue(`--${name}`).trim();

function readTable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  const series = heads.flatMap((head, column) => (head.dataset.series ? [{ head, column }] : []));
  return {
    labels: rows.map((row) => row.cells[0].textContent.trim()),
    datasets: series.map(({ head, column }) => ({
      label: head.textContent.trim(),
      data: rows.map((row) => Number(row.cells[column].dataset.value)),
      backgroundColor: colour(head.dataset.series),
      borderColor: colour(head.dataset.series),
    })),
  };
}

// One curve for each name in the first column; the other two numbers of a row are a point of it.
function readCurves(table) {
  const curves = new Map();
  for (const row of table.tBodies[0].rows) {
    const [x, y] = [...row.querySelectorAll("[data-value]")].map((cell) => Number(cell.dataset.value));
    const name = row.cells[0].textContent.trim();
    curves.set(name, [...(curves.get(name) ?? []), { x, y }]);
  }
  const colours = ["main", "warn", "good", "bad"].map(colour);
  const look = (at) => ({ showLine: true, borderColor: colours[at % 4], backgroundColor: colours[at % 4] });
  return { labels: [], datasets: [...curves].map(([label, data], at) => ({ label, data, ...look(at) })) };
}

function axes(options) {
  const grid = { color: colour("line") };
  const ticks = { color: colour("text") };
  if (options.includes("percent")) {
    const share = { ...ticks, callback: (value) => `${Math.round(value * 100)} %` };
    return { x: { ticks: share, grid, min: 0, max: 1 }, y: { ticks: share, grid, max: 1 } };
  }
  const stacked = options.includes("stacked");
  const names = { stacked, ticks: { ...ticks, autoSkip: false }, grid: { display: false } };
  const values = { stacked, ticks, grid, beginAtZero: true };
  if (options.includes("log")) {
    const round = (value) => (Number.isInteger(Math.log10(value)) ? value.toLocaleString("en") : "");
    Object.assign(values, { type: "logarithmic", min: 0.1, ticks: { ...ticks, callback: round, maxRotation: 0 } });
  }
  return options.includes("horizontal") ? { x: values, y: names } : { x: names, y: values };
}

function draw(figure) {
  const { kind } = figure.dataset;
  const options = figure.dataset.options.split(" ");
  const data = (kind === "scatter" ? readCurves : readTable)(figure.querySelector("table"));
  const horizontal = options.includes("horizontal");
  figure.querySelector(".plot").style.height = `${horizontal ? 60 + data.labels.length * 26 : 280}px`;
  new Chart(figure.querySelector("canvas"), {
    type: kind,
    data,
    options: {
      animation: false,
      maintainAspectRatio: false,
      indexAxis: horizontal ? "y" : "x",
      scales: axes(options),
      plugins: { legend: { labels: { color: colour("text") } } },
    },
  });
}

document.querySelectorAll("figure.chart").forEach(draw);

const main = document.getElementById("main");
if (main.dataset.lookAgain) setTimeout(() => location.reload(), Number(main.dataset.lookAgain) * 1000);
// Asked for by our own page, the browser sends the cookie that it kept back when another site asked.
if (main.dataset.go) location.replace(main.dataset.go);
