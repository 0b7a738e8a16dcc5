use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use chatsphere_core::{AuthorityListener, Chat, authority};
use chatsphere_realtime::{Hub, HubTasks, repair};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Sessions, WsState, intercept};
use crate::auth::Keys;
use crate::http::AllowedOrigins;

/// Everything that delivers: the hub's fan-out, the connections, and the tasks that keep both true to the store.
pub struct Live {
    state: Arc<WsState>,
    background: TaskTracker,
    /// Ends the background tasks; later than `state.stopping`, since connections that finish still need them.
    ended: CancellationToken,
}

impl Live {
    /// Starts delivering what `hub`, the store's commit sink, is told of.
    pub fn start(chat: Arc<Chat>, keys: Arc<Keys>, hub: Arc<Hub>, tasks: HubTasks, origins: AllowedOrigins) -> Self {
        let sessions = Arc::new(Sessions::new(chat.clone(), hub.clone()));
        let listener: Arc<dyn AuthorityListener> = sessions.clone();
        chat.authority.set_listener(Arc::downgrade(&listener));
        let live = Self {
            state: Arc::new(WsState {
                chat: chat.clone(),
                keys,
                hub: hub.clone(),
                sessions: sessions.clone(),
                origins,
                stopping: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
            background: TaskTracker::new(),
            ended: CancellationToken::new(),
        };
        for lane in tasks.lanes {
            let hub = hub.clone();
            live.run_until_ended(async move { hub.run_lane(lane).await });
        }
        live.run_until_ended(repair::run(hub, chat.store.clone(), tasks.gaps));
        live.run_until_ended(async move { sessions.run().await });
        live.run_until_ended(follow_control_log(chat));
        live
    }

    /// Puts this door before a router: what is for it never gets there.
    pub fn before<S: Clone + Send + Sync + 'static>(&self, router: Router<S>) -> Router<S> {
        router.layer(from_fn_with_state(self.state.clone(), intercept))
    }

    /// Lets every connection finish what was accepted and closes it with 1001. Answers whether all ended within `patience`.
    pub async fn drain(&self, patience: Duration) -> bool {
        self.state.stopping.cancel();
        self.state.tasks.close();
        timeout(patience, self.state.tasks.wait()).await.is_ok()
    }

    /// Ends everything. To be called after [`Live::drain`].
    pub async fn end(&self) {
        self.ended.cancel();
        self.background.close();
        self.background.wait().await;
    }

    /// How many authenticated connections are open.
    pub fn connections(&self) -> usize {
        self.state.sessions.count()
    }

    fn run_until_ended(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.ended.clone();
        self.background.spawn(async move {
            tokio::select! {
                () = ended.cancelled() => {}
                () = task => {}
            }
        });
    }
}

/// Makes changes of other nodes and of the command line effective here within a second.
async fn follow_control_log(chat: Arc<Chat>) {
    let mut poll = interval(authority::POLL_INTERVAL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        poll.tick().await;
        match chat.authority.poll(&*chat.store).await {
            Ok(()) => failing = false,
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "the control log can't be read; after 10 s of this, calls are refused");
                }
                failing = true;
            }
        }
    }
}
