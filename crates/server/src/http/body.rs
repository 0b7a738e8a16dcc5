//! JSON bodies. Errors name the field and describe the rule; they never repeat the input, which may be a secret or a message.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use chatsphere_core::{Caller, Idempotency};
use chatsphere_net::listener::BodyTimeout;
use chatsphere_net::{LATE, in_time};
use chatsphere_protocol::json::{HALF_A_PAIR, replace_half_pairs};
use http_body_util::BodyExt;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio::time::Instant;

use super::authenticated::Authenticated;
use super::failure::Failure;
use super::idempotency::IdempotencyKey;
use super::path_ids::{self, PathIds};
use super::state::HttpState;

/// Timeout for a complete body.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout for the next part of a body.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);

/// The timeouts of a body: in all, and for each part.
#[derive(Clone, Copy)]
struct Patience {
    whole: Duration,
    chunk: Duration,
}

/// Maximum size of the first allocation for a body, because `Content-Length` is only a claim.
const FIRST_ALLOCATION: usize = 16 * 1_024;

/// A call with a body: its caller and its path parameters.
///
/// The caller is authenticated before the body is read, so that a client without a token can't make the server read one, and
/// again when the body is complete, because the caller may have lost its rights during a slow transfer. `caller` is the result
/// of the second authentication.
pub(crate) struct JsonBody<T, P = ()> {
    pub(crate) caller: Arc<Caller>,
    pub(crate) path: P,
    pub(crate) value: T,
    pub(crate) idempotency: Option<Idempotency>,
}

/// The body of a call that needs no token.
pub(crate) struct OpenBody<T> {
    pub(crate) value: T,
}

impl<T: DeserializeOwned, P: PathIds> FromRequest<Arc<HttpState>> for JsonBody<T, P> {
    type Rejection = Failure;

    async fn from_request(request: Request, http: &Arc<HttpState>) -> Result<Self, Failure> {
        let (mut parts, body) = request.into_parts();
        Authenticated::from_request_parts(&mut parts, http).await?;
        let key = IdempotencyKey::from_request_parts(&mut parts, http).await?;
        let texts = path_ids::texts::<P>(&mut parts).await?;
        let bytes = read_json(body, &parts.headers, http).await?;
        let Authenticated(caller) = Authenticated::from_request_parts(&mut parts, http).await?;
        let idempotency = key.bind(&caller, &bytes, &http.content_key);
        let value = decode(&bytes)?;
        Ok(Self { path: P::read(texts, &caller)?, value, caller, idempotency })
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<HttpState>> for OpenBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, http: &Arc<HttpState>) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        Ok(Self { value: decode(&read_json(body, &parts.headers, http).await?)? })
    }
}

async fn read_json(body: Body, headers: &HeaderMap, http: &HttpState) -> Result<Vec<u8>, Failure> {
    if let Some(coding) = coding(headers) {
        return Err(Failure::encoded(coding));
    }
    if !is_json(headers) {
        return Err(Failure::not_json());
    }
    let patience = Patience { whole: BODY_TIMEOUT, chunk: CHUNK_TIMEOUT };
    read(body, headers, http.chat.limits.body_bytes, patience).await
}

/// Whether the content type is `application/json` or has the suffix `+json` (RFC 6839, section 3.1), with any parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// The content coding, if there is one (RFC 9110, section 8.4). Only known names are returned, because input is never repeated.
fn coding(headers: &HeaderMap) -> Option<&'static str> {
    const KNOWN: [&str; 8] = ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "aes128gcm"];
    let lines = headers.get_all(CONTENT_ENCODING).iter().map(|line| line.to_str().unwrap_or("unreadable"));
    let mut codings = lines.flat_map(|line| line.split(',')).map(str::trim);
    let coding = codings.find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))?;
    Some(KNOWN.into_iter().find(|known| coding.eq_ignore_ascii_case(known)).unwrap_or("…"))
}

