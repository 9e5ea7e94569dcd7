// A readable page of openapi.json; nothing is loaded from elsewhere.

const doc = document.getElementById("doc");
const make = (tag, text = "", name = "") => {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = name;
  return element;
};

// Words between `marks` are code.
const text = (words) => {
  const paragraph = make("p");
  words.split("`").forEach((part, i) => paragraph.append(i % 2 ? make("code", part) : part));
  return paragraph;
};

const api = await (await fetch("/api/openapi.json")).json();

const about = make("section", "", "card");
const [words, ...code] = api.info.description.split(/\n\n(?=    )|\n\n(?=`)/);
about.append(make("h2", `${api.info.title} ${api.info.version}`), text(words));
for (const part of code) {
  about.append(part.startsWith("    ") ? make("pre", part.replace(/^ {4}/gm, "")) : text(part));
}
doc.append(about);

for (const [path, verbs] of Object.entries(api.paths)) {
  for (const [verb, operation] of Object.entries(verbs)) doc.append(card(path, verb, operation));
}

function card(path, verb, operation) {
  const box = make("section", "", "card");
  const title = make("h2");
  title.append(make("code", verb.toUpperCase(), "verb"), ` ${path}`);
  box.append(title, make("p", operation.description ?? operation.summary));
  const body = operation.requestBody?.content["application/json"]?.schema;
  const rows = [
    ...(operation.parameters ?? []).map((p) => [p.name, p.in, p.schema, p.required]),
    ...fields(body),
  ];
  if (rows.length) box.append(table(rows));
  return box;
}

function fields(schema) {
  const name = schema?.$ref?.split("/").pop();
  const model = name ? api.components.schemas[name] : undefined;
  const required = new Set(model?.required ?? []);
  return Object.entries(model?.properties ?? {}).map(([key, value]) =>
    [key, "body", value, required.has(key)]);
}

function table(rows) {
  const made = make("table");
  for (const [name, where, schema, required] of rows) {
    const row = make("tr");
    row.append(make("td", name), make("td", where, "muted"), make("td", kind(schema)),
      make("td", required ? "required" : "", "muted"), make("td", schema.description ?? ""));
    made.append(row);
  }
  return made;
}

function kind(schema) {
  if (schema.enum) return schema.enum.join(" | ");
  if (schema.anyOf) return schema.anyOf.map(kind).join(" | ");
  const low = schema.minimum ?? schema.exclusiveMinimum;
  const range = low !== undefined || schema.maximum !== undefined ? ` ${low ?? ""}–${schema.maximum ?? ""}` : "";
  return (schema.const ?? schema.type ?? "") + range;
}
