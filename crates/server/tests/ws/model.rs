//! Compares random sequences of calls and frames by several users with a model of one room.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::client::{Client, is_event, number};
use crate::database::Database;
use crate::on_every_database;
use crate::server::Server;
use crate::support::Person;

on_every_database!(any_sequence_does_what_the_model_says);

const RUNS: u64 = 6;
const STEPS: usize = 150;
const PEOPLE: usize = 4;
const CLIENTS: usize = 7;

/// The expected state of a room.
struct Model {
    /// The description of each event, from 1 on.
    events: Vec<String>,
    members: BTreeSet<usize>,
    /// The `seq` and content of each `clientMessageId` of an author.
    posted: HashMap<(usize, u64), (usize, String)>,
}

/// A connection, and the frames that it must get.
struct Ear {
    client: Client,
    person: usize,
    /// Whether it is subscribed.
    inside: bool,
    /// The frames that it must still get: events by their `seq`, and `left`.
    due: Vec<String>,
    cursor: usize,
}

async fn any_sequence_does_what_the_model_says(database: Arc<Database>) {
    let seeds = match std::env::var("CHATSPHERE_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (0..RUNS).map(|_| rand::random()).collect::<Vec<u64>>(),
    };
    let server = Server::start(&database).await;
    for (run, seed) in seeds.into_iter().enumerate() {
        println!("replay with CHATSPHERE_SEED={seed}");
        play(&server, run, StdRng::seed_from_u64(seed)).await;
    }
}

async fn play(server: &Server, run: usize, mut rng: StdRng) {
    let mut people: Vec<Person> = Vec::new();
    for n in 0..PEOPLE {
        people.push(server.user(&format!("person {n} of {run}")).await);
    }
    let room = server.room("model", &people[0]).await;
    let mut model = Model { events: vec!["joined 0".to_owned()], members: BTreeSet::from([0]), posted: HashMap::new() };
    let mut ears: Vec<Ear> = Vec::new();
    for n in 0..CLIENTS {
        let person = n % PEOPLE;
        let client = server.connect(&people[person].token).await;
        ears.push(Ear { client, person, inside: false, due: Vec::new(), cursor: 0 });
    }
    for step in 0..STEPS {
        let who = rng.random_range(0..CLIENTS);
        let person = ears[who].person;
        match rng.random_range(0..100) {
            0..10 => {
                let added = rng.random_range(1..PEOPLE);
                server.add(room, people[added].id).await;
                if model.members.insert(added) {
                    happen(&mut model, &mut ears, format!("joined {added}"));
                }
            }
            10..16 => {
                let removed = rng.random_range(1..PEOPLE);
                server.remove(room, &people[removed]).await;
                if model.members.remove(&removed) {
                    happen(&mut model, &mut ears, format!("left {removed}"));
                    for ear in ears.iter_mut().filter(|ear| ear.person == removed && ear.inside) {
                        ear.inside = false;
                        ear.due.push("left".to_owned());
                    }
                }
            }
            16..60 => {
                let id = rng.random_range(0..30);
                let content = format!("{} by {person}", rng.random_range(0..2));
                let frame =
                    json!({ "type": "message", "roomId": room, "content": content, "clientMessageId": format!("{id}") });
                let answer = ears[who].client.ask(frame).await;
                let context = format!("step {step}: {answer}");
                if !model.members.contains(&person) {
                    assert_eq!(answer["code"], "not_a_member", "{context}");
                } else if let Some((seq, before)) = model.posted.get(&(person, id)) {
                    if *before == content {
                        assert_eq!(number(&answer["seq"]), *seq as u64, "{context}");
                    } else {
                        assert_eq!(answer["code"], "client_message_id_reused", "{context}");
                    }
                } else {
                    happen(&mut model, &mut ears, content.clone());
                    assert_eq!(number(&answer["seq"]), model.events.len() as u64, "{context}");
                    model.posted.insert((person, id), (model.events.len(), content));
                }
            }
            60..85 => {
                let since = rng.random_bool(0.8).then(|| rng.random_range(0..=model.events.len()));
                join(&mut ears[who], &model, &people, room, since).await;
            }
            85..92 => {
                let ear = &mut ears[who];
                let answer = ear.client.ask(json!({ "type": "leave", "roomId": room })).await;
                assert_eq!(answer["type"], "leave_confirmation");
                if ear.inside {
                    // The frames that were due may or may not have been sent before.
                    ear.inside = false;
                    let frames = ear.client.drain().await;
                    let seen: Vec<_> = frames.iter().map(|frame| tell(frame, &people)).collect();
                    assert_eq!(seen[..], ear.due[..seen.len()]);
                    ear.due.clear();
                }
            }
            _ => {
                let ear = &mut ears[who];
                settle(ear, &people).await;
                ear.client = server.connect(&people[person].token).await;
                ear.inside = false;
            }
        }
    }
    for ear in &mut ears {
        settle(ear, &people).await;
        ear.client.quiet().await;
    }
    let told: Vec<_> = server.events(room).await.iter().map(|event| tell(event, &people)).collect();
    assert_eq!(told, model.events.iter().enumerate().map(|(place, what)| format!("{} {what}", place + 1)).collect::<Vec<_>>());
}

/// Adds the room's newest event.
fn happen(model: &mut Model, ears: &mut [Ear], what: String) {
    model.events.push(what.clone());
    let seq = model.events.len();
    for ear in ears.iter_mut().filter(|ear| ear.inside) {
        ear.due.push(format!("{seq} {what}"));
    }
}

async fn join(ear: &mut Ear, model: &Model, people: &[Person], room: chatsphere_core::RoomId, since: Option<usize>) {
    settle(ear, people).await;
    let frame = json!({ "type": "join", "roomId": room, "since": since });
    if !model.members.contains(&ear.person) {
        assert_eq!(ear.client.ask(frame).await["code"], "not_a_member");
        return;
    }
    let joined = ear.client.join(room, json!({ "since": since })).await;
    assert_eq!(joined.confirmation["seq"], model.events.len());
    assert_eq!(joined.confirmation["recovered"], since.is_some());
    let mut shown = BTreeMap::new();
    for page in &joined.pages {
        for event in page["messages"].as_array().unwrap().iter().chain(page["events"].as_array().unwrap()) {
            shown.insert(number(&event["seq"]) as usize, tell(event, people));
        }
    }
    let first = number(&joined.pages[0]["fromSeq"]) as usize;
    assert!(since.is_none_or(|since| first == since + 1));
    for seq in first..=model.events.len() {
        assert_eq!(shown.get(&seq), Some(&format!("{seq} {}", model.events[seq - 1])));
    }
    ear.inside = true;
    ear.cursor = model.events.len();
}

/// Reads all due frames.
async fn settle(ear: &mut Ear, people: &[Person]) {
    for due in std::mem::take(&mut ear.due) {
        let frame = ear.client.frame().await;
        assert_eq!(tell(&frame, people), due, "{frame}");
    }
}

fn tell(frame: &Value, people: &[Person]) -> String {
    let who = |user: &Value| people.iter().position(|person| user["id"] == json!(person.id)).expect("one of them");
    match frame["type"].as_str() {
        Some("member_joined") => format!("{} joined {}", frame["seq"], who(&frame["user"])),
        Some("member_left") => format!("{} left {}", frame["seq"], who(&frame["user"])),
        Some("new_message") => tell(&frame["message"], people),
        Some("left") => "left".to_owned(),
        None => format!("{} {}", frame["seq"], frame["content"].as_str().expect("a message")),
        Some(_) => panic!("{} {frame}", is_event(frame)),
    }
}
