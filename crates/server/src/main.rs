//! A self-hosted chat backend in one binary.

fn main() {}
