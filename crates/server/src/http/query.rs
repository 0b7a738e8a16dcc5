//! Query parameters of lists.

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use std::borrow::Cow;
use std::sync::Arc;

use chatsphere_core::store::{HistoryRange, PageRequest, Place};
use chatsphere_core::{Error, InvalidField, Seq, UserId, ops};
use chatsphere_protocol::rest::FieldError;
use utoipa::IntoParams;

use super::failure::Failure;
use super::state::HttpState;
use crate::auth::Cursors;

/// `limit` and `cursor`, as documented in the API's description.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only described; read by `Query::page`")]
pub(crate) struct PageParams {
    /// Maximum number of items.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The position of the page, from the `Link` header of an adjacent page.
    cursor: Option<String>,
}

/// `limit`, `before`, `after` and `around`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only described; read by `Query::history`")]
pub(crate) struct HistoryParams {
    /// Maximum number of items.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The messages before this `seq`, nearest first. Only one of `before`, `after` and `around` may be given.
    #[param(minimum = 0)]
    before: Option<u64>,
    /// The messages after this `seq`, nearest first.
    #[param(minimum = 0)]
    after: Option<u64>,
    /// The message with this `seq` or id, and those next to it on both sides.
    around: Option<String>,
}

/// `limit` and `after`.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only described; read by `Query::events`")]
pub(crate) struct EventsParams {
    /// Maximum number of items.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<u32>,
    /// The events after this `seq`; 0, the default, is the beginning.
    #[param(minimum = 0, default = 0)]
    after: Option<u64>,
}

/// Routes that the Node.js version had. Its clients may send unknown parameters, which only newer routes reject.
const FIRST_VERSION: [&str; 9] = [
    "/api/users",
    "/api/users/{userId}/messages",
    "/api/messages",
    "/api/messages/user",
    "/api/rooms",
    "/api/rooms/{roomId}/messages",
    "/api/tokens",
    "/api/tokens/{tokenId}",
    "/api/tokens/{tokenId}/revoke",
];

/// The parameter of all calls with a token: the user as whom a CLIENT token acts.
pub(crate) const AS: &str = "as";

/// Maximum number of unknown parameters named in one answer.
const MAX_NAMED: usize = 8;

/// A call's path and query, which also builds links to other pages.
pub(crate) struct Query {
    path: String,
    pairs: Vec<(String, String)>,
    page_default: usize,
    page_max: usize,
    /// Whether unknown parameters are ignored.
    lenient: bool,
}

impl FromRequestParts<Arc<HttpState>> for Query {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, http: &Arc<HttpState>) -> Result<Self, Failure> {
        let limits = &http.chat.limits;
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        let query = parts.uri.query().unwrap_or_default();
        let query = Self::new(parts.uri.path(), query, limits.page_default, limits.page_max);
        Ok(Self { lenient: FIRST_VERSION.contains(&route), ..query })
    }
}

