// The page: fetches an interface, makes keys or takes them from files, encrypts a picture, sends it,
// shows how it is evaluated, and decrypts the answer.

import { Client, Interface, Service, ServiceError } from "./client/dist/index.js";
import { blake3, load, makeKeys, readKeyFile } from "./client/dist/index.js";
import type { Job, KeyFile, Model } from "./client/dist/index.js";
import { bar, bytes, drawn, element, mark, show, since } from "./dom.js";
import { draw, pixels } from "./pictures.js";

const MIN_SECURITY = 128;

/** One model, as far as this page has come with it. */
interface Work {
  model: Model;
  file: Uint8Array;
  known: Interface;
  client?: Client;
  /** Digest of the keys at the service. */
  keys?: string;
  /** Ends what is done for it when another model is chosen. */
  ended: AbortController;
}

let service: Service;
let work: Work | undefined;
/** Counts what was begun: what belongs to something older is not shown. */
let turn = 0;

/** Runs a step; an error is shown. */
async function step(run: () => Promise<void>): Promise<void> {
  const error = element("error", "p");
  error.hidden = true;
  try {
    await run();
  } catch (thrown) {
    // Of a model that is not looked at any more.
    if (thrown instanceof DOMException && thrown.name === "AbortError") return;
    error.textContent = thrown instanceof Error ? thrown.message : String(thrown);
    error.hidden = false;
    error.scrollIntoView({ block: "nearest" });
  }
}

async function connect(token?: string): Promise<void> {
  service = new Service(new URL("..", location.href), token === undefined ? {} : { token });
  await load();
  let models: Model[];
  try {
    models = await service.models();
  } catch (error) {
    show(false, "connecting");
    if (!(error instanceof ServiceError && error.code === "unauthorized")) throw error;
    show(true, "token-form");
    element("token", "input").focus();
    if (token !== undefined) throw error;
    return;
  }
  show(false, "token-form", "connecting");
  const select = element("model", "select");
  select.replaceChildren(...models.map((model) => new Option(model.name, model.name)));
  show(models.length > 1, "models");
  select.onchange = () => void step(() => choose(models, select.value));
  await choose(models, select.value);
}

async function choose(models: Model[], name: string): Promise<void> {
  const model = models.find((model) => model.name === name);
  if (model === undefined) throw new Error("the service has no model");
  const mine = ++turn;
  work?.ended.abort();
  work?.client?.free();
  work?.known.free();
  work = undefined;
  show(false, "facts", "interface", "keys", "keys-progress", "keys-done", "picture", "pair", "evaluation", "answer");
  show(true, "keys-choice");
  for (const id of ["connect", "keys", "picture", "evaluation", "answer"]) mark(id, false);
  const file = await service.interface(name);
  if (mine !== turn) return;
  const known = new Interface(file, MIN_SECURITY);
  if (known.program !== model.program) {
    known.free();
    throw new Error("the service sent the interface of another program: do not use it");
  }
  work = { model, file, known, ended: new AbortController() };
  const shape = known.imageShape;
  const facts: [string, string][] = [
    ["Network", known.name],
    ["Picture", shape ? `${shape[2]} × ${shape[1]}, ${shape[0] === 1 ? "gray" : "colour"}` : "none"],
    ["Security", `${known.securityBits} bits`],
    ["Ring", `2^${Math.log2(known.ringDegree)}`],
    ["Keys", `${known.keyCount}, ${bytes(known.keyBytes)}`],
    ["Predicted time", `${model.predicted_seconds.toPrecision(2)} s`],
  ];
  const list = element("facts", "dl");
  list.replaceChildren();
  for (const [term, text] of facts) {
    const pair = list.appendChild(document.createElement("div"));
    pair.appendChild(document.createElement("dt")).textContent = term;
    pair.appendChild(document.createElement("dd")).textContent = text;
  }
  element("interface", "p").textContent =
    `All that this page knows of the model: an interface of ${bytes(file.length)}, without weights and ` +
    `layers, of program ${known.program.slice(0, 16)}.`;
  show(true, "facts", "interface", "keys");
  mark("connect", true);
}

/** There is a client, and the service has its keys. */
function ready(text: string, file?: KeyFile): void {
  link("save-evaluation", file?.blob);
  element("keys-text", "span").textContent = text;
  show(false, "keys-choice");
  show(true, "keys-done", "picture");
  mark("keys", true);
}

/** Saves the secret key; no more of it is kept than the file. */
function save(): void {
  const secret = work?.client?.secretKey();
  if (secret === undefined) return;
  const anchor = document.createElement("a");
  anchor.download = "secret.key";
  anchor.href = URL.createObjectURL(new Blob([secret as Uint8Array<ArrayBuffer>]));
  secret.fill(0);
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 10_000);
}

