use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use chatsphere_core::TokenRefusal;

/// The token of RFC 6750, section 2.1. Two headers would leave open which one counts, so they are none.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, TokenRefusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(TokenRefusal::Missing)?;
    if values.next().is_some() {
        return Err(TokenRefusal::Invalid);
    }
    let (scheme, token) = value.to_str().ok().and_then(|value| value.split_once(' ')).ok_or(TokenRefusal::Missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(TokenRefusal::Missing) }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_scheme_is_bearer_in_any_case() {
        let headers = |values: &[&str]| {
            values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect::<HeaderMap>()
        };
        assert_eq!(bearer(&headers(&["Bearer a.b.c"])), Ok("a.b.c"));
        assert_eq!(bearer(&headers(&["bearer  a.b.c "])), Ok("a.b.c"));
        assert_eq!(bearer(&headers(&["Bearer "])), Ok(""));
        for missing in [&[][..], &["Basic YTpi"], &["Bearer"], &["a.b.c"]] {
            assert_eq!(bearer(&headers(missing)), Err(TokenRefusal::Missing), "{missing:?}");
        }
        assert_eq!(bearer(&headers(&["Bearer a", "Bearer b"])), Err(TokenRefusal::Invalid));
    }
}