impl Query {
    fn new(path: &str, query: &str, page_default: usize, page_max: usize) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes())
            .map(|(name, value)| (Cow::into_owned(name), Cow::into_owned(value)))
            .collect();
        Self { path: path.to_owned(), pairs, page_default, page_max, lenient: false }
    }

    /// The requested page of a list with a cursor.
    pub(crate) fn page(&self, cursors: &Cursors<'_>) -> Result<PageRequest, Failure> {
        self.takes(&["limit", "cursor"])?;
        let cursor = self.one("cursor")?.map(|text| cursors.open(text)).transpose()?;
        Ok(PageRequest { cursor, limit: self.limit()? })
    }

    /// The requested page of a room's messages.
    pub(crate) fn history(&self) -> Result<(HistoryRange, usize), Failure> {
        self.takes(&["limit", "before", "after", "around"])?;
        let range = match (self.seq("before")?, self.seq("after")?, self.place()?) {
            (None, None, None) => HistoryRange::Newest,
            (Some(before), None, None) => HistoryRange::Before(before),
            (None, Some(after), None) => HistoryRange::After(after),
            (None, None, Some(place)) => HistoryRange::Around(place),
            (Some(_), Some(_), _) => return Err(Failure::invalid("before", "must not come together with after")),
            _ => return Err(Failure::invalid("around", "must not come together with before or after")),
        };
        Ok((range, self.limit()?))
    }

    /// The parameter `around`: digits are a `seq`, anything else the id of a message.
    fn place(&self) -> Result<Option<Place>, Failure> {
        let Some(text) = self.one("around")? else { return Ok(None) };
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(self.seq("around")?.map(Place::At));
        }
        Ok(Some(Place::Of(ops::message_id(text))))
    }

    /// The requested page of a room's events.
    pub(crate) fn events(&self) -> Result<(Seq, usize), Failure> {
        self.takes(&["limit", "after"])?;
        Ok((self.seq("after")?.unwrap_or(Seq::ZERO), self.limit()?))
    }

    /// The requested page of a list that is one page as long as the bytes allow.
    pub(crate) fn whole_page(&self, cursors: &Cursors<'_>) -> Result<PageRequest, Failure> {
        self.takes(&["cursor"])?;
        let cursor = self.one("cursor")?.map(|text| cursors.open(text)).transpose()?;
        Ok(PageRequest { cursor, limit: self.page_max })
    }

    /// The parameter `hard`, for a call with no other parameters.
    pub(crate) fn hard(&self) -> Result<bool, Failure> {
        self.takes(&["hard"])?;
        match self.one("hard")? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Failure::invalid("hard", "must be true or false")),
        }
    }

    /// Rejects other parameters, except the one that all calls take, because a misspelt one would silently return a different page.
    pub(crate) fn takes(&self, known: &[&str]) -> Result<(), Failure> {
        if self.lenient {
            return Ok(());
        }
        let known = [known, &[AS]].concat();
        let list = known.join(", ");
        let mut unknown: Vec<FieldError<'static>> = Vec::new();
        for (name, _) in self.pairs.iter().filter(|(name, _)| !name.is_empty() && !known.contains(&name.as_str())) {
            let field = shown(name);
            if unknown.len() < MAX_NAMED && unknown.iter().all(|other| other.field != field) {
                let message = format!("is no parameter of this call, which takes {list}");
                unknown.push(FieldError { field: field.into(), message: message.into() });
            }
        }
        let names: Vec<&str> = unknown.iter().map(|error| &*error.field).collect();
        let Some(first) = names.first() else { return Ok(()) };
        let detail = match names.len() {
            1 => format!("{first} is no parameter of this call, which takes {list}"),
            _ => format!("{} are no parameters of this call, which takes {list}", names.join(", ")),
        };
        Err(Failure::invalid_fields(detail, unknown))
    }

    /// A parameter that may occur once.
    pub(crate) fn one(&self, name: &'static str) -> Result<Option<&str>, InvalidField> {
        once(name, self.pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()))
    }

    /// The same call at another position of the list, as an absolute-path reference (RFC 3986, section 4.2).
    pub(crate) fn link(&self, name: &str, value: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        // A token in the query is not copied.
        let ours = |key: &str| matches!(key, "before" | "after" | "around" | "cursor" | "token" | "access_token");
        query.extend_pairs(self.pairs.iter().filter(|(key, _)| !ours(key)));
        query.append_pair(name, value);
        format!("{}?{}", self.path, query.finish())
    }

    fn limit(&self) -> Result<usize, InvalidField> {
        let Some(text) = self.one("limit")? else { return Ok(self.page_default) };
        match number(text).and_then(|number| usize::try_from(number).ok()) {
            Some(limit) if (1..=self.page_max).contains(&limit) => Ok(limit),
            _ => Err(InvalidField::new("limit", format!("must be a whole number from 1 to {}", self.page_max))),
        }
    }

    fn seq(&self, name: &'static str) -> Result<Option<Seq>, InvalidField> {
        let Some(text) = self.one(name)? else { return Ok(None) };
        match number(text) {
            Some(number) if number <= Seq::MAX.get() => Ok(Some(Seq::new(number))),
            _ => Err(InvalidField::new(name, format!("must be a whole number from 0 to {}", Seq::MAX))),
        }
    }
}

/// The only one of these values of a parameter, if there is one.
fn once<T>(name: &'static str, mut values: impl Iterator<Item = T>) -> Result<Option<T>, InvalidField> {
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(InvalidField::new(name, "must be there once")),
        (value, None) => Ok(value),
    }
}

