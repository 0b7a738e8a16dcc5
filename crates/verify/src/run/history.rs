//! Reads the final state of the rooms.

use chatsphere_client::{Client, RoomId, Seq};

use crate::judge::record::{Event, RoomRecord};
use chatsphere_bench::error::RunError;
use chatsphere_bench::setup::patiently;

const PAGE: Option<u32> = Some(200);

pub(crate) async fn read(client: &Client, id: RoomId) -> Result<RoomRecord, RunError> {
    let mut messages: Vec<Event> = Vec::new();
    let mut page = patiently("reading messages", || client.messages_after(id, Seq::ZERO, PAGE)).await?;
    loop {
        messages.extend(page.items.iter().map(Event::from));
        let Some(next) = page.next else { break };
        page = patiently("reading messages", || client.follow(&next)).await?;
    }
    let mut events: Vec<Event> = Vec::new();
    let mut page = patiently("reading events", || client.events(id, Seq::ZERO, PAGE)).await?;
    loop {
        events.extend(page.items.iter().map(Event::from));
        let Some(next) = page.next else { break };
        page = patiently("reading events", || client.follow(&next)).await?;
    }
    let told = patiently("reading a room", || client.room(id)).await?.room;
    let told_messages = told.count.map(|count| count.messages);
    Ok(RoomRecord { id, events, messages, told_seq: told.seq.get(), told_messages })
}
