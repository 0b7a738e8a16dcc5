use super::output::answer;
use crate::http::{frames_json, openapi_json};

/// Which description.
#[derive(Debug, clap::Args)]
pub(crate) struct Openapi {
    /// The JSON Schema of the WebSocket's frames instead
    #[arg(long)]
    frames: bool,
}

impl Openapi {
    pub(crate) fn run(&self) {
        answer(if self.frames { frames_json() } else { openapi_json() }.trim_end());
    }
}
