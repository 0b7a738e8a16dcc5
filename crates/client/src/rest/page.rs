use std::marker::PhantomData;

use reqwest::{Method, Url};
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::error::Error;

/// A page of a list. Lists are always paged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// The next page, in the list's order.
    pub next: Option<PageLink<T>>,
    /// The previous page, if the list provides it.
    pub prev: Option<PageLink<T>>,
}

/// A link to another page of the same list, for [`Client::follow`].
#[derive(Debug, PartialEq, Eq)]
pub struct PageLink<T> {
    target: String,
    items: PhantomData<fn() -> T>,
}

impl<T> Clone for PageLink<T> {
    fn clone(&self) -> Self {
        Self::new(self.target.clone())
    }
}

impl<T> PageLink<T> {
    fn new(target: String) -> Self {
        Self { target, items: PhantomData }
    }
}

/// The targets in a `Link` header (RFC 8288).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    next: Option<String>,
    prev: Option<String>,
}

impl Links {
    pub(super) fn read<'a>(headers: impl Iterator<Item = &'a str>) -> Self {
        let mut links = Self::default();
        for header in headers {
            let mut rest = header;
            while let Some((target, after)) = rest.split_once('<').and_then(|(_, inside)| inside.split_once('>')) {
                // Parameters end where the next link begins; a comma in a quoted parameter does not matter here.
                let parameters = after.split_once('<').map_or(after, |(parameters, _)| parameters);
                match relation(parameters) {
                    Some("next") => links.next = Some(target.to_owned()),
                    Some("prev") => links.prev = Some(target.to_owned()),
                    _ => {}
                }
                rest = after;
            }
        }
        links
    }
}

fn relation(parameters: &str) -> Option<&str> {
    let value = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("rel="))?;
    Some(value.trim_end_matches([',', ' ']).trim_matches('"'))
}

impl Client {
    /// Reads the page of a link.
    ///
    /// # Errors
    /// [`Error::ForeignLink`] if it leads to another server, and those of any call.
    pub async fn follow<T: DeserializeOwned>(&self, link: &PageLink<T>) -> Result<Page<T>, Error> {
        let address = self.base().join(&link.target).map_err(|_| Error::ForeignLink)?;
        self.page_at(address).await
    }

    /// The first page of a list.
    pub(super) async fn page<T: DeserializeOwned>(&self, path: &str, limit: Option<u32>) -> Result<Page<T>, Error> {
        let mut address = self.address(path)?;
        if let Some(limit) = limit {
            address.query_pairs_mut().append_pair("limit", &limit.to_string());
        }
        self.page_at(address).await
    }

    async fn page_at<T: DeserializeOwned>(&self, address: Url) -> Result<Page<T>, Error> {
        if address.origin() != self.base().origin() {
            return Err(Error::ForeignLink);
        }
        let answer = self.exchange(Method::GET, address, None::<&()>).await?;
        let items = serde_json::from_slice(&answer.body).map_err(Error::Answer)?;
        Ok(Page { items, next: answer.links.next.map(PageLink::new), prev: answer.links.prev.map(PageLink::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_by_relation() {
        let header = r#"</api/rooms/r/messages?before=5>; rel="prev", </api/rooms/r/messages?after=9>; rel="next""#;
        let links = Links::read([header].into_iter());
        assert_eq!(links.next.as_deref(), Some("/api/rooms/r/messages?after=9"));
        assert_eq!(links.prev.as_deref(), Some("/api/rooms/r/messages?before=5"));
        assert_eq!(Links::read(["<a>; title=x; rel=next", "garbage <"].into_iter()).next.as_deref(), Some("a"));
        assert_eq!(Links::read([""].into_iter()), Links::default());
    }

    #[tokio::test]
    async fn a_link_to_elsewhere_is_not_followed() {
        let client = Client::new("http://127.0.0.1:1", "t").unwrap();
        for target in ["http://elsewhere/api", "//elsewhere/api", "https://127.0.0.1:1/api"] {
            let link = PageLink::<u32>::new(target.to_owned());
            assert!(matches!(client.follow(&link).await, Err(Error::ForeignLink)), "{target}");
        }
    }
}
