/** A model, as the caller sees it. */
export interface Model {
  name: string;
  /** Digest of the program. */
  program: string;
  security_bits: number;
  interface_bytes: number;
  key_file_max_bytes: number;
  key_memory_bytes: number;
  input_max_bytes: number;
  answer_max_bytes: number;
  /** The caller's keys for this program that are here and whole. */
  keys: string[];
  predicted_seconds: number;
  /** The same as late evaluations took there. */
  expected_seconds: number;
  /** Jobs of all callers that wait. */
  queued: number;
  /** Seconds until a job that is sent now is begun. */
  wait_seconds: number;
}

/** A caller's keys. */
export interface Keys {
  keys: string;
  program: string;
  state: "uploading" | "whole";
  length: number;
  /** Where the next chunk begins. */
  offset: number;
  chunk_bytes: number;
  resident: boolean;
  expires_in_seconds: number;
}

export type JobState = "queued" | "running" | "done" | "failed" | "cancelled";

/** A caller's job. */
export interface Job {
  id: string;
  model: string;
  state: JobState;
  submitted: number;
  deadline?: number;
  ops_done: number;
  ops: number;
  /** The layer that runs. */
  layer?: string;
  /** Seconds of evaluation, once there is an answer. */
  seconds?: number;
  problem?: Problem;
}

/** An error of the service (RFC 9457); `code` is for programs. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: string;
  retry_after?: number;
  offset?: number;
}

/** What an answer was computed of: digests, 64 hexadecimal digits each. */
export interface Receipt {
  version: number;
  model: string;
  program: string;
  keys: string;
  image: string;
  answer: string;
  signature?: { key: string; ed25519: string };
}

/** What was sent, and so what a receipt has to name. */
export interface Sent {
  program: string;
  keys: string;
  image: string;
}
