import { Hasher, type Client } from "../wasm/fhec_web.js";
import { load } from "./load.js";

/** A file of evaluation keys: a service names it by its digest. It has nothing secret. */
export interface KeyFile {
  /** The file. Browsers may keep it on disk. */
  readonly blob: Blob;
  /** BLAKE3 of the file, 64 hexadecimal digits. */
  readonly digest: string;
}

/** How far keys are. */
export interface KeyProgress {
  /** Records that are made. */
  readonly made: number;
  /** All records. */
  readonly count: number;
  /** Bytes that are made. */
  readonly bytes: number;
}

export interface KeyOptions {
  /** Workers that share the work; 0 for none. All processors of the machine if left out. */
  workers?: number;
  /** Told after every key. */
  onKey?: (progress: KeyProgress) => void;
  /** Ends the work. */
  signal?: AbortSignal;
}

/** What a worker is started with, and what it is asked for after that. */
export type KeyTask =
  | { module: WebAssembly.Module; interface: Uint8Array; minSecurity: number; secretKey: Uint8Array }
  | { record: number };

/** What a worker answers: a record, or why there is none. */
export type KeyResult = { record: number; bytes: Uint8Array } | { error: string };

/** Puts records together in the order of the file, however they come. */
class Assembly {
  private readonly hasher = new Hasher();
  private readonly parts: Blob[] = [];
  private readonly early = new Map<number, Uint8Array>();
  private bytes = 0;

  constructor(
    private readonly count: number,
    private readonly onKey: KeyOptions["onKey"],
  ) {}

  add(record: number, bytes: Uint8Array): void {
    this.early.set(record, bytes);
    this.bytes += bytes.length;
    let next: Uint8Array | undefined;
    while ((next = this.early.get(this.parts.length)) !== undefined) {
      this.early.delete(this.parts.length);
      this.hasher.update(next);
      this.parts.push(new Blob([next as Uint8Array<ArrayBuffer>]));
    }
    const made = this.parts.length + this.early.size;
    this.onKey?.({ made, count: this.count, bytes: this.bytes });
  }

  finish(): KeyFile {
    return { blob: new Blob(this.parts), digest: this.hasher.digest() };
  }

  free(): void {
    this.hasher.free();
  }
}

/** Lets the page draw, or another task run. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 0));

/** Makes records on one worker until `next` has no more. */
function work(
  task: KeyTask,
  next: () => number | undefined,
  done: Assembly,
  ended: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("./key_worker.js", import.meta.url), { type: "module" });
    const settle = (error?: unknown) => {
      worker.terminate();
      error === undefined ? resolve() : reject(error);
    };
    const ask = () => {
      const record = next();
      record === undefined ? settle() : worker.postMessage({ record } satisfies KeyTask);
    };
    ended.addEventListener("abort", () => settle(ended.reason), { once: true });
    worker.onerror = (event) => settle(new Error(`a worker for keys failed: ${event.message}`));
    worker.onmessage = ({ data }: MessageEvent<KeyResult>) => {
      if ("error" in data) return settle(new Error(data.error));
      done.add(data.record, data.bytes);
      ask();
    };
    worker.postMessage(task);
    ask();
  });
}

/**
 * Makes the evaluation keys of a program, which a server needs.
 *
 * @param client the holder of the secret key.
 * @param interfaceBytes the interface that the client was made of.
 * @param minSecurity as the interface was read with.
 */
export async function makeKeys(
  client: Client,
  interfaceBytes: Uint8Array,
  minSecurity: number,
  options: KeyOptions = {},
): Promise<KeyFile> {
  const count = client.keyRecords;
  const workers = Math.min(options.workers ?? globalThis.navigator?.hardwareConcurrency ?? 1, count);
  const assembly = new Assembly(count, options.onKey);
  const failed = new AbortController();
  const ended = options.signal ? AbortSignal.any([options.signal, failed.signal]) : failed.signal;
  let record = 0;
  const next = () => (record < count ? record++ : undefined);
  try {
    ended.throwIfAborted();
    if (workers === 0 || typeof Worker === "undefined") {
      for (let index = next(); index !== undefined; index = next()) {
        assembly.add(index, client.keyRecord(index));
        await pause();
        ended.throwIfAborted();
      }
    } else {
      const secretKey = client.secretKey();
      const task: KeyTask = { module: await load(), interface: interfaceBytes, minSecurity, secretKey };
      const all = Array.from({ length: workers }, () => work(task, next, assembly, ended));
      // What workers are sent is a copy of their own.
      secretKey.fill(0);
      await Promise.all(all);
    }
    return assembly.finish();
  } catch (error) {
    failed.abort(error);
    throw error;
  } finally {
    assembly.free();
  }
}

/** Bytes that are read of a file at a time. */
const PART = 4 << 20;

/** A file `evaluation.keys` that was made before (`fhec keygen`). */
export async function readKeyFile(
  blob: Blob,
  onBytes?: (done: number, all: number) => void,
): Promise<KeyFile> {
  const hasher = new Hasher();
  try {
    for (let at = 0; at < blob.size; at += PART) {
      hasher.update(new Uint8Array(await blob.slice(at, at + PART).arrayBuffer()));
      onBytes?.(Math.min(at + PART, blob.size), blob.size);
    }
    return { blob, digest: hasher.digest() };
  } finally {
    hasher.free();
  }
}
