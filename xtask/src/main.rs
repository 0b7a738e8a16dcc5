//! Development tasks: dev, build, test, lint, ci.

fn main() {}
