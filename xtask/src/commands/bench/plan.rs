//! The measurements and their parameters.

/// The scale of a benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Small, for a minute or two: to check that everything runs.
    Quick,
    /// As in docs/performance.md.
    Full,
    /// With a room of ten million messages.
    Large,
}

/// One measurement with its own server and database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// The name in the table and of the files.
    pub(super) name: &'static str,
    /// Arguments of `chatsphere-bench`.
    pub(super) arguments: &'static str,
    /// Arguments of the example `fill`, which runs before the server starts.
    pub(super) fill: Option<&'static str>,
    /// Uses the database of the previous step, and compares with its report.
    pub(super) goes_on: bool,
}

const fn step(name: &'static str, arguments: &'static str) -> Step {
    Step { name, arguments, fill: None, goes_on: false }
}

const fn growth(name: &'static str, arguments: &'static str, fill: &'static str, goes_on: bool) -> Step {
    Step { name, arguments, fill: Some(fill), goes_on }
}

/// All measurements in order.
pub(super) fn steps(scale: Scale) -> Vec<Step> {
    match scale {
        Scale::Quick => vec![
            step("idle-200", "idle --sockets 200 --settle 1 --hold 2"),
            step("connect", "connect --connections 500"),
            step("fanout-1", "fanout --sockets 100 --messages 100 --runs 3 --floor"),
            step("fanout-16", "fanout --sockets 100 --messages 320 --in-flight 16 --runs 3 --floor"),
            step("rest", "rest --connections 16 --seconds 2 --warm-up 1"),
            step("ingest", "ingest --rooms 16 --in-flight 8 --seconds 2 --warm-up 1 --open-half"),
            step("storm", "storm --sockets 200 --events 200"),
            step("fairness", "fairness --sockets 200 --seconds 1"),
            growth("growth-10-rooms", "growth --samples 50", "--messages 1000,20000 --rooms 10", false),
            growth("growth-5000-rooms", "growth --samples 50", "--messages 1000,20000 --rooms 5000", true),
            step("smoke", "smoke --messages 500 --seed 7"),
        ],
        Scale::Full | Scale::Large => vec![
            step("idle-5000", "idle --sockets 5000"),
            step("idle-10000", "idle --sockets 10000"),
            // With 20,000 open files, a common limit, a server accepts 19,488 connections.
            step("idle-19000", "idle --sockets 19000"),
            step("connect", "connect --connections 20000"),
            step("fanout-1", "fanout --sockets 1000 --messages 300 --runs 5 --floor"),
            step("fanout-16", "fanout --sockets 1000 --messages 2000 --in-flight 16 --runs 5 --floor"),
            step("rest", "rest"),
            step("ingest", "ingest --rooms 64 --in-flight 8 --open-half"),
            step("storm", "storm --sockets 5000 --events 1000"),
            step("fairness", "fairness --sockets 10000"),
            growth("growth-10-rooms", "growth", first_fill(scale), false),
            growth("growth-10k-rooms", "growth", "--messages 1000,100000 --rooms 10000", true),
            growth("growth-1M-rooms", "growth", "--messages 1000,100000 --rooms 1000000", true),
            step("smoke", "smoke --messages 5000 --seed 7"),
        ],
    }
}

const fn first_fill(scale: Scale) -> &'static str {
    match scale {
        Scale::Large => "--messages 1000,100000,10000000 --rooms 10",
        Scale::Quick | Scale::Full => "--messages 1000,100000 --rooms 10",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_what_goes_on_follows_something() {
        for scale in [Scale::Quick, Scale::Full, Scale::Large] {
            let steps = steps(scale);
            let mut names: Vec<_> = steps.iter().map(|step| step.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), steps.len());
            assert!(steps.windows(2).all(|pair| !pair[1].goes_on || pair[0].fill.is_some()));
        }
    }
}
