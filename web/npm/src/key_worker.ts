// Makes records of a key file for a page, one after the other.

import { Client, Interface, initSync } from "../wasm/fhec_web.js";
import type { KeyResult, KeyTask } from "./keys.js";

let client: Client | undefined;

function result(task: KeyTask): KeyResult | undefined {
  if ("record" in task) {
    if (client === undefined) return { error: "the worker has no secret key" };
    return { record: task.record, bytes: client.keyRecord(task.record) };
  }
  initSync({ module: task.module });
  const known = new Interface(task.interface, task.minSecurity);
  client = Client.fromSecretKey(known, task.secretKey);
  known.free();
  task.secretKey.fill(0);
  return undefined;
}

onmessage = ({ data }: MessageEvent<KeyTask>) => {
  let answer: KeyResult | undefined;
  try {
    answer = result(data);
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : String(error) };
  }
  if (answer === undefined) return;
  const moved = "bytes" in answer ? [answer.bytes.buffer] : [];
  postMessage(answer, { transfer: moved });
};
