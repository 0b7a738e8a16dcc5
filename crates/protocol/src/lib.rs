//! What goes over ChatSphere's wire: REST bodies, WebSocket frames, codes.
