// What the tests need: a program, a service, and where things are.

import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";

/** The repository. */
export const root = fileURLToPath(new URL("../..", import.meta.url));
/** The command `fhec`: that of `FHEC`, or the one of a development build. */
export const fhec = process.env.FHEC ?? join(root, "target/debug/fhec");

/** Prices of the machine are not measured: no test looks at predicted times. */
const env = { ...process.env, FHEC_COSTS: "zen5" };

/** A folder of a test, which goes with it. */
export function folder(t) {
  const path = mkdtempSync(join(tmpdir(), "fhec-web-"));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** What `fhec` prints; an error if it fails. */
export function run(...words) {
  return execFileSync(fhec, words, { env, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
}

/** A service at a free port; it ends with the test. */
export async function serve(t, ...words) {
  const listen = ["--listen", "127.0.0.1:0", "--json"];
  const child = spawn(fhec, ["serve", ...words, ...listen], { env, stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  for await (const line of createInterface({ input: child.stdout })) {
    const address = /"address": ?"([^"]+)"/.exec(line)?.[1];
    if (address !== undefined) return `http://${address}`;
  }
  throw new Error("the service did not start");
}

/** The pixels of a PNG of 8-bit samples without a palette, as `fhec` writes its digits. */
export async function png(path) {
  const { inflateSync } = await import("node:zlib");
  const bytes = await readFile(path);
  const parts = [];
  let [width, height, color] = [0, 0, 0];
  for (let at = 8; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    const kind = bytes.toString("latin1", at + 4, at + 8);
    const data = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") [width, height, color] = [data.readUInt32BE(0), data.readUInt32BE(4), data[9]];
    if (kind === "IDAT") parts.push(data);
    at += 12 + length;
  }
  const each = { 0: 1, 2: 3, 6: 4 }[color];
  const rows = inflateSync(Buffer.concat(parts));
  const stride = width * each;
  const pixels = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = rows[y * (stride + 1)];
    for (let x = 0; x < stride; x++) {
      const left = x >= each ? pixels[y * stride + x - each] : 0;
      const up = y > 0 ? pixels[(y - 1) * stride + x] : 0;
      const corner = x >= each && y > 0 ? pixels[(y - 1) * stride + x - each] : 0;
      const guess = left + up - corner;
      const [a, b, c] = [left, up, corner].map((value) => Math.abs(guess - value));
      const paeth = a <= b && a <= c ? left : b <= c ? up : corner;
      const predicted = [0, left, up, (left + up) >> 1, paeth][filter];
      pixels[y * stride + x] = rows[y * (stride + 1) + 1 + x] + predicted;
    }
  }
  return { pixels, width, height };
}
