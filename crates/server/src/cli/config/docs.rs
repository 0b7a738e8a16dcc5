use crate::cli::output::answer;
use crate::config::markdown;

pub(crate) fn run() {
    answer(markdown().trim_end());
}
