//! Load generator and checker for ChatSphere; speaks the public protocol alone.

fn main() {}
