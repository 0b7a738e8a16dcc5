use super::*;
use crate::control::ControlPosition;
use crate::event::EventKind;
use crate::ids::{MessageId, UserId};
use crate::model::UserRef;
use crate::seq::Seq;
use crate::text::{Content, Username};
use crate::time::Timestamp;

const NOW: Timestamp = Timestamp::from_millis(1_795_341_370_000);

fn page(messages: usize, content: &str, others: usize, name: &str) -> Newest {
    let (room_id, ada) =
        (RoomId::new(NOW), || UserRef { id: UserId::new(NOW), username: Username::from_stored(name.to_owned()) });
    let message = Message {
        id: MessageId::new(NOW),
        room_id,
        author: ada(),
        seq: Seq::new(1),
        content: Content::from_stored(content.to_owned()),
        client_message_id: None,
        created_at: NOW,
        updated_at: NOW,
        details: None,
    };
    let kind = EventKind::MemberJoined { user: ada(), by: ada() };
    let other = Arc::new(Event { room_id, seq: Seq::new(1), at: NOW, kind });
    Newest { messages: vec![message; messages], others: vec![other; others], from: Seq::new(1), head: Seq::new(1) }
}

/// The bytes that a page takes at least, itself and encoded.
fn taken(page: &Newest) -> usize {
    let content = |message: &Message| {
        let content = message.content.as_str();
        content.len() + serde_json::to_string(content).unwrap().len()
    };
    let messages: usize =
        page.messages.iter().map(|message| content(message) + 2 * message.author.username.as_str().len()).sum();
    let others: usize = page.others.iter().map(|event| 2 * (size_of::<Event>() + event.text_len())).sum();
    messages + others
}

#[test]
fn kept_pages_and_their_encodings_stay_within_their_bound() {
    let text = "x".repeat(32 * 1024);
    // JSON encodes each of these in six bytes.
    let controls = "\u{1}".repeat(32 * 1024);
    // The longest name that the settings allow.
    let name = "😀".repeat(1_000);
    for page in [page(10, &text, 0, "ada"), page(10, &controls, 0, "ada"), page(0, "", 200, "ada"), page(50, "x", 200, &name)] {
        let (pages, taken) = (Pages::new(), taken(&page));
        let version = RoomVersion { head: Seq::new(1), control: ControlPosition(1) };
        let weight = weight(&page.messages, &page.others);
        let mut most = 0;
        for room in 0..3 * MAX_BYTES / taken {
            let room = RoomId::new(Timestamp::from_millis(room as i64));
            pages.keep(room, Versioned { version, page: page.clone() }, weight);
            most = most.max(pages.kept().len() * taken);
        }
        assert!((MAX_BYTES / 8..=MAX_BYTES).contains(&most), "{most} bytes of pages of {taken}");
    }
}
