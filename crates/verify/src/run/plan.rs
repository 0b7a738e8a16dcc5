//! The plan of a run: all operations and faults, determined by a seed and not by the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};

use super::steps::{Op, Outgoing, Size, Step};
use super::wire::Cut;
use crate::judge::record::Over;

/// All steps of a run.
#[derive(Debug)]
pub(crate) struct Plan {
    random: StdRng,
    size: Size,
    /// By room and user. The first member is the owner, who stays.
    members: Vec<Vec<bool>>,
    owners: Vec<usize>,
    done: usize,
    messages: usize,
    faults: BTreeMap<usize, Vec<Fault>>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Database,
    Stall,
}

impl Plan {
    pub(crate) fn new(seed: u64, size: Size) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut members = Vec::new();
        let mut owners = Vec::new();
        for _ in 0..size.rooms {
            let mut users: Vec<usize> = (0..size.users).collect();
            users.shuffle(&mut random);
            users.truncate(random.random_range(size.users.div_ceil(2)..=size.users));
            members.push((0..size.users).map(|user| users.contains(&user)).collect());
            owners.push(users.first().copied().unwrap_or_default());
        }
        let mut faults: BTreeMap<usize, Vec<Fault>> = BTreeMap::new();
        for (count, fault) in [(size.kills, Fault::Kill), (size.database_stops, Fault::Database), (size.stalls, Fault::Stall)] {
            for _ in 0..count {
                // Not before there is data to lose.
                let when = random.random_range(size.operations / 20..size.operations.max(1));
                faults.entry(when).or_default().push(fault);
            }
        }
        Self { random, size, members, owners, done: 0, messages: 0, faults }
    }

    /// The current members of a room, its owner first.
    pub(crate) fn members(&self, room: usize) -> Vec<usize> {
        let owner = self.owner(room);
        let members = self.members.get(room).map_or(&[][..], Vec::as_slice);
        let others = members.iter().enumerate().filter(|(user, is_in)| **is_in && *user != owner).map(|(user, _)| user);
        std::iter::once(owner).chain(others).collect()
    }

    /// The current rooms of a client's user.
    pub(crate) fn rooms_of(&self, device: usize) -> Vec<usize> {
        let user = self.user_of(device);
        (0..self.size.rooms).filter(|room| self.is_in(*room, user)).collect()
    }

    pub(crate) fn user_of(&self, device: usize) -> usize {
        device % self.size.users.max(1)
    }

    fn owner(&self, room: usize) -> usize {
        self.owners.get(room).copied().unwrap_or_default()
    }

    fn is_in(&self, room: usize, user: usize) -> bool {
        self.members.get(room).and_then(|members| members.get(user)).copied().unwrap_or(false)
    }

    fn device(&mut self) -> usize {
        self.random.random_range(0..self.size.devices)
    }

    /// A room of the client's user; sometimes any room.
    fn room_for(&mut self, device: usize) -> usize {
        let own = self.rooms_of(device);
        match own.choose(&mut self.random) {
            Some(room) if self.random.random_bool(0.95) => *room,
            _ => self.random.random_range(0..self.size.rooms),
        }
    }

    fn message(&mut self, room: usize) -> Outgoing {
        let length = if self.random.random_bool(0.02) { 8_000 } else { self.random.random_range(0..300) };
        self.message_of(room, length)
    }

    fn message_of(&mut self, room: usize, length: usize) -> Outgoing {
        self.messages += 1;
        let key = format!("m{}", self.messages);
        // Characters that an encoder may handle incorrectly.
        let pattern = "a\"b\\c\u{1}é\u{2028}🦀 ";
        let text = format!("{key} {}", pattern.chars().cycle().take(length).collect::<String>());
        Outgoing { room, key, text }
    }

    fn step(&mut self) -> Step {
        let device = self.device();
        let one = |op| Step::Devices(vec![(device, op)]);
        match self.random.random_range(0..100) {
            0..62 => {
                let (room, twice) = (self.room_for(device), self.random.random_bool(0.05));
                one(Op::Send { message: self.message(room), over: Over::Socket, twice })
            }
            62..68 => {
                let room = self.room_for(device);
                one(Op::Send { message: self.message(room), over: Over::Rest, twice: false })
            }
            68..71 => self.same_from_two(device),
            71..75 => one(Op::SendAgain { room: self.room_for(device) }),
            75..79 => {
                let room = self.room_for(device);
                let text = self.message(room).text;
                one(Op::Edit { room, text })
            }
            79..83 => one(Op::Join { room: self.room_for(device) }),
            83..86 => one(Op::Leave { room: self.room_for(device) }),
            86..92 if self.size.drops => one(self.drop_connection(device)),
            _ => self.change(),
        }
    }

    /// Two clients of one user send the same message at the same time.
    fn same_from_two(&mut self, device: usize) -> Step {
        let room = self.room_for(device);
        let message = self.message(room);
        let others: Vec<usize> =
            (0..self.size.devices).filter(|other| *other != device && self.user_of(*other) == self.user_of(device)).collect();
        let over = if self.random.random_bool(0.3) { Over::Rest } else { Over::Socket };
        let mut ops = vec![(device, Op::Send { message: message.clone(), over: Over::Socket, twice: false })];
        ops.extend(others.choose(&mut self.random).map(|other| (*other, Op::Send { message, over, twice: false })));
        Step::Devices(ops)
    }

    fn drop_connection(&mut self, device: usize) -> Op {
        let how = if self.random.random_bool(0.5) { Cut::Reset } else { Cut::Finish };
        let half = self.random.random_bool(0.5).then(|| {
            let room = self.room_for(device);
            (self.message(room), self.random.random_range(0..1_000))
        });
        Op::Drop { how, half }
    }

    fn change(&mut self) -> Step {
        let (room, user) = (self.random.random_range(0..self.size.rooms), self.random.random_range(0..self.size.users));
        if user == self.owner(room) {
            let device = self.device();
            return Step::Devices(vec![(device, Op::Join { room })]);
        }
        let adds = !self.is_in(room, user);
        if let Some(is_in) = self.members.get_mut(room).and_then(|members| members.get_mut(user)) {
            *is_in = adds;
        }
        Step::Change { room, user, adds, by_itself: !adds && self.random.random_bool(0.3) }
    }

    fn fault(&mut self, fault: Fault) -> Step {
        match fault {
            Fault::Kill => {
                let again = self.random.random_bool(0.2);
                let after = Duration::from_millis(self.random.random_range(0..400));
                Step::Kill { again_after: again.then_some(after) }
            }
            Fault::Database => Step::StopDatabase { away: Duration::from_millis(self.random.random_range(500..5_000)) },
            Fault::Stall => self.stall(),
        }
    }

    fn stall(&mut self) -> Step {
        let sleeper = self.device();
        let room = self.rooms_of(sleeper).choose(&mut self.random).copied().unwrap_or_default();
        let senders: Vec<usize> =
            (0..self.size.devices).filter(|device| *device != sleeper && self.is_in(room, self.user_of(*device))).collect();
        let mut messages = Vec::new();
        // 9 MB as JSON: more than the queue and the kernel's buffers, which hold a few megabytes.
        for _ in 0..400 {
            let Some(sender) = senders.choose(&mut self.random) else { break };
            let message = self.message_of(room, 10_000);
            messages.push((*sender, Op::Send { message, over: Over::Socket, twice: false }));
        }
        Step::Stall { sleeper, room, messages }
    }
}

