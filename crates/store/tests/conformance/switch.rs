//! An address that leads to one server, then to another, as at a failover.

use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// A proxy that forwards connections.
pub(crate) struct Switch {
    port: u16,
    state: Arc<Mutex<State>>,
    accepting: AbortHandle,
}

struct State {
    target: u16,
    connections: JoinSet<()>,
}

impl Switch {
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State { target, connections: JoinSet::new() }));
        let accepting = tokio::spawn({
            let state = Arc::clone(&state);
            async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    let mut state = state.lock().unwrap();
                    let target = state.target;
                    state.connections.spawn(async move {
                        if let Ok(mut server) = TcpStream::connect(("127.0.0.1", target)).await {
                            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                        }
                    });
                }
            }
        });
        Self { port, state, accepting: accepting.abort_handle() }
    }

    /// Forwards new connections to this target, and closes the existing ones.
    pub(crate) fn turn(&self, target: u16) {
        let mut state = self.state.lock().unwrap();
        state.target = target;
        state.connections.abort_all();
    }

    pub(crate) fn url(&self) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/postgres", self.port)
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
