//! The rules of ChatSphere: ids, model, policy, use cases, ports.
