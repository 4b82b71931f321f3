"use strict";
const about = JSON.parse(document.getElementById("about").textContent);
const fields = [...document.querySelectorAll(".field")];
const result = document.querySelector(".result");
const key = document.getElementById("key");
if (about.threshold !== null) result.querySelector(".threshold").style.left = `${about.threshold * 100}%`;

// A field that is empty is left out; the service says so if it must not be.
function record() {
  const values = {};
  for (const field of fields) {
    const text = field.querySelector("input, select").value.trim();
    if (text !== "") values[field.dataset.name] = parsed(text, field.dataset.type);
  }
  return values;
}

// What is no number is sent as it is, for the service to refuse.
function parsed(text, type) {
  if (type === "string") return text;
  if (type === "boolean") return text === "true";
  if (type === "date" || type === "timestamp") return text;
  return isFinite(Number(text)) ? Number(text) : text;
}

function showCommand() {
  const body = JSON.stringify({records: [record()]}).replaceAll("'", "'\\''");
  const header = about.keyed ? ` \\\n  -H "authorization: Bearer $KIBAN_API_KEY"` : "";
  const url = new URL("predict", document.baseURI).href.replaceAll("'", "%27");
  document.getElementById("curl").textContent =
    `curl -s '${url}' -H 'content-type: application/json'${header} \\\n  -d '${body}'`;
  const key = about.keyed ? `, "authorization": f"Bearer {os.environ['KIBAN_API_KEYS']}"` : "";
  document.getElementById("python").textContent = [
    `import json${about.keyed ? ", os" : ""}, urllib.request`,
    `record = {${Object.entries(record()).map(([name, value]) => `${JSON.stringify(name)}: ${python(value)}`).join(", ")}}`,
    `headers = {"content-type": "application/json"${key}}`,
    `request = urllib.request.Request(${JSON.stringify(url)}, json.dumps({"records": [record]}).encode(), headers)`,
    `print(json.load(urllib.request.urlopen(request)))`,
  ].join("\n");
}

function python(value) {
  return typeof value === "boolean" ? (value ? "True" : "False") : JSON.stringify(value);
}

async function predict() {
  const headers = {"content-type": "application/json"};
  if (key && key.value) headers.authorization = `Bearer ${key.value}`;
  let answer;
  try {
    const response = await fetch("predict", {method: "POST", headers, body: JSON.stringify({records: [record()]})});
    answer = await response.json();
  } catch (error) {
    answer = {errors: [{field: null, problem: `the service cannot be reached (${error.message})`, allowed: null}]};
  }
  show(answer);
}

function show(answer) {
  const prediction = answer.predictions ? answer.predictions[0] : null;
  result.querySelector(".answer").textContent = prediction ? inWords(prediction) : "Not answered";
  const bar = result.querySelector(".filled");
  if (bar) bar.style.width = prediction ? `${prediction.probability * 100}%` : "0";
  const levels = result.querySelector(".levels");
  if (levels) levels.replaceChildren(...rows(prediction && prediction.probabilities));
  for (const field of fields) {
    field.classList.remove("warned", "refused");
    field.querySelector(".finding").hidden = true;
  }
  const list = result.querySelector(".findings");
  list.replaceChildren();
  const kind = answer.errors ? "refused" : "warned";
  for (const finding of answer.errors || answer.warnings) {
    const text = finding.problem + (finding.allowed ? ` (allowed: ${finding.allowed})` : "");
    const item = list.appendChild(document.createElement("li"));
    item.className = kind;
    item.textContent = (finding.field ? `${finding.field}: ` : "") + text;
    const field = fields.find((each) => each.dataset.name === finding.field);
    if (!field) continue;
    field.classList.add(kind);
    field.querySelector(".finding").textContent = finding.problem;
    field.querySelector(".finding").hidden = false;
    const group = field.closest("details");
    if (group) group.open = true;
  }
}

function inWords(prediction) {
  if ("value" in prediction) {
    const range = prediction.low === null ? "" : ` (${number(prediction.low)} to ${number(prediction.high)})`;
    return `${number(prediction.value)}${about.unit ? ` ${about.unit}` : ""}${range}`;
  }
  if ("probabilities" in prediction) {
    return `${prediction.label}: ${percent(prediction.probabilities[prediction.label])}`;
  }
  const word = about.positive === null ? about.target : about.positive;
  return `${percent(prediction.probability)}: ${prediction.label ? "" : "not "}${word}`;
}

function percent(share) {
  return `${(share * 100).toFixed(1)} %`;
}

function number(value) {
  return value.toLocaleString("en", {maximumSignificantDigits: 4});
}

// A row of the table for each level, the most probable first.
function rows(probabilities) {
  const pairs = Object.entries(probabilities || {}).sort((one, other) => other[1] - one[1]);
  return pairs.map(([level, share]) => {
    const row = document.createElement("tr");
    for (const text of [level, percent(share)]) row.appendChild(document.createElement("td")).textContent = text;
    return row;
  });
}

async function copy(event) {
  const text = document.getElementById("curl");
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text.textContent);
    event.target.textContent = "Copied";
  } else { // a page that came over plain HTTP from another machine may not write to the clipboard
    getSelection().selectAllChildren(text);
  }
}

document.querySelector("form").addEventListener("input", showCommand);
document.querySelector("form").addEventListener("change", predict);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("predict").addEventListener("click", predict);
document.getElementById("copy").addEventListener("click", copy);
if (matchMedia("(max-width: 800px)").matches) {
  for (const group of document.querySelectorAll("details")) group.open = false;
}
showCommand();
if (!about.keyed) predict();
