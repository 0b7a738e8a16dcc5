//! Protocol errors of a client (RFC 6455 section 7.1.7: fail the connection).

/// A violation of RFC 6455, after which the connection must be failed (section 7.1.7). The code of the close frame is for the
/// caller to choose (section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProtocolError {
    /// RSV1, RSV2 or RSV3 is set though no extension was negotiated (section 5.2).
    #[error("a reserved bit is set")]
    ReservedBits,
    /// Opcodes 3 to 7 and 11 to 15 are reserved (section 5.2).
    #[error("the opcode is reserved")]
    ReservedOpcode,
    /// Everything that a client sends is masked (section 5.1).
    #[error("the frame is not masked")]
    Unmasked,
    /// Control frames are never fragmented (section 5.5).
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// Control frames carry at most 125 bytes (section 5.5).
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// A length is written in the fewest bytes that can hold it (section 5.2).
    #[error("the length is not in its shortest form")]
    NonMinimalLength,
    /// The highest bit of a 64-bit length is zero (section 5.2).
    #[error("the length has its highest bit set")]
    LengthOverflow,
    /// The frame, or the message that it belongs to, is larger than the limit (section 10.4).
    #[error("the message is too big")]
    TooBig,
    /// A text message or the reason of a close frame is not UTF-8 (section 8.1).
    #[error("the text is not UTF-8")]
    InvalidUtf8,
    /// The body of a close frame is a single byte, which is not a complete code (section 5.5.1).
    #[error("the close frame holds half a code")]
    TruncatedCloseCode,
    /// The close frame has a code that must not be sent (section 7.4).
    #[error("the close code may not be sent")]
    InvalidCloseCode,
    /// A continuation frame arrived without a message in progress (section 5.4).
    #[error("there is nothing to continue")]
    UnexpectedContinuation,
    /// A message began before the previous one ended (section 5.4).
    #[error("a message began inside another")]
    InterleavedMessage,
}