async fn read(mut body: Body, headers: &HeaderMap, limit: usize, patience: Patience) -> Result<Vec<u8>, Failure> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let announced: usize = announced.unwrap_or(0);
    if announced > limit {
        return Err(Failure::too_large(limit));
    }
    let mut deadline = Instant::now() + patience.whole;
    let mut bytes = Vec::with_capacity(announced.min(FIRST_ALLOCATION));
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Ok(frame) = in_time(patience.chunk.min(left), body.frame()).await else { return Err(Failure::slow_body()) };
        if deadline.elapsed() >= LATE {
            // The process was suspended.
            deadline = Instant::now() + patience.whole;
        }
        let Some(frame) = frame else { return Ok(bytes) };
        let frame = frame.map_err(|error| broken(&error))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + Bytes::len(&data) > limit {
                return Err(Failure::too_large(limit));
            }
            bytes.extend_from_slice(&data);
        }
    }
}

/// The error for a body that could not be read. The listener has a body timeout of its own.
fn broken(error: &axum::Error) -> Failure {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<BodyTimeout>() {
            return Failure::slow_body();
        }
        cause = error.source();
    }
    Failure::malformed("the body broke off")
}

/// Parses a JSON object.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    // The JSON reader does not check the encoding of skipped values.
    let text = std::str::from_utf8(bytes).map_err(|_| Failure::malformed("the body is not UTF-8"))?;
    // Some editors and libraries write a byte order mark, which is ignored in UTF-8 (RFC 8259, section 8.1).
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match text.trim_ascii_start().chars().next() {
        None => return Err(Failure::malformed("the body is empty: send a JSON object")),
        Some('{') => {}
        // serde would accept an array of the fields in place of the object.
        Some(_) => return Err(Failure::malformed("the body is not a JSON object")),
    }
    read_object(text).or_else(|failure| match replace_half_pairs(text) {
        // A name that is not valid Unicode is no known field, so its member is ignored like other unknown ones.
        Cow::Owned(replaced) if is_grammatical(text) => read_object(&replaced),
        _ => Err(failure),
    })
}

fn read_object<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| explain(text, &error))?;
    reader.end().map_err(|_| Failure::malformed("something follows the JSON object"))?;
    Ok(value)
}

/// Whether this is grammatical JSON (RFC 8259), which allows lone surrogates and numbers of any size.
fn is_grammatical(json: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(json).is_ok()
}

fn explain(json: &str, error: &serde_path_to_error::Error<serde_json::Error>) -> Failure {
    let inner = error.inner();
    if !inner.is_data() && is_grammatical(json) {
        // serde reports some invalid values as syntax errors: a number in place of an enumerated word, a number out of range,
        // or a lone surrogate.
        let text = inner.to_string();
        let message = if text.contains("hex escape") {
            HALF_A_PAIR
        } else if text.starts_with("expected value") {
            "must be one of the words that the API's description lists"
        } else {
            "has the wrong form"
        };
        return Failure::invalid(error.path().to_string(), message);
    }
    if !inner.is_data() {
        let (line, column) = (inner.line(), inner.column());
        return Failure::malformed(format!("the body is not valid JSON: line {line}, column {column}"));
    }
    let text = inner.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let path = error.path().to_string();
    for (prefix, message) in [("missing field `", "is required"), ("duplicate field `", "must be there once")] {
        if let Some(name) = text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix('`')) {
            // These messages name a field of ours; the path is that of its parent.
            let field = if path == "." || path == name { name.to_owned() } else { format!("{path}.{name}") };
            return Failure::invalid(field, message);
        }
    }
    // serde's message quotes the value before this word, and describes the expected type after it.
    let message = match text.rsplit_once(", expected ") {
        Some((_, expected)) => Cow::Owned(format!("must be {}", plain(expected))),
        None => Cow::Borrowed("has the wrong form"),
    };
    Failure::invalid(path, message)
}

