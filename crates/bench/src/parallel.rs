use std::future::Future;

use tokio::task::JoinSet;

use crate::error::RunError;
use crate::progress::Progress;

/// Runs `count` tasks, a limited number at a time, and returns their results in order.
pub(crate) async fn in_parallel<T, F>(
    what: &'static str,
    count: usize,
    at_once: usize,
    mut make: impl FnMut(usize) -> F,
) -> Result<Vec<T>, RunError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, RunError>> + Send + 'static,
{
    let progress = Progress::start(what, count);
    let mut made: Vec<Option<T>> = Vec::new();
    made.resize_with(count, || None);
    let mut under_way = JoinSet::new();
    let mut next = 0;
    while next < count || !under_way.is_empty() {
        while next < count && under_way.len() < at_once.max(1) {
            let (number, making) = (next, make(next));
            under_way.spawn(async move { Ok::<_, RunError>((number, making.await?)) });
            next += 1;
        }
        if let Some((number, one)) = joined(&mut under_way).await? {
            progress.step();
            if let Some(place) = made.get_mut(number) {
                *place = Some(one);
            }
        }
    }
    Ok(made.into_iter().flatten().collect())
}

/// The result of the next task that ends; `None` if none is left.
pub(crate) async fn joined<T: 'static>(tasks: &mut JoinSet<Result<T, RunError>>) -> Result<Option<T>, RunError> {
    match tasks.join_next().await {
        None => Ok(None),
        Some(Ok(result)) => result.map(Some),
        Some(Err(error)) => Err(RunError::Unexpected(format!("a task ended: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn all_are_made_in_their_order_and_never_too_many_at_once() {
        let busy = Arc::new(AtomicUsize::new(0));
        let made = in_parallel("numbers", 20, 3, |number| {
            let busy = Arc::clone(&busy);
            async move {
                assert!(busy.fetch_add(1, Ordering::SeqCst) < 3);
                tokio::task::yield_now().await;
                busy.fetch_sub(1, Ordering::SeqCst);
                Ok(number)
            }
        });
        assert_eq!(made.await.unwrap(), (0..20).collect::<Vec<_>>());
        let failing = in_parallel("numbers", 3, 3, |_| async { Err::<(), _>(RunError::Usage("no".to_owned())) });
        assert!(failing.await.is_err());
    }
}