function link(id: string, blob: Blob | undefined): void {
  const anchor = element(id, "a");
  if (anchor.href) URL.revokeObjectURL(anchor.href);
  anchor.removeAttribute("href");
  anchor.hidden = blob === undefined;
  if (blob !== undefined) anchor.href = URL.createObjectURL(blob);
}

async function generate(): Promise<void> {
  const of = work;
  if (of === undefined) return;
  show(false, "keys-choice");
  show(true, "keys-progress");
  bar("made", 0, 1, "");
  bar("uploaded", 0, 1, "");
  await drawn();
  try {
    const begun = performance.now();
    of.client?.free();
    of.client = Client.generate(of.known);
    const file = await makeKeys(of.client, of.file, MIN_SECURITY, {
      signal: of.ended.signal,
      onKey: ({ made, count, bytes: size }) =>
        bar("made", made, count, `${made} of ${count} records, ${bytes(size)}, ${since(begun)}`),
    });
    await upload(of, file);
    ready(`A new secret key, ${of.client.keyId.slice(0, 12)}.`, file);
  } catch (error) {
    if (work === of) show(true, "keys-choice");
    throw error;
  }
}

async function upload(of: Work, file: KeyFile): Promise<void> {
  const begun = performance.now();
  await service.uploadKeys(of.model.name, file, {
    signal: of.ended.signal,
    onBytes: (done, all) => bar("uploaded", done, all, `${bytes(done)} of ${bytes(all)}, ${since(begun)}`),
  });
  of.ended.signal.throwIfAborted();
  of.keys = file.digest;
}

async function read(files: File[]): Promise<void> {
  const of = work;
  if (of === undefined) return;
  // A secret key is a few kilobytes, evaluation keys are many megabytes.
  const secret = files.find((file) => file.name.endsWith(".key"));
  const evaluation = files.find((file) => file.name.endsWith(".keys"));
  if (secret === undefined) throw new Error("choose secret.key, and evaluation.keys beside it");
  const secretKey = new Uint8Array(await secret.arrayBuffer());
  of.client?.free();
  of.client = Client.fromSecretKey(of.known, secretKey);
  secretKey.fill(0);
  if (evaluation === undefined) {
    const { keys } = await service.model(of.model.name);
    const [first] = keys;
    if (first === undefined) throw new Error("the service has no keys of yours: choose evaluation.keys, too");
    // Which of them belong to this secret key is found when the first picture is sent.
    of.keys = first;
    return ready(`Secret key ${of.client.keyId.slice(0, 12)}; the service has its keys.`);
  }
  show(false, "keys-choice");
  show(true, "keys-progress");
  try {
    const file = await readKeyFile(evaluation, (done, all) =>
      bar("made", done, all, `read from the file, ${bytes(all)}`),
    );
    await upload(of, file);
    ready(`Secret key ${of.client.keyId.slice(0, 12)}, from a file.`);
  } catch (error) {
    if (work === of) show(true, "keys-choice");
    throw error;
  }
}

/** Sends a picture with the keys of this secret key: the service refuses others. */
async function submit(of: Work, image: Uint8Array): Promise<Job> {
  const { keys } = await service.model(of.model.name);
  const named = of.keys === undefined ? [] : [of.keys];
  for (const name of new Set([...named, ...keys])) {
    try {
      const job = await service.submit(of.model.name, name, image);
      of.keys = name;
      return job;
    } catch (error) {
      if (!(error instanceof ServiceError && error.code === "key_mismatch")) throw error;
    }
  }
  throw new Error("the service has no keys of this secret key: choose evaluation.keys, too");
}

async function classify(file: Blob): Promise<void> {
  const of = work;
  if (of?.client === undefined) return;
  const mine = ++turn;
  show(false, "evaluation", "answer", "pair");
  mark("picture", false);
  const data = await pixels(of.known, file, element("seen", "canvas"));
  await drawn();
  let begun = performance.now();
  const image = of.client.encrypt(new Uint8Array(data.data.buffer), data.width, data.height);
  const took = since(begun);
  draw(image, element("sent", "canvas"));
  element("seen-text", "figcaption").textContent =
    `What the network takes: ${data.width} × ${data.height} pixels`;
  element("sent-text", "figcaption").textContent =
    `What is sent: ${bytes(image.length)} of ciphertext, encrypted in ${took}`;
  show(true, "pair");
  mark("picture", true);

  begun = performance.now();
  layers([], undefined);
  mark("evaluation", false);
  const job = await submit(of, image);
  const passed: string[] = [];
  show(true, "evaluation");
  const told = (job: Job) => {
    if (mine === turn) evaluation(job, passed, begun);
  };
  const last = await service.wait(job.id, told, of.ended.signal);
  const sent = { program: of.known.program, keys: of.keys ?? "", image: blake3(image) };
  const { answer, receipt } = await service.answer(last, sent, of.client.answerMaxBytes);
  if (mine !== turn) return;
  mark("evaluation", true);
  await drawn();
  begun = performance.now();
  decrypted(of, answer, begun);
  element("receipt", "p").textContent =
    `The receipt names this program, these keys, this ciphertext and this answer` +
    `${receipt.signature ? ", and is signed" : ""}.`;
}

