//! Accounting of a user's calls and unsent answers.

use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use chatsphere_core::budget::{Account, Call, Charge, held};
use chatsphere_core::turns::Turn;
use chatsphere_core::{AppContext, Caller, Error, Unavailable};
use hyper::body::{Frame, SizeHint};

/// The accounting of a request, filled in when its caller is known. Stored in every request's extensions.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnderWay(Arc<OnceLock<Whose>>);

#[derive(Debug)]
struct Whose {
    account: Arc<Account>,
    call: Arc<Call>,
    turn: Mutex<Option<Turn>>,
}

impl UnderWay {
    /// Counts the call, once however often its caller is authenticated.
    ///
    /// # Errors
    /// [`Unavailable::Overloaded`] if this user has the maximum number of calls in progress.
    pub(crate) fn begin(&self, chat: &AppContext, caller: &Caller) -> Result<(), Error> {
        if self.0.get().is_some() {
            return Ok(());
        }
        let account = chat.owner(caller).account();
        let call = Arc::new(account.call().ok_or(Unavailable::Overloaded)?);
        let _ = self.0.set(Whose { account, call, turn: Mutex::default() });
        Ok(())
    }

    /// Keeps a read turn, if any, until the answer is encoded.
    pub(crate) fn hold(&self, turn: impl Into<Option<Turn>>) {
        if let (Some(whose), Some(turn)) = (self.0.get(), turn.into()) {
            *whose.turn.lock().unwrap_or_else(PoisonError::into_inner) = Some(turn);
        }
    }

    /// Counts an encoded answer, and the call, until the answer is sent, and ends the read turn. `None` if the memory budget is
    /// exhausted and the answer may be refused.
    ///
    /// Answers without a caller, such as health checks and errors, are neither counted nor refused: they are small or shared,
    /// and clients without a token could exhaust the budget with them.
    pub(crate) fn count(&self, chat: &AppContext, response: Response, may_be_refused: bool) -> Option<Response> {
        let Some(whose) = self.0.get() else { return Some(response) };
        let bytes = usize::try_from(response.body().size_hint().lower()).unwrap_or(usize::MAX);
        drop(whose.turn.lock().unwrap_or_else(PoisonError::into_inner).take());
        if bytes == 0 {
            return Some(response);
        }
        let account = Some(&whose.account);
        let charge = match chat.budget.charge(account, bytes) {
            Some(charge) => charge,
            None if may_be_refused => return None,
            None => chat.budget.charge_anyway(account, bytes),
        };
        let kept = Arc::new(Kept { _charge: charge, _call: whose.call.clone() });
        Some(response.map(|body| Body::new(CountedBody { body, kept })))
    }
}

struct Kept {
    _charge: Charge,
    _call: Arc<Call>,
}

/// A body whose bytes are counted until the last of them was sent.
struct CountedBody {
    body: Body,
    kept: Arc<Kept>,
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        Pin::new(&mut this.body).poll_frame(cx).map_ok(|frame| frame.map_data(|bytes| held(bytes, this.kept.clone())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
