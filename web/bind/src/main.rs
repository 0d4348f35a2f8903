//! Writes the JavaScript and the types beside a WebAssembly module of the workspace. It is what
//! `wasm-bindgen --target web` does, without the rest of that command.

use std::path::PathBuf;

use anyhow::bail;
use wasm_bindgen_cli_support::Bindgen;

fn main() -> anyhow::Result<()> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [module, folder] = &paths[..] else { bail!("usage: fhec-web-bind MODULE.wasm FOLDER") };
    Bindgen::new().input_path(module).web(true)?.typescript(true).generate(folder)
}