function evaluation(job: Job, passed: string[], begun: number): void {
  const words = { queued: "Waits", running: "Runs", done: "Done", failed: "Failed", cancelled: "Cancelled" };
  element("state", "label").textContent = words[job.state];
  const time = job.seconds === undefined ? since(begun) : `${job.seconds.toFixed(2)} s of evaluation`;
  bar("ops", job.ops_done, job.ops, `${job.ops_done} of ${job.ops} operations, ${time}`);
  if (job.layer !== undefined && passed.at(-1) !== job.layer) passed.push(job.layer);
  layers(passed, job.state === "running" ? job.layer : undefined);
}

function layers(passed: string[], current: string | undefined): void {
  const item = (name: string, index: number) => {
    const li = document.createElement("li");
    li.textContent = name;
    li.className = index === passed.length - 1 && name === current ? "runs" : "done";
    return li;
  };
  element("layers", "ol").replaceChildren(...passed.map(item));
}

function decrypted(of: Work, bytes: Uint8Array, begun: number): void {
  const answer = of.client?.decrypt(bytes);
  if (answer === undefined) return;
  const took = since(begun);
  try {
    if (answer.refused) throw new Error(answer.reason);
    const tied = Array.from(answer.tiedClasses, (index) => name(of, index));
    element("class", "p").textContent = `${answer.className}${tied.length > 0 ? ` (or ${tied.join(", ")})` : ""}`;
    const { numbers: what, certainStep } = of.known;
    element("numbers-title", "caption").textContent =
      `${what[0]?.toUpperCase()}${what.slice(1)}, decrypted in ${took}. They are multiples of ` +
      `${certainStep}: further digits are not certain.`;
    numbers(of, answer.numbers, answer.class ?? 0);
    show(true, "answer");
    mark("answer", true);
  } finally {
    answer.free();
  }
}

function name(of: Work, index: number): string {
  return of.known.classes[index] ?? String(index);
}

/** So many of the largest numbers are shown. */
const ROWS = 10;

function numbers(of: Work, values: Float64Array, best: number): void {
  const largest = Array.from(values.keys()).sort((a, b) => (values[b] ?? 0) - (values[a] ?? 0)).slice(0, ROWS);
  const low = Math.min(0, ...values);
  const rows = largest.map((index) => {
    const value = values[index] ?? 0;
    const row = document.createElement("tr");
    row.className = index === best ? "best" : "";
    const head = row.appendChild(document.createElement("th"));
    [head.scope, head.textContent] = ["row", name(of, index)];
    const meter = row.appendChild(document.createElement("td")).appendChild(document.createElement("meter"));
    [meter.min, meter.max, meter.value] = [low, values[best] ?? 1, value];
    meter.setAttribute("aria-label", `${name(of, index)}: ${value}`);
    row.appendChild(document.createElement("td")).textContent = String(value);
    return row;
  });
  element("numbers", "table").tBodies[0]?.replaceChildren(...rows);
}

function listen(): void {
  element("token-form", "form").onsubmit = (event) => {
    event.preventDefault();
    void step(() => connect(element("token", "input").value.trim()));
  };
  element("save-secret", "button").onclick = save;
  element("make-keys", "button").onclick = () => void step(generate);
  const keyFiles = element("key-files", "input");
  keyFiles.onchange = () => {
    const files = Array.from(keyFiles.files ?? []);
    keyFiles.value = "";
    if (files.length > 0) void step(() => read(files));
  };
  const file = element("picture-file", "input");
  const take = (picture: File | undefined) => {
    if (picture !== undefined) void step(() => classify(picture));
  };
  file.onchange = () => {
    take(file.files?.[0]);
    file.value = "";
  };
  const drop = element("drop", "label");
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"] as const) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop") take(event.dataTransfer?.files[0]);
    });
  }
}

listen();
void step(() => connect());
