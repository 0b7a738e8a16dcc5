//! The Rust SDK of ChatSphere.
