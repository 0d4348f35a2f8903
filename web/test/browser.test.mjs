// The page in a real Chromium: from nothing to an answer, and what it may not do.

import assert from "node:assert/strict";
import { accessSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { chromium } from "playwright-core";

import { folder, root, run, serve } from "./place.mjs";

/** Chromium on the path. */
function browser() {
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  const paths = (process.env.PATH ?? "").split(":").flatMap((folder) => names.map((name) => join(folder, name)));
  return paths.find((path) => {
    try {
      accessSync(path);
      return true;
    } catch {
      return false;
    }
  });
}

const executablePath = browser();
const skip = executablePath === undefined ? "skipped: no chromium on the path" : false;
const page = join(root, "web/dist");
const shots = join(root, "web/test/shots");
const digit = (name) => join(root, `models/digits/digit_${name}.png`);

/** A page whose errors, and refused loads, are errors of the test. */
async function open(t, address, options = {}) {
  // Containers do not let browsers make sandboxes.
  const chrome = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  t.after(() => chrome.close());
  const context = await chrome.newContext({ viewport: { width: 900, height: 1400 }, ...options });
  const tab = await context.newPage();
  const said = [];
  tab.on("console", (message) => said.push(message.text()));
  tab.on("pageerror", (error) => said.push(String(error)));
  await tab.goto(address);
  return { tab, said };
}

/** The text of an element, once it is shown; what the page says is wrong ends the wait. */
async function shown(tab, selector, timeout = 240_000) {
  const wanted = tab.locator(selector);
  const wrong = tab.locator("#error");
  await wanted.or(wrong).filter({ visible: true }).first().waitFor({ timeout });
  if (await wrong.isVisible()) throw new Error(await wrong.innerText());
  return wanted.innerText();
}

async function shot(tab, name) {
  mkdirSync(shots, { recursive: true });
  await tab.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
}

test("from nothing to an answer", { skip }, async (t) => {
  const path = folder(t);
  const program = join(path, "mnist.fhec");
  run("compile", join(root, "models/mnist_cnn_deg3.onnx"), "-o", program);
  const address = await serve(t, program, "--state", join(path, "state"), "--no-auth", "--demo", page);
  // The root leads to the page.
  const { tab, said } = await open(t, address);
  assert.match(tab.url(), /\/demo\/$/);
  assert.match(await shown(tab, "#facts"), /128 bits|1[3-9]\d bits/);
  await tab.click("#make-keys");
  await tab.waitForFunction(() => document.querySelector("#made").value > 0);
  await shot(tab, "keys");
  await shown(tab, "#keys-done");
  t.diagnostic(`keys: ${await tab.innerText("#made-text")}; upload: ${await tab.innerText("#uploaded-text")}`);
  await tab.setInputFiles("#picture-file", digit("7_a"));
  assert.equal(await shown(tab, "#class"), "7");
  t.diagnostic(await tab.innerText("#sent-text"));
  t.diagnostic(await tab.innerText("#ops-text"));
  t.diagnostic(await tab.innerText("#numbers-title"));
  assert.match(await tab.innerText("#ops-text"), /^(\d+) of \1 operations/);
  assert.match(await tab.innerText("#receipt"), /names this program/);
  await shot(tab, "answer");

  // Another picture, by drag and drop.
  const bytes = Array.from(readFileSync(digit("3_a")));
  const transfer = await tab.evaluateHandle((bytes) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(bytes)], "digit.png", { type: "image/png" }));
    return data;
  }, bytes);
  await tab.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
  await tab.waitForFunction(() => document.querySelector("#class").textContent === "3");
  await tab.emulateMedia({ colorScheme: "dark" });
  await shot(tab, "dark");

  // The secret key goes into a file, and back: the service has its keys.
  const saved = tab.waitForEvent("download");
  await tab.click("#save-secret");
  const secret = join(path, "secret.key");
  await (await saved).saveAs(secret);
  await tab.reload();
  await shown(tab, "#facts");
  await tab.setInputFiles("#key-files", secret);
  assert.match(await shown(tab, "#keys-done"), /the service has its keys/);
  await tab.setInputFiles("#picture-file", digit("0_b"));
  assert.equal(await shown(tab, "#class"), "0");

  // What is no picture is said, and the page goes on.
  await tab.setInputFiles("#picture-file", { name: "x.png", mimeType: "image/png", buffer: Buffer.from("none") });
  await tab.locator("#error").filter({ visible: true }).waitFor();
  assert.match(await tab.innerText("#error"), /no picture/);
  assert.deepEqual(said, []);
});

test("with tokens, and keys from files", { skip }, async (t) => {
  const path = folder(t);
  const program = join(path, "mnist.fhec");
  const keys = join(path, "keys");
  run("compile", join(root, "models/mnist_cnn_deg3.onnx"), "-o", program);
  run("keygen", program, "--dir", keys);
  const tokens = join(path, "tokens");
  const token = run("serve", "token", "alice", "--tokens", tokens).trim();
  const address = await serve(t, program, "--state", join(path, "state"), "--tokens", tokens, "--demo", page);
  const { tab } = await open(t, `${address}/demo/`, { viewport: { width: 400, height: 900 } });
  await tab.fill("#token", "none");
  await tab.keyboard.press("Enter");
  await tab.locator("#error").filter({ visible: true }).waitFor();
  assert.match(await tab.innerText("#error"), /not known \(unauthorized\)/);
  await tab.fill("#token", token);
  await tab.keyboard.press("Enter");
  await shown(tab, "#facts");
  await tab.setInputFiles("#key-files", [join(keys, "secret.key"), join(keys, "evaluation.keys")]);
  await shown(tab, "#keys-done");
  await tab.setInputFiles("#picture-file", digit("5_a"));
  assert.equal(await shown(tab, "#class"), "5");
  await shot(tab, "narrow");
});

test("the page may load nothing but its own files", { skip }, async (t) => {
  const path = folder(t);
  const program = join(path, "mnist.fhec");
  run("compile", join(root, "models/mnist_cnn_deg3.onnx"), "-o", program);
  const address = await serve(t, program, "--state", join(path, "state"), "--no-auth", "--demo", page);
  const { tab, said } = await open(t, `${address}/demo/`);
  await shown(tab, "#facts");
  assert.deepEqual(said, []);
  const refused = await tab.evaluate(async () => {
    const image = new Image();
    image.src = "https://example.org/x.png";
    const script = document.body.appendChild(document.createElement("script"));
    script.textContent = "globalThis.inline = true";
    const fetched = await fetch("https://example.org/").then(() => true, () => false);
    return { fetched, inline: globalThis.inline === true };
  });
  assert.deepEqual(refused, { fetched: false, inline: false });
  assert.ok(said.some((line) => line.includes("Content Security Policy")), said.join("\n"));
});