/// The user as whom a CLIENT token acts in a call with this query.
pub(crate) fn acting_as(query: &str) -> Result<Option<UserId>, Error> {
    let values = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == AS).map(|(_, value)| value);
    once(AS, values)?.as_deref().map(ops::user_id).transpose()
}

/// A parameter's name for the answer, hidden if it might be misplaced data such as a token.
fn shown(name: &str) -> String {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"_-[]$".contains(&byte);
    if (1..=32).contains(&name.len()) && name.bytes().all(harmless) { name.to_owned() } else { "(unnamed)".to_owned() }
}

/// Parses digits only: `u64::from_str` also accepts a leading plus sign, which in a query is a space.
fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query { lenient: true, ..Query::new("/api/rooms", text, 50, 200) }
    }

    fn field<T>(outcome: Result<T, Failure>) -> String {
        let Err(failure) = outcome else { panic!("it was taken") };
        failure.parts().fields[0].field.to_string()
    }

    #[test]
    fn unknown_parameters_are_named() {
        let strict = |text: &str| Query::new("/api/rooms", text, 50, 200);
        let names = |text: &str| {
            let failure = strict(text).takes(&["limit", "cursor"]).unwrap_err();
            failure.parts().fields.iter().map(|error| error.field.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("limt=5&limit=5&before=3"), "limt before");
        assert_eq!(names("x=1&x=2"), "x");
        assert_eq!(names("Limit=5"), "Limit");
        assert_eq!(names("eyJhbGciOiJIUzI1NiJ9.e30.abc"), "(unnamed)");
        assert_eq!(names(&format!("{}=1", "x".repeat(33))), "(unnamed)");
        let many: String = (0..100).map(|number| format!("p{number}=&")).collect();
        assert_eq!(strict(&many).events().unwrap_err().parts().fields.len(), MAX_NAMED);
        assert!(strict("limit=5&cursor=&&=").takes(&["limit", "cursor"]).is_ok());
        assert!(strict("limit=5&after=3").history().is_ok());
        assert!(strict("limit=5&before=3").events().is_err());
        assert!(strict("").events().is_ok());
    }

    #[test]
    fn limits_are_kept_to() {
        for (text, limit) in [("", 50), ("limit=1", 1), ("limit=200", 200), ("limit=007", 7), ("x=%ff", 50)] {
            assert_eq!(query(text).limit().unwrap(), limit, "{text}");
        }
        for text in ["limit=0", "limit=201", "limit=-1", "limit=x", "limit=", "limit=1e2", "limit=1&limit=2", "limit=%2B5"] {
            assert_eq!(query(text).limit().unwrap_err().field, "limit", "{text}");
        }
        assert_eq!(query("limit=99999999999999999999").limit().unwrap_err().field, "limit");
    }

    #[test]
    fn a_history_has_one_direction() {
        assert_eq!(query("").history().unwrap(), (HistoryRange::Newest, 50));
        assert_eq!(query("before=7&limit=2").history().unwrap(), (HistoryRange::Before(Seq::new(7)), 2));
        assert_eq!(query("after=9007199254740991").history().unwrap().0, HistoryRange::After(Seq::MAX));
        for text in ["before=1&after=2", "before=-1", "before=x"] {
            assert_eq!(field(query(text).history()), "before", "{text}");
        }
        assert_eq!(query("around=7").history().unwrap().0, HistoryRange::Around(Place::At(Seq::new(7))));
        let id = "01a202af-4469-7a81-8d65-2853115e893b";
        let of = Place::Of(id.parse().unwrap());
        assert_eq!(query(&format!("around={id}&limit=3")).history().unwrap(), (HistoryRange::Around(of), 3));
        for text in ["around=1&before=2", "around=1&after=2", "around=", "around=9007199254740992", "around=1&around=2"] {
            assert_eq!(field(query(text).history()), "around", "{text}");
        }
        assert_eq!(field(query("after=9007199254740992").events()), "after");
    }

    #[test]
    fn a_link_keeps_what_else_was_asked() {
        let link = query("limit=2&x=a%20%3Eb&after=4&token=secret").link("after", "6");
        assert_eq!(link, "/api/rooms?limit=2&x=a+%3Eb&after=6");
    }
}
