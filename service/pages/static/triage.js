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

function axes(options) {
  const grid = { color: colour("line") };
  const ticks = { color: colour("text") };
  const stacked = options.includes("stacked");
  const names = { stacked, ticks: { ...ticks, autoSkip: false }, grid: { display: false } };
  const values = { stacked, ticks, grid, beginAtZero: true, type: options.includes("log") ? "logarithmic" : "linear" };
  return options.includes("horizontal") ? { x: values, y: names } : { x: names, y: values };
}

function draw(figure) {
  const options = figure.dataset.options.split(" ");
  const data = readTable(figure.querySelector("table"));
  const horizontal = options.includes("horizontal");
  const plot = figure.querySelector(".plot");
  plot.style.height = `${horizontal ? 60 + data.labels.length * 26 : 280}px`;
  new Chart(figure.querySelector("canvas"), {
    type: figure.dataset.kind,
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
