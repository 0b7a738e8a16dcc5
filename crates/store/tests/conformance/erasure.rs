//! Tests that erased contents leave SQLite's files while the server runs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatsphere_core::store::{MessageDeletion, VersionsForgotten};
use chatsphere_core::{Actor, Message};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::edits::edit;
use crate::fixture::{Fixture, on_sqlite};
use crate::world::{World, new_message, now};

/// The writes of the test, some of which are deletions.
const WRITES: u32 = 800;
/// The limit for the files to be clean. It is far above what it takes.
const AMPLE: Duration = Duration::from_secs(60);

/// A message, and the words of its contents, oldest first.
struct Written {
    message: Message,
    words: Vec<u32>,
}

/// A content of up to some pages that has only this word.
fn text(word: u32, random: &mut StdRng) -> String {
    let times = if random.random_ratio(1, 8) { random.random_range(1..2_000) } else { random.random_range(1..40) };
    format!("<{word:06}>").repeat(times)
}

/// The words in the files of a directory.
fn words_in_files(directory: &Path) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for file in std::fs::read_dir(directory).unwrap() {
        // The log's file may be removed meanwhile.
        let Ok(bytes) = std::fs::read(file.unwrap().path()) else { continue };
        for window in bytes.windows(8).filter(|window| window[0] == b'<' && window[7] == b'>') {
            found.extend(std::str::from_utf8(&window[1..7]).ok().and_then(|word| word.parse::<u32>().ok()));
        }
    }
    found
}

async fn waits_until_no_erased_word_is_in_a_file(fixture: Arc<Fixture>) {
    let world = World::new(&fixture).await;
    let rooms = [world.room().await.id, world.room().await.id];
    let node = fixture.node_with(|options| options.truncate_after = Duration::from_millis(20)).await.unwrap();
    let (store, ada) = (&node.store, world.ada.id);
    let mut random = StdRng::seed_from_u64(4_711);
    let (mut written, mut erased): (Vec<Written>, BTreeSet<u32>) = (Vec::new(), BTreeSet::new());
    for word in 1..=WRITES {
        let place = random.random_range(0..written.len().max(1));
        let what = if written.is_empty() { 0 } else { random.random_range(0..10) };
        if what < 5 {
            let room = rooms[random.random_range(0..rooms.len())];
            let message = store.submit(new_message(room, ada, &text(word, &mut random))).await.unwrap().value;
            written.push(Written { message, words: vec![word] });
            continue;
        }
        let Written { message, words } = &mut written[place];
        let (room_id, message_id, actor, at) = (message.room_id, message.id, Actor::Operator, now());
        match what {
            5..8 => {
                store.submit(edit(room_id, message_id, ada, &text(word, &mut random))).await.unwrap();
                words.push(word);
            }
            8 => {
                store.submit(VersionsForgotten { room_id, message_id, actor, at }).await.unwrap();
                erased.extend(words.drain(..words.len() - 1));
            }
            _ => {
                store.submit(MessageDeletion { room_id, message_id, hard: false, by: ada, actor, at }).await.unwrap();
                erased.extend(written.swap_remove(place).words);
            }
        }
    }
    let kept: BTreeSet<u32> = written.into_iter().flat_map(|written| written.words).collect();
    assert!(erased.len() > 100 && kept.len() > 100, "{} {}", erased.len(), kept.len());
    let directory = fixture.url.sqlite_path().unwrap().parent().unwrap().to_owned();
    let until = Instant::now() + AMPLE;
    loop {
        let found = words_in_files(&directory);
        let left: Vec<_> = found.intersection(&erased).collect();
        if left.is_empty() {
            assert_eq!(found, kept);
            return;
        }
        assert!(Instant::now() < until, "in the files: {left:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn erased_words_leave_every_file_while_the_server_runs() {
    on_sqlite(waits_until_no_erased_word_is_in_a_file).await;
}
