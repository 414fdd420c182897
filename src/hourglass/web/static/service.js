// The service's page: what /openapi.json describes, with a form for each use.

const token = document.getElementById("token");
const state = document.getElementById("state");

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

const headers = () => (token.value ? { authorization: `Bearer ${token.value}` } : {});

async function fetched(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers() });
  if (!response.ok) {
    const text = await response.text();
    let message = text;
    try { message = JSON.parse(text).error; } catch { /* not JSON: shown as it is */ }
    throw new Error(`${response.status}: ${message}`);
  }
  return response;
}

async function show(response, place) {
  const type = response.headers.get("content-type") ?? "";
  const notes = response.headers.get("x-hourglass-notes");
  place.replaceChildren();
  if (type.startsWith("application/json")) {
    place.append(element("pre", { textContent: JSON.stringify(await response.json(), null, 1).slice(0, 5000) }));
  } else {
    const blob = await response.blob();
    const address = URL.createObjectURL(blob);
    if (type.startsWith("image/")) place.append(element("img", { src: address, alt: "The answer" }));
    place.append(element("a", { href: address, download: "answer", textContent: `${blob.size} bytes, ${type}` }));
  }
  if (notes) place.append(element("p", { textContent: JSON.parse(notes).join(" ") }));
}

function field(parameter) {
  const { schema, name, description } = parameter;
  const choices = schema.enum ?? schema.anyOf?.find((one) => one.enum)?.enum;
  const input = choices
    ? element("select", { name }, ...choices.map((value) => element("option", { value, textContent: value })))
    : element("input", { name, size: 8 });
  input.value = schema.default ?? "";
  return element("label", { title: description ?? "" }, `${name} `, input);
}

function section(path, operation) {
  const [, , model] = path.split("/");
  const file = element("input", { type: "file" });
  const place = element("div", { className: "answer" });
  const fields = element("div", { className: "parameters" }, ...(operation.parameters ?? []).map(field));
  const ask = async (body) => {
    place.textContent = "…";
    try {
      const given = [...fields.querySelectorAll("input, select")].filter((one) => one.value !== "");
      const query = new URLSearchParams(given.map((one) => [one.name, one.value]));
      await show(await fetched(`${path}?${query}`, { method: "POST", body: await body() }), place);
    } catch (error) {
      place.textContent = error.message;
    }
  };
  const example = element("button", { textContent: "Send the example" });
  example.addEventListener("click", () => ask(async () => (await fetched(`/models/${model}/example`)).blob()));
  file.addEventListener("change", () => file.files.length && ask(async () => file.files[0]));
  const source = operation["x-codeSamples"].map((one) => one.source).join("\n").replaceAll("ADDRESS", location.origin);
  return element(
    "section", {},
    element("h2", { textContent: `POST ${path}` }),
    element("p", { textContent: operation.description }),
    fields, example, element("label", {}, " or a file ", file), place,
    element("pre", { textContent: source }),
  );
}

try {
  const { paths } = await (await fetched("/openapi.json")).json();
  const uses = Object.entries(paths).filter(([, methods]) => methods.post);
  document.getElementById("routes").append(...uses.map(([path, methods]) => section(path, methods.post)));
  state.textContent = `${uses.length} uses.`;
} catch (error) {
  state.textContent = error.message;
}