/// Translates serde's names of Rust types into JSON terms.
fn plain(expected: &str) -> Cow<'_, str> {
    Cow::Borrowed(match expected {
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a borrowed string" | "a string" | "str" => "a string",
        // One of our structs.
        expected if expected.starts_with("struct ") => "an object",
        expected => return Cow::Owned(expected.replace('`', "")),
    })
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use chatsphere_protocol::rest::{CreateUser, MintUserToken, PostMessage};
    use proptest::prelude::*;

    use super::*;

    fn fields<T: DeserializeOwned>(body: &str) -> Vec<(String, String)> {
        let Err(failure) = decode::<T>(body.as_bytes()) else { panic!("{body} was taken") };
        failure.parts().fields.iter().map(|field| (field.field.to_string(), field.message.to_string())).collect()
    }

    fn field(name: &str, message: &str) -> Vec<(String, String)> {
        vec![(name.to_owned(), message.to_owned())]
    }

    #[test]
    fn a_wrong_type_names_its_field() {
        assert_eq!(fields::<CreateUser>(r#"{"username":7}"#), field("username", "must be a string"));
        assert_eq!(fields::<CreateUser>(r#"{}"#), field("username", "is required"));
        assert_eq!(fields::<CreateUser>(r#"{"username":"a","username":"b"}"#), field("username", "must be there once"));
        let roles = "must be one of ADMIN, MODERATOR, MEMBER";
        assert_eq!(fields::<CreateUser>(r#"{"username":"a","role":"x, expected y"}"#), field("role", roles));
        assert_eq!(fields::<CreateUser>(r#"{"username":"a","role":[7]}"#)[0].0, "role");
        let mint = |permissions: &str| fields::<MintUserToken>(&format!(r#"{{"userId":"a","permissions":{permissions}}}"#));
        assert_eq!(mint(r#"{"read":"yes"}"#), field("permissions.read", "must be true or false"));
        assert_eq!(mint("7"), field("permissions", "must be an object"));
        assert_eq!(mint(r#"{"rooms":7}"#), field("permissions.rooms", "must be an array"));
        assert_eq!(mint(r#"{"rooms":["x"]}"#)[0].0, "permissions.rooms[0]");
    }

    /// A half emoji, as left by `slice` in JavaScript, is JSON but not valid Unicode.
    #[test]
    fn half_of_a_character_names_its_field() {
        let half = |name: &str| field(name, HALF_A_PAIR);
        assert_eq!(fields::<PostMessage>(r#"{"content":"Good morning \ud83d"}"#), half("content"));
        assert_eq!(fields::<PostMessage>(r#"{"\ud83d":1,"content":"\ude00"}"#), half("content"));
        assert_eq!(fields::<PostMessage>(r#"{"content":"x","clientMessageId":"\ud83dx"}"#), half("clientMessageId"));
        assert_eq!(fields::<CreateUser>(r#"{"username":"\ud83d\ud83d\ude00"}"#), half("username"));
        assert_eq!(fields::<CreateUser>(r#"{"username":1e400}"#)[0].0, "username");
        let mint = r#"{"userId":"a","permissions":{"rooms":["\ud83d"]}}"#;
        assert_eq!(fields::<MintUserToken>(mint), half("permissions.rooms[0]"));
        for taken in [r#"{"content":"😀","x":"\ud83d"}"#, r#"{"\ud83d":"\ude00","content":"\ud83d\ude00","y":1e400}"#] {
            assert_eq!(decode::<PostMessage>(taken.as_bytes()).unwrap().content, "😀", "{taken}");
        }
        let cut = decode::<PostMessage>(br#"{"content":"\ud83d""#).unwrap_err();
        assert_eq!(cut.parts().code, "malformed");
        assert!(cut.parts().detail.contains("column"), "{cut:?}");
    }

    #[test]
    fn json_other_than_an_object_is_malformed() {
        let deep = format!("{{\"username\":{}", "[".repeat(100_000));
        for body in ["", " ", "null", "[]", r#"["ada",null]"#, "{", r#"{"username":"a"}x"#, r#"{"username":"\ud800"}"#, &deep] {
            let failure = decode::<CreateUser>(body.as_bytes()).unwrap_err();
            assert_eq!(failure.parts().status, StatusCode::BAD_REQUEST);
        }
        for body in [&b"{\"username\":\"\xff\"}"[..], b"{\"username\":\"a\",\"x\":\"\xff\"}"] {
            assert_eq!(decode::<CreateUser>(body).unwrap_err().parts().code, "malformed");
        }
        assert!(decode::<CreateUser>(br#" {"username":"a","unknown":[1,{}]} "#).is_ok());
        assert!(decode::<CreateUser>("\u{feff}{\"username\":\"a\"}".as_bytes()).is_ok());
        assert!(decode::<CreateUser>("\u{feff}\u{feff}{\"username\":\"a\"}".as_bytes()).is_err());
    }

    #[tokio::test]
    async fn a_slow_body_is_not_waited_for() {
        let parts = |every: Duration| {
            let parts = futures_util::stream::unfold((), move |()| async move {
                tokio::time::sleep(every).await;
                Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
            });
            Body::from_stream(parts)
        };
        let millis = Duration::from_millis;
        for (every, whole, chunk) in [(millis(60_000), millis(60_000), millis(20)), (millis(5), millis(50), millis(60_000))] {
            let failure = read(parts(every), &HeaderMap::new(), 1_000_000, Patience { whole, chunk }).await.unwrap_err();
            assert_eq!(failure.parts().status, StatusCode::REQUEST_TIMEOUT);
        }
    }

    #[tokio::test]
    async fn an_announced_length_takes_no_memory() {
        let headers = HeaderMap::from_iter([(CONTENT_LENGTH, axum::http::HeaderValue::from_static("1000000"))]);
        let patience = Patience { whole: BODY_TIMEOUT, chunk: CHUNK_TIMEOUT };
        let bytes = read(Body::empty(), &headers, 1_000_000, patience).await.unwrap();
        assert!(bytes.capacity() <= FIRST_ALLOCATION);
    }

    #[tokio::test]
    async fn a_broken_body_is_the_clients_fault() {
        let patience = Patience { whole: BODY_TIMEOUT, chunk: CHUNK_TIMEOUT };
        let broken = |error: axum::BoxError| {
            let stream = futures_util::stream::once(async move { Err::<Bytes, _>(error) });
            async move { read(Body::from_stream(stream), &HeaderMap::new(), 10, patience).await.unwrap_err().parts().status }
        };
        assert_eq!(broken(Box::new(BodyTimeout)).await, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(broken("reset".into()).await, StatusCode::BAD_REQUEST);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = decode::<CreateUser>(&bytes);
            let _ = decode::<MintUserToken>(&bytes);
            let _ = decode::<PostMessage>(&bytes);
        }

        /// No misplaced input is repeated in the error.
        #[test]
        fn nothing_is_repeated(secret in "[a-z, ]{0,20}zq[a-z`, ]{0,20}", key in "(username|role|x|permissions|userId)") {
            for value in [serde_json::json!(secret), serde_json::json!({ &secret: secret }), serde_json::json!([secret])] {
                let body = serde_json::json!({ key.clone(): value, secret.clone(): 1 }).to_string();
                for failure in [
                    decode::<CreateUser>(body.as_bytes()).err(),
                    decode::<MintUserToken>(body.as_bytes()).err(),
                    decode::<PostMessage>(body.as_bytes()).err(),
                    decode::<CreateUser>(&body.as_bytes()[..body.len() - 1]).err(),
                ].into_iter().flatten() {
                    prop_assert!(!format!("{failure:?}").contains("zq"), "{:?}", failure);
                }
            }
        }

        #[test]
        fn what_was_encoded_is_decoded(content: String, client_message_id: Option<String>, user_id: Option<String>) {
            let post = PostMessage { content, client_message_id, user_id };
            prop_assert_eq!(decode::<PostMessage>(&serde_json::to_vec(&post).unwrap()).unwrap(), post);
        }
    }
}