impl Iterator for Plan {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if let Some(mut due) = self.faults.first_entry().filter(|due| *due.key() <= self.done) {
            let fault = due.get_mut().pop();
            if due.get().is_empty() {
                due.remove();
            }
            if let Some(fault) = fault {
                return Some(self.fault(fault));
            }
        }
        if self.done == self.size.operations {
            return None;
        }
        self.done += 1;
        Some(self.step())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size =
        Size { users: 5, devices: 8, rooms: 3, operations: 2_000, kills: 4, database_stops: 1, stalls: 1, drops: true };

    #[test]
    fn a_seed_makes_the_same_plan_again_and_another_seed_another() {
        let plan = |seed| Plan::new(seed, SIZE).collect::<Vec<Step>>();
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
        let count = |is: fn(&Step) -> bool| plan(1).iter().filter(|step| is(step)).count();
        assert_eq!(count(|step| matches!(step, Step::Kill { .. })), 4);
        assert_eq!(count(|step| matches!(step, Step::StopDatabase { .. })), 1);
        assert_eq!(count(|step| matches!(step, Step::Stall { .. })), 1);
        assert!(count(|step| matches!(step, Step::Change { adds: true, .. })) > 20);
    }

    #[test]
    fn owners_stay_and_every_change_changes_something() {
        let plan = Plan::new(3, SIZE);
        let mut members: Vec<Vec<usize>> = (0..SIZE.rooms).map(|room| plan.members(room)).collect();
        let owners: Vec<usize> = members.iter().map(|members| members[0]).collect();
        for step in plan {
            let Step::Change { room, user, adds, .. } = step else { continue };
            assert_ne!(user, owners[room]);
            assert_ne!(members[room].contains(&user), adds);
            if adds {
                members[room].push(user);
            } else {
                members[room].retain(|member| *member != user);
            }
        }
    }
}
