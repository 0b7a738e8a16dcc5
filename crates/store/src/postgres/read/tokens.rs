//! Reads tokens.

use crate::postgres::rows::token_columns;

macro_rules! tokens_where {
    ($rest:literal, $order:literal) => {
        concat!(
            "SELECT ",
            token_columns!(),
            ", t.pk FROM (SELECT * FROM tokens WHERE ",
            $rest,
            ") AS t
             CROSS JOIN LATERAL (SELECT * FROM users WHERE pk = t.user_pk LIMIT 1) AS u
             LEFT JOIN LATERAL (SELECT id FROM tokens WHERE pk = t.parent_pk LIMIT 1) AS p ON true ",
            $order
        )
    };
}
pub(in crate::postgres) const ONE: &str = tokens_where!("id = $1", "");
/// Selects those of the given ids that exist.
pub(in crate::postgres) const SOME: &str = tokens_where!("id = ANY ($1)", "");
pub(super) const PAGE: &str = tokens_where!("pk < $1 ORDER BY pk DESC LIMIT $2", "ORDER BY t.pk DESC");
pub(in crate::postgres) const CLIENT_TOKEN: &str =
    "SELECT 1 FROM tokens WHERE kind = 'CLIENT' AND user_pk = (SELECT pk FROM users WHERE id = $1)
        AND revoked_at IS NULL AND expires_at > $2 LIMIT 1";
