// Replaces a CloudWatch dashboard: calls the function, shows its HTML, and makes its actions work.
"use strict";

const widget = document.getElementById("widget");
const $ = (id) => document.getElementById(id);
let shown = {};
let busy = false;

function context() {
  const forms = {};
  for (const input of widget.querySelectorAll("form input, form select, form textarea")) {
    forms[input.name] = input.value;
  }
  const minutes = -new Date().getTimezoneOffset();
  const two = (n) => String(n).padStart(2, "0");
  const local = (minutes < 0 ? "-" : "+") + two(Math.floor(Math.abs(minutes) / 60)) + ":" + two(Math.abs(minutes) % 60);
  return {
    dashboardName: "this-machine",
    widgetId: "widget-1",
    accountId: "111122223333",
    locale: "en",
    timezone: { label: "", offsetISO: $("zone").value === "local" ? local : $("zone").value },
    theme: $("theme").value,
    hours: Number($("hours").value),
    forms: { all: forms },
    width: widget.clientWidth,
    height: 600,
  };
}

async function invoke(event) {
  if (busy) return;
  busy = true;
  try {
    const answer = await fetch("/invoke", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ ...event, widgetContext: context() }),
    });
    const { answer: page } = await answer.json();
    // A refresh shows this page again, and must not repeat the action.
    const { act, id, ...rest } = event;
    shown = rest;
    show(typeof page === "string" ? page : `<pre>${JSON.stringify(page)}</pre>`);
  } finally {
    busy = false;
  }
}

// CloudWatch removes scripts and the like, and so does this function. In addition, the
// Content-Security-Policy of server.py keeps scripts from running.
function show(html) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  for (const element of parsed.querySelectorAll("script, iframe, object, embed, use, link, base")) element.remove();
  for (const element of parsed.querySelectorAll("*")) {
    for (const { name } of [...element.attributes]) if (name.toLowerCase().startsWith("on")) element.removeAttribute(name);
  }
  const typed = document.activeElement && document.activeElement.name;
  widget.replaceChildren(...parsed.head.childNodes, ...parsed.body.childNodes);
  for (const action of widget.querySelectorAll("cwdb-action")) {
    const control = action.previousElementSibling;
    const event = JSON.parse(action.textContent);
    const act = () => ask(action.getAttribute("confirmation"), () => invoke(event));
    control.addEventListener("click", act);
    control.addEventListener("keydown", (key) => {
      if (key.key === "Enter" || key.key === " ") {
        key.preventDefault();
        act();
      }
    });
    action.remove();
  }
  if (typed) widget.querySelector(`[name="${CSS.escape(typed)}"]`)?.focus();
  widget.dataset.drawn = String(Number(widget.dataset.drawn || 0) + 1);
}

function ask(question, act) {
  if (!question) return act();
  $("question").textContent = question;
  $("yes").onclick = () => { $("confirm").close(); act(); };
  $("no").onclick = () => $("confirm").close();
  $("confirm").showModal();
}

function repaint() {
  document.body.classList.toggle("dark", $("theme").value === "dark");
  return invoke(shown);
}

const asked = new URLSearchParams(location.search);
for (const id of ["theme", "hours", "zone"]) {
  if (asked.has(id)) $(id).value = asked.get(id);
  $(id).addEventListener("change", repaint);
}
if (asked.has("still")) $("live").checked = false;
// No periodic refresh while an input has the focus, or while a confirmation is open.
setInterval(() => {
  const writes = widget.contains(document.activeElement) && document.activeElement.matches("input, select");
  if ($("live").checked && !$("confirm").open && !writes) invoke(shown);
}, 5000);
repaint();
