//! Parsing any text gives a client's frame or an error with a code. A parsed frame can be encoded and parsed again.

#![no_main]

use chatsphere_protocol::frames::{Incoming, encode_client_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Incoming::parse(text) {
        Ok(incoming) => {
            let written = encode_client_frame(&incoming).expect("a frame that was read can be written");
            assert_eq!(Incoming::parse(&written).as_ref(), Ok(&incoming));
        }
        Err(error) => assert!(!error.kind.code().is_empty() && error.message.len() < 512),
    }
});
