//! Lists the files of the demo page, so that the program carries whatever lies in their folder.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const FOLDER: &str = "src/demo";
const CARRIED: [&str; 4] = ["html", "css", "js", "svg"];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={FOLDER}");
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let mut files = fs::read_dir(root.join(FOLDER))?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| CARRIED.iter().any(|carried| ending == *carried)));
    files.sort();
    let mut list = "&[\n".to_owned();
    for file in &files {
        let name = file.file_name().map(Path::new).map(Path::display).ok_or(io::ErrorKind::InvalidData)?.to_string();
        // Not the path as it is now: a checkout that moves keeps what was built, but not where it lay.
        let path = format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?})", format!("/{FOLDER}/{name}"));
        writeln!(list, "    ({name:?}, include_bytes!({path})),").map_err(io::Error::other)?;
    }
    list += "]\n";
    fs::write(PathBuf::from(variable("OUT_DIR")?).join("demo_files.rs"), list)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(io::Error::other)
}
