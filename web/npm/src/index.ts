/**
 * The client half of an encrypted inference with fhec.
 *
 * Call {@link load} first. An {@link Interface} says what a program takes; a {@link Client} holds
 * a secret key, encrypts and decrypts; a {@link Service} is reached by HTTP.
 */

export { Answer, Client, Hasher, Interface, blake3 } from "../wasm/fhec_web.js";
export type { Job, JobState, Keys, Model, Problem, Receipt, Sent } from "./api.js";
export { makeKeys, readKeyFile, type KeyFile, type KeyOptions, type KeyProgress } from "./keys.js";
export { load, wasmUrl } from "./load.js";
export {
  Service,
  ServiceError,
  type ServiceOptions,
  type SubmitOptions,
  type UploadOptions,
} from "./service.js";
