// Seconds of the client in Node, of one thread:
//
//     node web/test/measure.mjs CLIENT.fhec [secret.key answer.ct]
//
// Those of the clock, and of the processor, which other work on the machine disturbs less.

import { readFileSync } from "node:fs";

import { Client, Interface, load, wasmUrl } from "../npm/dist/index.js";

const [program, secretKey, answer] = process.argv.slice(2);

/** Runs `work` and prints how long it took; the least of several runs. */
function timed(name, times, work) {
  let [clock, processor, result] = [Infinity, Infinity, undefined];
  for (let run = 0; run < times; run++) {
    const [begun, used] = [performance.now(), process.cpuUsage()];
    result = work();
    const { user, system } = process.cpuUsage(used);
    clock = Math.min(clock, (performance.now() - begun) / 1e3);
    processor = Math.min(processor, (user + system) / 1e6);
  }
  console.log(`${name}: ${clock.toFixed(3)} s, of the processor ${processor.toFixed(3)} s`);
  return result;
}

await load(readFileSync(wasmUrl));
const file = readFileSync(program);
const known = timed("interface", 5, () => new Interface(file, 1));
const client = timed("ring and secret key", 1, () => Client.generate(known));
const [channels, height, width] = known.imageShape;
const pixels = new Uint8Array(channels * height * width).map((_, index) => index % 256);
const image = timed("encrypt", 10, () => client.encrypt(pixels, width, height));
console.log(`image: ${image.length} bytes`);
let bytes = 0;
timed(`${known.keyCount} keys`, 1, () => {
  for (let record = 0; record < client.keyRecords; record++) bytes += client.keyRecord(record).length;
});
console.log(`key file: ${bytes} bytes`);
if (answer !== undefined) {
  const owner = Client.fromSecretKey(known, readFileSync(secretKey));
  const sent = readFileSync(answer);
  timed("decrypt", 10, () => owner.decrypt(sent));
}
console.log(`memory: ${Math.round(process.memoryUsage().rss / 1e6)} MB`);
