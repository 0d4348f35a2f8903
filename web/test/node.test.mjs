// The client in Node against native fhec: each reads what the other wrote.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { Client, Hasher, Interface, Service, ServiceError } from "../npm/dist/index.js";
import { blake3, load, makeKeys, wasmUrl } from "../npm/dist/index.js";
import { folder, png, root, run, serve } from "./place.mjs";

await load(readFileSync(wasmUrl));

/** A compiled digit network in a folder. */
function program(t) {
  const path = folder(t);
  const whole = join(path, "mnist.fhec");
  run("compile", join(root, "models/mnist_cnn_deg3.onnx"), "-o", whole);
  run("client", whole, "-o", join(path, "mnist.client.fhec"));
  return { path, whole, file: readFileSync(join(path, "mnist.client.fhec")) };
}

const digit = (name) => join(root, `models/digits/digit_${name}.png`);

test("digests are those of BLAKE3, in one part or in several", () => {
  const empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
  assert.equal(blake3(new Uint8Array()), empty);
  const hasher = new Hasher();
  assert.equal(hasher.digest(), empty);
  hasher.update(new Uint8Array([1, 2]));
  hasher.update(new Uint8Array([3]));
  assert.equal(hasher.digest(), blake3(new Uint8Array([1, 2, 3])));
  hasher.free();
});

test("native fhec evaluates what the client encrypts, and the client reads its answers", async (t) => {
  const { path, whole, file } = program(t);
  const known = new Interface(file, 128);
  assert.deepEqual(Array.from(known.imageShape), [1, 28, 28]);
  assert.ok(known.securityBits >= 128 && known.keyCount > 10 && known.keyBytes > 1e6);
  const said = JSON.parse(run("client", whole, "-o", join(path, "again.fhec"), "--json"));
  assert.ok(known.program.startsWith(said.program));

  // Keys of the client in Node, evaluated natively.
  const client = Client.generate(known);
  let told = 0;
  const keys = await makeKeys(client, file, 128, { workers: 0, onKey: ({ made }) => (told = made) });
  assert.equal(told, client.keyRecords);
  const folderOfKeys = join(path, "keys");
  mkdirSync(folderOfKeys);
  const evaluation = new Uint8Array(await keys.blob.arrayBuffer());
  assert.equal(blake3(evaluation), keys.digest);
  writeFileSync(join(folderOfKeys, "evaluation.keys"), evaluation);
  const [image, answered] = [join(path, "image.ct"), join(path, "answer.ct")];
  for (const name of ["7_a", "3_a"]) {
    const { pixels, width, height } = await png(digit(name));
    writeFileSync(image, client.encrypt(pixels, width, height));
    run("eval", whole, "--keys", folderOfKeys, image, "-o", answered);
    const bytes = readFileSync(answered);
    assert.ok(bytes.length <= client.answerMaxBytes);
    const answer = client.decrypt(bytes);
    const [plain] = JSON.parse(run("run", whole, "--input", digit(name), "--json")).images;
    assert.equal(answer.refused, false);
    assert.equal(answer.class, plain.reference_class);
    assert.equal(answer.className, name[0]);
    assert.equal(answer.numbers.length, 10);
    for (const number of answer.numbers) {
      const steps = number / known.certainStep;
      assert.ok(Math.abs(steps - Math.round(steps)) < 1e-6);
    }
    answer.free();
  }

  // The secret key by file, in both directions.
  writeFileSync(join(folderOfKeys, "secret.key"), client.secretKey(), { mode: 0o600 });
  const native = JSON.parse(run("decrypt", whole, "--keys", folderOfKeys, answered, "--json"));
  assert.equal(native.class_name, "3");
  const again = Client.fromSecretKey(known, readFileSync(join(folderOfKeys, "secret.key")));
  assert.equal(again.keyId, client.keyId);
  assert.equal(again.decrypt(readFileSync(answered)).className, "3");

  // What is wrong is one Error, and an answer that is noise is refused without numbers.
  const stranger = Client.generate(known);
  assert.throws(() => stranger.decrypt(readFileSync(answered)), { name: "Error" });
  const damaged = readFileSync(answered);
  assert.throws(() => client.decrypt(damaged.subarray(0, 1000)), /the answer is refused: .*truncated/);
  assert.throws(() => client.decrypt(new Uint8Array(9)), /no ciphertext file/);
  assert.throws(() => client.encrypt(new Uint8Array(28 * 28), 28, 27), /28 x 28 pixels/);
  assert.throws(() => client.encrypt(new Uint8Array(28 * 28 + 1), 28, 28), /bytes were expected/);
  assert.throws(() => client.encryptNumbers(new Float32Array(3)), /784/);
  assert.throws(() => client.keyRecord(client.keyRecords), /no record/);
  assert.throws(() => Client.fromSecretKey(known, new Uint8Array(100)), /secret key is refused/);
  assert.throws(() => new Interface(new Uint8Array(100), 128), /interface is refused/);
  assert.throws(() => new Interface(file, 10_000), /not secure enough|10000/);
});

test("a service takes keys and pictures, and its receipt is checked", async (t) => {
  const { path, whole, file } = program(t);
  const tokens = join(path, "tokens");
  const token = run("serve", "token", "alice", "--tokens", tokens).trim();
  const address = await serve(t, whole, "--state", join(path, "state"), "--tokens", tokens);
  const stranger = new Service(address, { token: "none" });
  await assert.rejects(stranger.models(), (error) => error instanceof ServiceError && error.code === "unauthorized");

  const service = new Service(address, { token });
  const [model] = await service.models();
  assert.equal(model.name, "mnist");
  const known = new Interface(await service.interface(model.name), 128);
  assert.equal(known.program, model.program);
  const client = Client.generate(known);
  const keys = await makeKeys(client, file, 128, { workers: 0 });
  let there = 0;
  const state = await service.uploadKeys(model.name, keys, { onBytes: (done) => (there = done) });
  assert.deepEqual([state.state, there], ["whole", keys.blob.size]);
  // A second upload has nothing to do.
  assert.equal((await service.uploadKeys(model.name, keys)).state, "whole");

  const { pixels, width, height } = await png(digit("7_a"));
  const image = client.encrypt(pixels, width, height);
  const job = await service.submit(model.name, keys.digest, image);
  const states = [];
  const last = await service.wait(job.id, ({ state }) => states.push(state));
  assert.equal(states.at(-1), "done");
  const sent = { program: known.program, keys: keys.digest, image: blake3(image) };
  const { answer, receipt } = await service.answer(last, sent, client.answerMaxBytes);
  assert.equal(receipt.answer, blake3(answer));
  assert.equal(client.decrypt(answer).className, "7");
  for (const part of ["program", "keys", "image"]) {
    const other = { ...sent, [part]: "0".repeat(64) };
    await assert.rejects(service.answer(last, other, client.answerMaxBytes), new RegExp(`another ${part}`));
  }
  await assert.rejects(service.answer(last, sent, 1000), /more than 1000 bytes/);
  const foreign = Client.generate(known);
  const wrong = service.submit(model.name, keys.digest, foreign.encrypt(pixels, width, height));
  await assert.rejects(wrong, (error) => error.code === "key_mismatch");
  // Without the demo nobody offers a page.
  assert.equal((await fetch(`${address}/demo/`)).status, 404);
  await service.deleteJob(job.id);
  await service.deleteKeys(keys.digest);
  assert.deepEqual(await service.keys(), []);
});
