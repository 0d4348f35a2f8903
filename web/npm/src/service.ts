import { blake3 } from "../wasm/fhec_web.js";
import type { Job, Keys, Model, Problem, Receipt, Sent } from "./api.js";
import type { KeyFile } from "./keys.js";

/** What a service refused, or could not do. */
export class ServiceError extends Error {
  override readonly name = "ServiceError";

  constructor(
    message: string,
    /** The service's own words, if it had any. */
    readonly problem?: Problem,
    /** Milliseconds after which another try is worth it, if it is. */
    readonly again?: number,
  ) {
    super(message);
  }

  /** The kind of error, for programs (docs/serving.md). */
  get code(): string | undefined {
    return this.problem?.code;
  }
}

export interface ServiceOptions {
  /** What the service knows the caller by (`fhec serve token`). */
  token?: string;
  /** Milliseconds for which the service may be away, or too busy: 60,000 if left out. */
  patience?: number;
  /** Used in the place of the global `fetch`. */
  fetch?: typeof fetch;
}

export interface UploadOptions {
  onBytes?: (done: number, all: number) => void;
  signal?: AbortSignal;
}

export interface SubmitOptions {
  /** Seconds after which the answer is of no use. */
  deadline?: number;
  /** Makes two sends one job; a random one if left out. */
  idempotencyKey?: string;
  signal?: AbortSignal;
}

const JSON_BYTES = 4 << 20;
const INTERFACE_BYTES = 64 << 20;
const LEAST_CHUNK = 64 << 10;
const MOST_CHUNK = 64 << 20;
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 1000;
/** Problems that pass. */
const PASSING = new Set(["busy", "draining", "overloaded", "too_many_jobs", "body_too_slow"]);

function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

/** For how long something has not got on. */
class Trial {
  private since = Date.now();
  private pause = FIRST_PAUSE;

  constructor(
    private readonly patience: number,
    private readonly signal?: AbortSignal,
  ) {}

  /** It gets on: all of the patience is left again. */
  getsOn(): void {
    this.since = Date.now();
    this.pause = FIRST_PAUSE;
  }

  /** Waits until another try is worth it; throws `error` where none is. */
  async wait(error: unknown): Promise<void> {
    const asked = error instanceof ServiceError ? error.again : undefined;
    if (asked === undefined) throw error;
    const pause = Math.max(asked, this.pause);
    if (Date.now() - this.since + pause >= this.patience) throw error;
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
    await sleep(pause, this.signal);
  }
}

/** A service of `fhec serve`. What is safe to repeat is repeated while it cannot be reached. */
export class Service {
  private readonly base: string;
  private readonly token: string | undefined;
  private readonly patience: number;
  private readonly fetch: typeof fetch;

  /** @param address where the service is: `https://host:8443`. */
  constructor(address: string | URL, options: ServiceOptions = {}) {
    this.base = String(address).replace(/\/+$/, "");
    this.token = options.token;
    this.patience = options.patience ?? 60_000;
    this.fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
  }

