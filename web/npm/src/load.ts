import init from "../wasm/fhec_web.js";

let started: Promise<WebAssembly.Module> | undefined;

/** Where the WebAssembly module of this package is. */
export const wasmUrl = new URL("../wasm/fhec_web_bg.wasm", import.meta.url);

async function compile(source?: BufferSource | WebAssembly.Module): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  if (source !== undefined) return WebAssembly.compile(source);
  return WebAssembly.compileStreaming(fetch(wasmUrl));
}

/**
 * Starts the WebAssembly module. Call it once before anything else of this package.
 *
 * @param source the module or its bytes. A page needs none; in Node it is
 * `await readFile(wasmUrl)`.
 * @returns the module, which workers can be given.
 */
export function load(source?: BufferSource | WebAssembly.Module): Promise<WebAssembly.Module> {
  started ??= compile(source).then(async (module) => {
    await init({ module_or_path: module });
    return module;
  });
  return started;
}
