"use strict";
// Shows the session that is embedded in this page. Recorded text only ever becomes a text node: nothing here builds
// markup from strings.
(() => {
  const session = JSON.parse(document.getElementById("session").textContent);
  const $ = (id) => document.getElementById(id);
  const element = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // --- Header ---------------------------------------------------------------------------------

  document.title = session.title;
  $("title").textContent = session.title;
  $("id").textContent = "session " + session.id;
  $("verdict").textContent = session.verdict.text;
  $("verdict").className = session.verdict.state;
  for (const fact of session.facts) {
    $("facts").append(element("dt", "", fact.name), element("dd", fact.warns ? "warning" : "", fact.text));
  }
  $("made").textContent = session.made;

  // --- State of the view ----------------------------------------------------------------------

  const whole = { from: 0, to: Math.max(1, session.until_us) };
  const state = { query: "", view: "timeline", failures: false, from: whole.from, to: whole.to };

  function readHash() {
    const given = new URLSearchParams(location.hash.slice(1));
    const number = (name, otherwise) => {
      const value = Number(given.get(name) ?? NaN);
      return Number.isFinite(value) ? value * 1000 : otherwise;
    };
    state.query = given.get("q") ?? "";
    state.view = given.get("view") === "tree" ? "tree" : "timeline";
    state.failures = given.has("failures");
    zoomTo(number("from", whole.from), number("to", whole.to));
  }

  function writeHash() {
    const kept = new URLSearchParams();
    if (state.query) kept.set("q", state.query);
    if (state.view === "tree") kept.set("view", "tree");
    if (state.failures) kept.set("failures", "");
    if (isZoomed()) {
      kept.set("from", Math.round(state.from / 1000));
      kept.set("to", Math.round(state.to / 1000));
    }
    const hash = kept.toString();
    if (hash !== location.hash.slice(1)) {
      history.replaceState(null, "", hash ? "#" + hash : location.pathname + location.search);
    }
  }

  const isZoomed = () => state.from > whole.from || state.to < whole.to;

  function zoomTo(from, to) {
    const narrowest = Math.min(1000, whole.to);
    const width = Math.min(Math.max(to - from, narrowest), whole.to);
    const middle = (from + to) / 2;
    state.from = Math.min(Math.max(middle - width / 2, whole.from), whole.to - width);
    state.to = state.from + width;
  }

  // --- Rows -----------------------------------------------------------------------------------

  function makeRow(row) {
    if (row.kind === "gap") {
      const made = element("div", "row gap", row.what);
      made.tabIndex = -1;
      return made;
    }
    const made = element("div", "row");
    made.tabIndex = -1;
    const what = element("span", "what");
    what.append(element("span", "command", row.what));
    if (row.notes) what.append(" ", element("span", "note", "[" + row.notes + "]"));
    made.append(
      element("span", "time", row.clock),
      element("span", "pid", row.pid ?? ""),
      element("span", row.changed ? "user changed" : "user", row.user),
      element("span", "result" + (row.bad ? " bad" : row.odd ? " odd" : ""), row.result),
      element("span", "took", row.took),
      what,
    );
    return made;
  }

  const text = (row) => {
    row.text ??= [row.clock, row.pid, row.user, row.result, row.what, row.notes, row.detail]
      .join("\n").toLowerCase();
    return row.text;
  };

  // A view is built when it is first shown, and then reused.
  const views = {
    timeline: { items: null, make: makeTimeline },
    tree: { items: null, make: makeTree },
  };

  function makeTimeline() {
    const items = [];
    let day = "";
    for (const row of session.rows) {
      if (row.day !== day) {
        day = row.day;
        items.push({ day: true, node: element("div", "day", day + " UTC") });
      }
      items.push({ row, node: makeRow(row) });
    }
    return items;
  }

  function makeTree() {
    const items = session.tree.map((branch) => {
      const row = branch.row ?? session.rows[branch.index];
      const node = makeRow(row);
      const what = node.querySelector(".what") ?? node;
      // Limited, as in a terminal, so that a very deep chain of processes stays visible.
      what.style.setProperty("--depth", Math.min(branch.depth, 40));
      if (branch.further) what.prepend("→ ");
      return { row, node, depth: branch.depth, collapsed: false };
    });
    items.forEach((item, index) => {
      const next = items[index + 1];
      if (next === undefined || next.depth <= item.depth) return;
      const fold = element("button", "fold", "▾");
      fold.type = "button";
      fold.tabIndex = -1;
      fold.setAttribute("aria-expanded", "true");
      fold.setAttribute("aria-label", "Children");
      fold.addEventListener("click", (event) => {
        event.stopPropagation();
        setCollapsed(item, !item.collapsed);
      });
      item.fold = fold;
      (item.node.querySelector(".what") ?? item.node).prepend(fold);
    });
    return items;
  }

  function setCollapsed(item, collapsed) {
    if (!item.fold) return;
    item.collapsed = collapsed;
    item.fold.textContent = collapsed ? "▸" : "▾";
    item.fold.setAttribute("aria-expanded", String(!collapsed));
    show();
  }

  function items() {
    const view = views[state.view];
    view.items ??= view.make();
    return view.items;
  }

  let shown = null;

  function show() {
    const all = items();
    if (shown !== state.view) {
      const fragment = document.createDocumentFragment();
      for (const item of all) {
        item.node.vctl = item;
        fragment.append(item.node);
      }
      $("rows").replaceChildren(fragment);
      shown = state.view;
    }
    const words = state.query.toLowerCase();
    const isMeant = (row) =>
      (!words || text(row).includes(words)) &&
      (!state.failures || row.bad || row.kind === "gap") &&
      row.at_us <= state.to && row.at_us + (row.took_us ?? 0) >= state.from;
    let count = 0, total = 0, folded = Infinity, day = null;
    // Backwards for the tree: the ancestors of a match are shown too, dimmed.
    const keeps = new Array(all.length).fill(false);
    if (state.view === "tree") {
      let needed = -1;
      for (let index = all.length - 1; index >= 0; index--) {
        const item = all[index];
        item.meant = isMeant(item.row);
        keeps[index] = item.meant || item.depth < needed;
        if (keeps[index]) needed = item.depth;
        if (item.depth === 0) needed = -1;
      }
    }
    all.forEach((item, index) => {
      if (item.day) {
        day = item.node;
        day.hidden = true;
        return;
      }
      total += 1;
      let visible = state.view === "tree" ? keeps[index] : isMeant(item.row);
      if (state.view === "tree") {
        if (item.depth <= folded) folded = Infinity;
        if (folded !== Infinity) visible = false;
        if (item.collapsed && folded === Infinity) folded = item.depth;
        item.node.classList.toggle("dim", visible && !item.meant);
      }
      item.node.hidden = !visible;
      if (!visible) return;
      if (state.view !== "tree" || item.meant) count += 1;
      if (day) day.hidden = false;
    });
    const narrowed = count < total ? `${count.toLocaleString("en")} of ` : "";
    $("count").textContent = `${narrowed}${total.toLocaleString("en")} line${total === 1 ? "" : "s"}`;
    $("as-timeline").setAttribute("aria-pressed", String(state.view === "timeline"));
    $("as-tree").setAttribute("aria-pressed", String(state.view === "tree"));
    $("failures").checked = state.failures;
    if ($("search").value !== state.query) $("search").value = state.query;
    highlight(words);
    draw();
    writeHash();
  }

  function highlight(words) {
    if (typeof Highlight === "undefined") return;
    CSS.highlights.delete("found");
    if (!words) return;
    const found = new Highlight();
    let left = 2000;
    for (const item of items()) {
      if (item.day || item.node.hidden) continue;
      const walker = document.createTreeWalker(item.node, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const value = node.data.toLowerCase();
      // A lower-case text of another length would have other offsets.
        if (value.length !== node.data.length) continue;
        for (let at = value.indexOf(words); at >= 0; at = value.indexOf(words, at + words.length)) {
          const range = new Range();
          range.setStart(node, at);
          range.setEnd(node, at + words.length);
          found.add(range);
          if (--left === 0) { CSS.highlights.set("found", found); return; }
        }
      }
    }
    CSS.highlights.set("found", found);
  }

  // --- The chart ------------------------------------------------------------------------------

  const chart = $("chart");
  const MOST_LANES = 10;
  let drag = null;
  const lanes = [];
  {
    // Overlapping programs get different lanes, as long as lanes are free.
    const ends = new Array(MOST_LANES).fill(-1);
    for (const row of session.rows) {
      if (row.kind === "gap" || row.kind === "moved") continue;
      const end = row.at_us + (row.took_us ?? 0);
      let lane = ends.findIndex((until) => until < row.at_us);
      if (lane < 0) lane = ends.indexOf(Math.min(...ends));
      ends[lane] = Math.max(ends[lane], end);
      lanes.push({ row, lane });
    }
  }
  const laneCount = lanes.reduce((most, { lane }) => Math.max(most, lane + 1), 3);
  chart.style.height = 40 + laneCount * 13 + "px";

  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function draw() {
    const scale = window.devicePixelRatio || 1;
    const { width, height } = chart.getBoundingClientRect();
    if (!width) return;
    chart.width = width * scale;
    chart.height = height * scale;
    const context = chart.getContext("2d");
    context.scale(scale, scale);
    const x = (us) => (us - state.from) / (state.to - state.from) * width;
    const top = 6, axis = height - 20, lane = (axis - top) / laneCount;
    context.fillStyle = color("--gap");
    for (const row of session.rows) {
      if (row.kind !== "gap") continue;
      const from = x(row.at_us), to = Math.max(x(row.at_us + (row.took_us ?? 0)), from + 3);
      if (to < 0 || from > width) continue;
      context.globalAlpha = 0.28;
      context.fillRect(from, 0, to - from, axis);
      context.globalAlpha = 1;
      context.fillRect(from, 0, Math.max(to - from, 2), 3);
    }
    const words = state.query.toLowerCase();
    const [bar, bad, dim] = [color("--bar"), color("--bad"), color("--dim")];
    for (const { row, lane: nth } of lanes) {
      const from = x(row.at_us), to = x(row.at_us + (row.took_us ?? 0));
      if (to < 0 || from > width) continue;
      context.globalAlpha = words && !text(row).includes(words) || state.failures && !row.bad ? 0.15 : 0.9;
      context.fillStyle = row.bad ? bad : bar;
      context.fillRect(from, top + nth * lane, Math.max(to - from, 1.5), Math.max(lane - 2, 2));
    }
    context.globalAlpha = 1;
    context.fillStyle = dim;
    context.strokeStyle = color("--line");
    context.font = "11px ui-monospace, monospace";
    context.textBaseline = "middle";
    context.beginPath();
    context.moveTo(0, axis + 0.5);
    context.lineTo(width, axis + 0.5);
    for (const [us, label] of ticks(width)) {
      const at = Math.round(x(us)) + 0.5;
      context.moveTo(at, axis);
      context.lineTo(at, axis + 4);
      const half = context.measureText(label).width / 2;
      context.fillText(label, Math.min(Math.max(at - half, 2), width - 2 * half - 2), axis + 12);
    }
    context.stroke();
    if (drag) {
      context.fillStyle = color("--focus");
      context.globalAlpha = 0.2;
      context.fillRect(Math.min(drag.from, drag.to), 0, Math.abs(drag.to - drag.from), axis);
      context.globalAlpha = 1;
    }
  }

  // Steps of the time axis in milliseconds; labels show the host's wall clock in UTC.
  const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5,
    9e5, 18e5, 36e5, 72e5, 108e5, 216e5, 432e5, 864e5, 1728e5, 6048e5];

  function* ticks(width) {
    const perMs = width / ((state.to - state.from) / 1000);
    const step = STEPS.find((ms) => ms * perMs >= 110) ?? 2419200e3;
    const begin = session.opened_ms;
    const first = Math.ceil((begin + state.from / 1000) / step) * step;
    for (let ms = first; (ms - begin) * 1000 <= state.to; ms += step) {
      const iso = new Date(ms).toISOString();
      const label = step >= 864e5 ? iso.slice(0, 10) : step >= 6e4 ? iso.slice(11, 16)
        : step >= 1e3 ? iso.slice(11, 19) : iso.slice(11, 23);
      yield [(ms - begin) * 1000, label];
    }
  }

  const zoom = (factor, around) => {
    const at = around ?? (state.from + state.to) / 2;
    zoomTo(at - (at - state.from) * factor, at + (state.to - at) * factor);
    show();
  };
  const pan = (part) => {
    const by = (state.to - state.from) * part;
    zoomTo(state.from + by, state.to + by);
    show();
  };
  const atPointer = (event) => {
    const box = chart.getBoundingClientRect();
    return Math.min(Math.max(event.clientX - box.left, 0), box.width);
  };
  const toUs = (px) => state.from + px / chart.getBoundingClientRect().width * (state.to - state.from);

  chart.addEventListener("pointerdown", (event) => {
    drag = { from: atPointer(event), to: atPointer(event) };
    chart.setPointerCapture(event.pointerId);
  });
  chart.addEventListener("pointermove", (event) => {
    if (!drag) return;
    drag.to = atPointer(event);
    draw();
  });
  chart.addEventListener("pointerup", () => {
    if (!drag) return;
    const [from, to] = [Math.min(drag.from, drag.to), Math.max(drag.from, drag.to)].map(toUs);
    const isRange = Math.abs(drag.to - drag.from) > 4;
    drag = null;
    if (isRange) zoomTo(from, to);
    show();
  });
  chart.addEventListener("pointercancel", () => { drag = null; draw(); });
  chart.addEventListener("dblclick", () => { zoomTo(whole.from, whole.to); show(); });
  chart.addEventListener("wheel", (event) => {
    // Without Ctrl or Cmd the wheel scrolls the page.
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, toUs(atPointer(event)));
  }, { passive: false });

  // --- Controls -------------------------------------------------------------------------------

  let later = 0;
  $("search").addEventListener("input", () => {
    state.query = $("search").value;
    cancelAnimationFrame(later);
    later = requestAnimationFrame(show);
  });
  const lookAs = (view) => { state.view = view; show(); };
  $("as-timeline").addEventListener("click", () => lookAs("timeline"));
  $("as-tree").addEventListener("click", () => lookAs("tree"));
  $("failures").addEventListener("change", () => { state.failures = $("failures").checked; show(); });
  $("zoom-in").addEventListener("click", () => zoom(0.5));
  $("zoom-out").addEventListener("click", () => zoom(2));
  $("zoom-all").addEventListener("click", () => { zoomTo(whole.from, whole.to); show(); });

  function toggleDetail(item) {
    if (!item?.row?.detail) return;
    const open = item.node.querySelector(".detail");
    if (open) open.remove(); else item.node.append(element("div", "detail", item.row.detail));
    item.node.setAttribute("aria-expanded", String(!open));
  }

  $("rows").addEventListener("click", (event) => {
    const node = event.target.closest(".row");
    // A click that ends a text selection does not open details.
    if (!node || event.target.closest(".detail") || String(getSelection())) return;
    focus(node);
    toggleDetail(node.vctl);
  });

  function focus(node) {
    document.querySelector("#rows [tabindex='0']")?.setAttribute("tabindex", "-1");
    node.tabIndex = 0;
    node.focus({ preventScroll: true });
    node.scrollIntoView({ block: "nearest" });
  }

  function move(by) {
    const rows = items().filter((item) => !item.day && !item.node.hidden);
    if (!rows.length) return;
    const now = rows.findIndex((item) => item.node === document.activeElement);
    const next = now < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(now + by, 0), rows.length - 1);
    focus(rows[next].node);
  }

  const KEYS = {
    "/": () => $("search").focus(),
    j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
    PageDown: () => move(25), PageUp: () => move(-25),
    t: () => lookAs(state.view === "tree" ? "timeline" : "tree"),
    f: () => { state.failures = !state.failures; show(); },
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2),
    0: () => { zoomTo(whole.from, whole.to); show(); },
    "[": () => pan(-0.5), "]": () => pan(0.5),
  };
  const OF_A_ROW = {
    Enter: (item) => toggleDetail(item), " ": (item) => toggleDetail(item),
    ArrowLeft: (item) => setCollapsed(item, true), ArrowRight: (item) => setCollapsed(item, false),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = event.target;
    if (target === $("search")) {
      if (event.key === "Escape") {
        state.query = "";
        show();
        target.blur();
      } else if (event.key === "Enter" || event.key === "ArrowDown") {
        event.preventDefault();
        move(1);
      }
      return;
    }
    const item = target.closest?.(".row")?.vctl;
    const ofRow = item && OF_A_ROW[event.key];
    const isControl = target.closest?.("button, input");
    if (isControl && [" ", "Enter"].includes(event.key)) return;
    const done = ofRow ? () => ofRow(item) : KEYS[event.key];
    if (!done) return;
    event.preventDefault();
    done();
  });

  window.addEventListener("resize", draw);
  window.addEventListener("beforeprint", draw);
  window.addEventListener("hashchange", () => { readHash(); show(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  readHash();
  show();
  document.documentElement.dataset.ready = "yes";
})();