  private async send(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.token !== undefined) headers.set("authorization", `Bearer ${this.token}`);
    let response: Response;
    try {
      response = await this.fetch(this.base + path, { ...init, headers, redirect: "error", cache: "no-store" });
    } catch (error) {
      init.signal?.throwIfAborted();
      throw new ServiceError(`the service cannot be reached: ${String(error)}`, undefined, 0);
    }
    if (response.ok) return response;
    let problem: Problem | undefined;
    try {
      problem = JSON.parse(new TextDecoder().decode(await limited(response, JSON_BYTES))) as Problem;
    } catch {
      // Something in front of the service has its own way to say that it is away.
    }
    if (typeof problem?.detail !== "string" || typeof problem.code !== "string") {
      const again = response.status === 502 || response.status === 503 ? 0 : undefined;
      throw new ServiceError(`the service answered with status ${response.status}`, undefined, again);
    }
    const again = PASSING.has(problem.code) ? 1000 * (problem.retry_after ?? 1) : undefined;
    throw new ServiceError(`${problem.detail} (${problem.code})`, problem, again);
  }

  private async bytes(path: string, init: RequestInit, limit: number): Promise<Uint8Array> {
    return limited(await this.send(path, init), limit);
  }

  private async json<T>(path: string, init: RequestInit = {}): Promise<T> {
    const text = new TextDecoder().decode(await this.bytes(path, init, JSON_BYTES));
    try {
      return JSON.parse(text) as T;
    } catch {
      throw new ServiceError("the service answered what this client does not understand");
    }
  }

  private async persist<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const trial = new Trial(this.patience, signal);
    for (;;) {
      try {
        return await work();
      } catch (error) {
        await trial.wait(error);
      }
    }
  }

  /** All models. */
  async models(): Promise<Model[]> {
    return (await this.persist(() => this.json<{ models: Model[] }>("/v1/models"))).models;
  }

  /** One model. */
  model(name: string): Promise<Model> {
    return this.persist(() => this.json<Model>(`/v1/models/${encodeURIComponent(name)}`));
  }

  /** The interface file of a model. Compare the program that it names with the one that is wanted. */
  interface(name: string): Promise<Uint8Array> {
    const path = `/v1/models/${encodeURIComponent(name)}/interface`;
    return this.persist(() => this.bytes(path, {}, INTERFACE_BYTES));
  }

  /** The caller's keys. */
  async keys(): Promise<Keys[]> {
    return (await this.persist(() => this.json<{ keys: Keys[] }>("/v1/keys"))).keys;
  }

  /** Deletes keys. */
  async deleteKeys(keys: string): Promise<void> {
    await this.persist(() => this.bytes(`/v1/keys/${encodeURIComponent(keys)}`, { method: "DELETE" }, JSON_BYTES));
  }

  /** Uploads keys in chunks, or what is missing of them. */
  async uploadKeys(model: string, file: KeyFile, options: UploadOptions = {}): Promise<Keys> {
    const { signal, onBytes } = options;
    const all = file.blob.size;
    const announcement = JSON.stringify({ model, keys: file.digest, length: all });
    const announced: RequestInit = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: announcement,
      signal: signal ?? null,
    };
    const announce = () => this.persist(() => this.json<Keys>("/v1/keys", announced), signal);
    const trial = new Trial(this.patience, signal);
    let there = await announce();
    let furthest = there.offset;
    let most = Math.min(Math.max(there.chunk_bytes, 1), MOST_CHUNK);
    while (there.state === "uploading") {
      onBytes?.(there.offset, all);
      if (!(there.offset >= 0 && there.offset < all)) {
        throw new ServiceError(`the service says that the upload is at byte ${there.offset} of ${all}`);
      }
      if (there.offset > furthest) {
        furthest = there.offset;
        trial.getsOn();
      }
      // Sent as a blob: browsers take ten times as long for the same bytes from memory.
      const chunk = file.blob.slice(there.offset, there.offset + most);
      const digest = blake3(new Uint8Array(await chunk.arrayBuffer()));
      const request: RequestInit = {
        method: "PATCH",
        headers: {
          "content-type": "application/octet-stream",
          "upload-offset": String(there.offset),
          "upload-digest": digest,
        },
        body: chunk,
        signal: signal ?? null,
      };
      try {
        const now = await this.json<Keys>(`/v1/keys/${file.digest}`, request);
        if (now.state !== "whole" && now.offset <= there.offset) {
          await trial.wait(new ServiceError("the upload does not get on", undefined, FIRST_PAUSE));
        }
        there = now;
      } catch (error) {
        if (error instanceof ServiceError && error.code === "wrong_offset") {
          await trial.wait(new ServiceError(error.message, error.problem, FIRST_PAUSE));
        } else {
          await trial.wait(error);
          // A slow line gets smaller chunks, a broken one costs less.
          most = Math.max(most >> 1, LEAST_CHUNK);
        }
        there = await announce();
      }
    }
    onBytes?.(all, all);
    return there;
  }

  /** Sends an encrypted picture. */
  submit(model: string, keys: string, image: Uint8Array, options: SubmitOptions = {}): Promise<Job> {
    const query = new URLSearchParams({ keys });
    if (options.deadline !== undefined) query.set("deadline", String(options.deadline));
    const request: RequestInit = {
      method: "POST",
      headers: {
        "content-type": "application/octet-stream",
        "idempotency-key": options.idempotencyKey ?? randomName(),
      },
      body: new Blob([image as Uint8Array<ArrayBuffer>]),
      signal: options.signal ?? null,
    };
    const path = `/v1/models/${encodeURIComponent(model)}/jobs?${query}`;
    return this.persist(() => this.json<Job>(path, request), options.signal);
  }

  /** Waits until a job is finished, however long it takes; `onJob` is told of every change. */
  async wait(id: string, onJob?: (job: Job) => void, signal?: AbortSignal): Promise<Job> {
    const path = `/v1/jobs/${encodeURIComponent(id)}/events`;
    const request: RequestInit = { headers: { accept: "text/event-stream" }, signal: signal ?? null };
    const trial = new Trial(this.patience, signal);
    for (;;) {
      try {
        for await (const data of events(await this.send(path, request))) {
          const job = JSON.parse(data) as Job;
          trial.getsOn();
          onJob?.(job);
          if (["done", "failed", "cancelled"].includes(job.state)) return job;
        }
        // A stream that ends before the job does is taken up again.
        throw new ServiceError("the connection broke off", undefined, 0);
      } catch (error) {
        signal?.throwIfAborted();
        const broken = error instanceof ServiceError ? error : new ServiceError(String(error), undefined, 0);
        await trial.wait(broken);
      }
    }
  }

  /**
   * The answer of a job of at most `limit` bytes, and its receipt, which names what was sent.
   *
   * @throws ServiceError if the job has none, or if its receipt is of something else.
   */
  async answer(job: Job, sent: Sent, limit: number): Promise<{ answer: Uint8Array; receipt: Receipt }> {
    if (job.state !== "done") {
      const problem = job.problem;
      const why = problem ? `${problem.detail} (${problem.code})` : `the job is ${job.state}`;
      throw new ServiceError(why, problem);
    }
    const path = `/v1/jobs/${encodeURIComponent(job.id)}`;
    const answer = await this.persist(() => this.bytes(`${path}/answer`, {}, limit));
    const receipt = await this.persist(() => this.json<Receipt>(`${path}/receipt`));
    const named = { ...sent, answer: blake3(answer) };
    for (const part of ["program", "keys", "image", "answer"] as const) {
      if (receipt[part] !== named[part]) {
        throw new ServiceError(`the receipt of the answer is of another ${part}: the answer is not used`);
      }
    }
    return { answer, receipt };
  }

  /** Cancels a job that is not finished, deletes one that is. */
  async deleteJob(id: string): Promise<void> {
    await this.persist(() => this.bytes(`/v1/jobs/${encodeURIComponent(id)}`, { method: "DELETE" }, JSON_BYTES));
  }
}

function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The body of a response, if it has at most `limit` bytes. */
async function limited(response: Response, limit: number): Promise<Uint8Array> {
  if (response.body === null) return new Uint8Array();
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch((error: unknown) => {
      throw new ServiceError(`the connection broke off: ${String(error)}`, undefined, 0);
    });
    if (done) break;
    length += value.length;
    if (length > limit) {
      await reader.cancel();
      throw new ServiceError(`the service answered more than ${limit} bytes`);
    }
    parts.push(value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The data of server-sent events, of which each has one line. */
async function* events(response: Response): AsyncGenerator<string> {
  if (response.body === null) return;
  const decoder = new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>;
  const reader = response.body.pipeThrough(decoder).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop() ?? "";
      if (rest.length > JSON_BYTES) throw new ServiceError("the service sent an event without an end");
      for (const line of lines) {
        if (line.startsWith("data:")) yield line.slice(5).trim();
      }
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
