"use strict";
// The interactive part: search and filters, and the map. Everything that is shown comes from the JSON block, as text
// nodes; no string ever becomes markup (the page's policy forbids it). Rows are made when they are looked at.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const { statuses, controls, hosts, grid, details, evidence, texts, waivers, waived, changes } = data;
  const WIDTH = controls.length;
  const FIRST = 30; // rows of the list at first
  const STEP = 100; // rows of the list made when more are asked for
  const BLOCK = 40; // rows of the map made at a time
  const NAMES = 200; // pixels of the map's column of names
  const CELL = [matchMedia("(pointer: coarse)").matches ? 22 : 13, 24]; // the smallest and the largest cell, in pixels
  const ORDER = ["fail", "error", "inconclusive", "manual", "waived", "pass", "not_applicable", "not_required"];
  const SEVERITIES = ["critical", "high", "medium", "low"];
  const LOUD = new Set(["fail", "error", "inconclusive"]);
  const AT_FIRST = new Set(["fail", "error", "inconclusive", "manual", "waived"]);
  const MARKS = { fail: "×", error: "!", inconclusive: "?", manual: "m", waived: "w", not_applicable: "–", not_required: "·" };
  const LABELS = Object.fromEntries(
    [...document.querySelectorAll(".filters .chip")].map((chip) => [
      chip.querySelector("input").value,
      chip.childNodes[2].textContent.trim(),
    ]),
  );

  /** An element with attributes and children; strings become text. */
  function make(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) if (value !== null) node.setAttribute(name, value);
    node.append(...children.filter((child) => child !== null));
    return node;
  }

  function icon(status) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", `icon ${status}`);
    svg.setAttribute("aria-hidden", "true");
    const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
    use.setAttribute("href", `#i-${status}`);
    svg.append(use);
    return svg;
  }

  const badge = (status) => make("span", { class: `badge ${status}` }, icon(status), LABELS[status]);
  const severity = (name) =>
    make("span", { class: `severity ${SEVERITIES.includes(name) ? name : ""}` }, make("i", { "aria-hidden": "true" }), name);
  const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
  const statusAt = (host, control) => (grid[host][control] === "." ? null : statuses[Number(grid[host][control])]);

  // A host's details stand without gaps; where each control's are is counted when the host is first looked at.
  const places = new Map();
  function detail(host, control) {
    if (!places.has(host)) {
      let next = 0;
      places.set(host, Int32Array.from(grid[host], (digit) => (digit === "." ? -1 : next++)));
    }
    return details[host][places.get(host)[control]];
  }
  const message = (host, control) => texts[detail(host, control)[0]];

  function rank(list, name) {
    const at = list.indexOf(name);
    return at < 0 ? list.length : at;
  }

  // ---- The list ----------------------------------------------------------------------------------------------------

  const lower = texts.map((text) => text.toLowerCase());
  const controlWords = controls.map(([id, title]) => `${id} ${title}`.toLowerCase());
  const hostWords = hosts.map(([name]) => name.toLowerCase());
  const all = sorted();
  let found = [];
  let shown = 0;
  let only = null; // {host, control}: one result, chosen on the map

  /** Every result as host * WIDTH + control, the most urgent first. */
  function sorted() {
    const height = hosts.length;
    const keys = [];
    for (let host = 0; host < height; host++) {
      for (let control = 0; control < WIDTH; control++) {
        const status = statusAt(host, control);
        if (status === null) continue;
        const urgency = rank(ORDER, status) * (SEVERITIES.length + 1) + rank(SEVERITIES, controls[control][2]);
        keys.push((urgency * WIDTH + control) * height + host);
      }
    }
    return Float64Array.from(keys)
      .sort()
      .map((key) => (key % height) * WIDTH + (Math.floor(key / height) % WIDTH));
  }

  function filter() {
    const wanted = new Set([...document.querySelectorAll('input[name="status"]:checked')].map((box) => box.value));
    const [level, tier, area] = ["severity", "tier", "area"].map((id) => byId(id).value);
    const asked = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    found = [];
    for (const result of all) {
      const host = Math.floor(result / WIDTH);
      const control = result % WIDTH;
      if (only) {
        if (host === only.host && control === only.control) found.push(result);
        continue;
      }
      if (!wanted.has(statusAt(host, control))) continue;
      if (level && controls[control][2] !== level) continue;
      if (tier && hosts[host][1] !== tier) continue;
      if (area && controls[control][3] !== area) continue;
      const said = lower[detail(host, control)[0]];
      const has = (word) => controlWords[control].includes(word) || hostWords[host].includes(word) || said.includes(word);
      if (asked.every(has)) found.push(result);
    }
    shown = 0;
    byId("list").replaceChildren();
    byId("found").textContent = `${found.length.toLocaleString("en")} of ${plural(all.length, "result")}`;
    byId("only").hidden = !only;
    if (only) byId("only").replaceChildren(`${controls[only.control][0]} on `, make("bdi", {}, hosts[only.host][0]), " ×");
    more(FIRST);
  }

  function more(count) {
    const rows = found.slice(shown, shown + count).map(row);
    byId("list").append(...rows);
    shown += rows.length;
    byId("more").hidden = shown >= found.length;
    byId("more").textContent = `Show more (${(found.length - shown).toLocaleString("en")} left)`;
    return rows[0];
  }

  function row(result) {
    const host = Math.floor(result / WIDTH);
    const control = result % WIDTH;
    const [id, title, level] = controls[control];
    const node = make(
      "details",
      { class: "row" },
      make(
        "summary",
        {},
        badge(statusAt(host, control)),
        severity(level),
        make("span", { class: "id" }, id),
        make("bdi", { class: "host" }, hosts[host][0]),
        make("span", { class: "text" }, make("bdi", {}, message(host, control) || title), make("span", { class: "title" }, message(host, control) ? title : "")),
      ),
    );
    node.addEventListener("toggle", () => node.open && node.childElementCount === 1 && node.append(body(host, control)));
    return node;
  }

  function part(heading, ...children) {
    return make("div", {}, make("h4", {}, heading), ...children);
  }

  function body(host, control) {
    const [id, , , , remedy, page] = controls[control];
    const cited = detail(host, control).slice(1).map((number) => evidence[number]);
    const waiver = waivers[waived[`${host},${control}`]];
    const change = changes[`${host},${control}`];
    return make(
      "div",
      { class: "body" },
      waiver ? part("Waiver", make("p", {}, make("bdi", {}, waiver[1])), make("p", {}, make("small", {}, `Owner ${waiver[2]}, approved by ${waiver[3]}, ${waiver[4]}, until ${waiver[6]} (${waiver[7]})`))) : null,
      change ? part("Since the baseline", change) : null,
      part("Remedy", make("code", {}, remedy)),
      part(
        hosts[host][4] ? `Evidence, measured ${hosts[host][4]}` : "Evidence",
        cited.length
          ? make(
              "ul",
              { class: "evidence" },
              ...cited.map(([source, digest, excerpt]) =>
                make(
                  "li",
                  {},
                  make("bdi", {}, texts[source]),
                  make("span", { class: "digest" }, texts[digest]),
                  excerpt < 0 ? make("small", {}, "The excerpt had no room here; report.json has it.") : texts[excerpt] ? make("pre", {}, texts[excerpt]) : null,
                ),
              ),
            )
          : "none",
      ),
      page ? make("p", {}, make("a", { href: `#control-${id}` }, `About ${id}`)) : null,
    );
  }

  function options(id, values, names) {
    byId(id).append(...values.map((value) => make("option", { value }, (names || {})[value] || value)));
  }

  function reset() {
    only = null;
    byId("filters").reset();
    for (const box of document.querySelectorAll('input[name="status"]')) box.checked = AT_FIRST.has(box.value);
    filter();
  }

  function showOne(host, control) {
    only = { host, control };
    filter();
    const first = byId("list").firstElementChild;
    first.open = true;
    byId("results").scrollIntoView();
    first.querySelector("summary").focus({ preventScroll: true });
  }

  const unique = (values) => [...new Set(values)].sort();
  options("severity", SEVERITIES.filter((name) => controls.some((control) => control[2] === name)));
  options("tier", unique(hosts.map((host) => host[1])));
  options("area", unique(controls.map((control) => control[3])));
  let waiting = 0;
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("input", () => {
    only = null;
    clearTimeout(waiting);
    waiting = setTimeout(filter, 80);
  });
  byId("reset").addEventListener("click", reset);
  byId("only").addEventListener("click", () => {
    only = null;
    filter();
  });
  byId("more").addEventListener("click", () => {
    const first = more(STEP);
    if (first) first.querySelector("summary").focus();
  });

  // ---- The map -----------------------------------------------------------------------------------------------------

  const heat = byId("heat");
  const loudness = grid.map((_, host) => {
    let fails = 0;
    let open = 0;
    for (let control = 0; control < WIDTH; control++) {
      const status = statusAt(host, control);
      if (status === "fail") fails++;
      if (LOUD.has(status)) open++;
    }
    return { fails, open };
  });
  // Columns by area, in the order of ids; a line between areas.
  const columns = controls.map((_, number) => number).sort((a, b) => (controls[a][0] < controls[b][0] ? -1 : 1));
  const begins = columns.map((control, at) => at > 0 && controls[control][3] !== controls[columns[at - 1]][3]);
  let lines = []; // hosts in the order of the map's rows
  let blocks = []; // [tbody, made]
  let watcher = null;

  const byName = (a, b) => (hosts[a][0] < hosts[b][0] ? -1 : hosts[a][0] > hosts[b][0] ? 1 : a - b);
  const ORDERS = {
    worst: (a, b) => loudness[b].fails - loudness[a].fails || loudness[b].open - loudness[a].open || byName(a, b),
    name: byName,
    tier: (a, b) => (hosts[a][1] < hosts[b][1] ? -1 : hosts[a][1] > hosts[b][1] ? 1 : ORDERS.worst(a, b)),
  };

  function draw() {
    const loud = byId("loud").checked;
    lines = hosts.map((_, number) => number).filter((host) => !loud || loudness[host].open > 0);
    lines.sort(ORDERS[byId("order").value]);
    const room = Math.floor((heat.clientWidth - NAMES) / WIDTH);
    const size = Math.max(CELL[0], Math.min(CELL[1], room));
    heat.style.setProperty("--cell", `${size}px`);
    heat.classList.toggle("dense", size < 18);
    const head = make(
      "thead",
      {},
      make(
        "tr",
        {},
        make("th", {}, make("span", { class: "sr" }, "Host")),
        ...columns.map((control, at) => {
          const [id, title, , , , page] = controls[control];
          return make("th", { scope: "col", class: begins[at] ? "first" : null, title }, make("a", page ? { href: `#control-${id}` } : {}, id));
        }),
      ),
    );
    blocks = [];
    for (let start = 0; start < lines.length; start += BLOCK) {
      const space = make("td", {});
      space.style.height = `${Math.min(BLOCK, lines.length - start) * size}px`;
      blocks.push([make("tbody", { "data-block": blocks.length }, make("tr", {}, space)), false]);
    }
    const table = make("table", { role: "grid", "aria-label": "Hosts and controls", "aria-rowcount": lines.length + 1 }, head, ...blocks.map(([block]) => block));
    heat.replaceChildren(lines.length ? table : make("p", { class: "hint" }, "No host has a finding."));
    if (watcher) watcher.disconnect();
    watcher = new IntersectionObserver(
      (entries) => entries.forEach((entry) => (entry.isIntersecting ? fill : empty)(Number(entry.target.dataset.block))),
      { root: heat, rootMargin: "600px 0px" },
    );
    blocks.forEach(([block]) => watcher.observe(block));
    if (blocks.length) fill(0);
    const first = heat.querySelector("td[data-host]");
    if (first) first.tabIndex = 0;
  }

  function fill(number) {
    const [block, made] = blocks[number];
    if (made) return;
    blocks[number][1] = true;
    const start = number * BLOCK;
    block.replaceChildren(
      ...lines.slice(start, start + BLOCK).map((host, at) =>
        make(
          "tr",
          { "aria-rowindex": start + at + 2 },
          make("th", { scope: "row" }, make("bdi", { title: hosts[host][0] }, hosts[host][0])),
          ...columns.map((control, column) => cell(host, control, begins[column])),
        ),
      ),
    );
  }

  function empty(number) {
    const [block, made] = blocks[number];
    if (!made || block.contains(document.activeElement)) return;
    blocks[number][1] = false;
    const space = make("td", {});
    space.style.height = `${block.offsetHeight}px`;
    block.replaceChildren(make("tr", {}, space));
  }

  function cell(host, control, first) {
    const status = statusAt(host, control);
    return make(
      "td",
      {
        "data-host": host,
        "data-control": control,
        tabindex: -1,
        class: first ? "first" : null,
        "aria-label": `${controls[control][0]} on ${hosts[host][0]}: ${status ? LABELS[status] : "no result"}`,
      },
      status ? make("span", { class: `dot ${status}`, "aria-hidden": "true" }, MARKS[status] || "") : "",
    );
  }

  function point(target) {
    const host = Number(target.dataset.host);
    const control = Number(target.dataset.control);
    const status = statusAt(host, control);
    const words = status ? message(host, control) : "";
    byId("pointed").replaceChildren(
      ...(status ? [badge(status), " "] : []),
      make("b", {}, controls[control][0]),
      ` ${controls[control][1]}, on `,
      make("bdi", { class: "host" }, hosts[host][0]),
      ...(words ? [": ", make("bdi", {}, words)] : []),
    );
  }

  const cellOf = (node) => (node instanceof Element ? node.closest("td[data-host]") : null);
  heat.addEventListener("mouseover", (event) => cellOf(event.target) && point(cellOf(event.target)));
  heat.addEventListener("focusin", (event) => cellOf(event.target) && point(cellOf(event.target)));
  heat.addEventListener("click", (event) => {
    const target = cellOf(event.target);
    if (target && statusAt(Number(target.dataset.host), Number(target.dataset.control))) {
      showOne(Number(target.dataset.host), Number(target.dataset.control));
    }
  });
  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  heat.addEventListener("keydown", (event) => {
    const target = cellOf(event.target);
    if (!target) return;
    if (event.key === "Enter") {
      event.preventDefault(); // or the same key would close the result that has the focus by then
      target.click();
      return;
    }
    const at = [lines.indexOf(Number(target.dataset.host)), columns.indexOf(Number(target.dataset.control))];
    if (event.key === "Home") at[1] = 0;
    else if (event.key === "End") at[1] = WIDTH - 1;
    else if (event.key in MOVES) MOVES[event.key].forEach((step, axis) => (at[axis] += step));
    else return;
    event.preventDefault();
    const line = Math.max(0, Math.min(lines.length - 1, at[0]));
    const control = columns[Math.max(0, Math.min(WIDTH - 1, at[1]))];
    fill(Math.floor(line / BLOCK));
    const next = heat.querySelector(`td[data-host="${lines[line]}"][data-control="${control}"]`);
    target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
  byId("order").addEventListener("change", draw);
  byId("loud").addEventListener("change", draw);
  addEventListener("beforeprint", () => {
    if (lines.length * WIDTH <= 20000) blocks.forEach((_, number) => fill(number));
  });

  // ---- The page ----------------------------------------------------------------------------------------------------

  /** Open the control's page that the address names. */
  function open() {
    const target = location.hash.startsWith("#control-") && byId(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    target.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", open);

  const THEMES = ["auto", "dark", "light"];
  const theme = byId("theme");
  function wear(name) {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    theme.textContent = `Theme: ${name}`;
  }
  theme.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme || "auto";
    wear(THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]);
  });

  document.querySelectorAll(".scripted").forEach((node) => (node.hidden = false));
  reset();
  draw();
  open();
})();
