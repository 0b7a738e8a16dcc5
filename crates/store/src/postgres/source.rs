//! Reads the database of the Node.js version, which Prisma created, in one snapshot and without writing.

use chatsphere_core::{Role, Timestamp};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, RowStream};

use super::connect::Connector;
use super::failure::Cause;
use crate::import::ImportError;
use crate::url::PostgresUrl;

/// The tables that an import needs.
const TABLES: [&str; 4] = ["User", "Room", "_RoomUsers", "Message"];
/// The years 1 to 9999, in milliseconds. Every text format of times can represent them.
const TIMES: std::ops::RangeInclusive<i64> = -62_135_596_800_000..=253_402_300_799_999;

/// Converts a column's time to milliseconds since 1970. The column has no time zone and means UTC.
macro_rules! millis {
    ($column:literal) => {
        concat!("CASE WHEN isfinite(", $column, ") THEN round(extract(epoch FROM ", $column, ") * 1000)::bigint END")
    };
}

const COUNTS: &str = r#"SELECT (SELECT count(*) FROM "User"), (SELECT count(*) FROM "Room"),
    (SELECT count(*) FROM "_RoomUsers"), (SELECT count(*) FROM "Message")"#;
/// Selects users in the order of their first messages; users without messages come last.
const USERS: &str = concat!(
    r#"SELECT u.id::text, u.username::text, u.role::text, "#,
    millis!("f.first"),
    r#" FROM "User" u
       LEFT JOIN (SELECT "userId", min("createdAt") AS first FROM "Message" GROUP BY "userId") f ON f."userId" = u.id
       ORDER BY f.first NULLS LAST, u.id::text COLLATE "C""#
);
/// Selects rooms, each with its first author and one of its members, among the users that are not skipped.
const ROOMS: &str = concat!(
    "SELECT r.id::text, r.name::text, ",
    millis!(r#"r."createdAt""#),
    ", ",
    millis!(r#"r."updatedAt""#),
    r#", a.author, m.member FROM "Room" r
       LEFT JOIN (
           SELECT DISTINCT ON ("roomId") "roomId", "userId"::text AS author FROM "Message"
           WHERE "userId"::text <> ALL ($1) ORDER BY "roomId", "createdAt", id::text COLLATE "C"
       ) a ON a."roomId" = r.id
       LEFT JOIN (SELECT "A", min("B"::text COLLATE "C") AS member FROM "_RoomUsers" WHERE "B"::text <> ALL ($1) GROUP BY "A") m
           ON m."A" = r.id
       ORDER BY r."createdAt", r.id::text COLLATE "C""#
);
/// Selects members room by room, in the order of their first messages there; members without messages come last.
const MEMBERS: &str = r#"SELECT x."A"::text, x."B"::text FROM "_RoomUsers" x
    LEFT JOIN (
        SELECT DISTINCT ON ("roomId", "userId") "roomId", "userId", "createdAt" AS at, id::text COLLATE "C" AS id FROM "Message"
        ORDER BY "roomId", "userId", "createdAt", id::text COLLATE "C"
    ) f ON f."roomId" = x."A" AND f."userId" = x."B"
    ORDER BY x."A"::text COLLATE "C", f.at NULLS LAST, f.id, x."B"::text COLLATE "C""#;
/// Selects the messages of all rooms together, so that lists of messages of all rooms are in the order of time too.
const MESSAGES: &str = concat!(
    r#"SELECT id::text, "roomId"::text, "userId"::text, content::text, "#,
    millis!(r#""createdAt""#),
    ", ",
    millis!(r#""updatedAt""#),
    r#" FROM "Message" ORDER BY "createdAt", id::text COLLATE "C""#
);

/// The numbers of rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) users: u64,
    pub(crate) rooms: u64,
    pub(crate) members: u64,
    pub(crate) messages: u64,
    pub(crate) tokens: u64,
}

pub(crate) struct FoundUser {
    pub(crate) id: String,
    pub(crate) username: String,
    pub(crate) role: Role,
    pub(crate) first_message: Option<Timestamp>,
}

pub(crate) struct FoundRoom {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) first_author: Option<String>,
    pub(crate) first_member: Option<String>,
}

pub(crate) struct FoundMessage {
    pub(crate) id: String,
    pub(crate) room: String,
    pub(crate) author: String,
    pub(crate) content: String,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// A snapshot of the Node.js version's database.
pub(crate) struct Source {
    client: Client,
    url: String,
}

impl Source {
    pub(crate) async fn open(location: &PostgresUrl, url: &str) -> Result<Self, ImportError> {
        let failed = |cause: &Cause| ImportError::Source { url: url.to_owned(), reason: cause.to_string() };
        let connector = Connector::new(location)?;
        let client = connector.for_looking().await.map_err(|cause| failed(&cause))?;
        // The server's time-outs are switched off, because this session idles while the target is written.
        let setup = "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;
                     SET default_transaction_read_only = on; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        client.batch_execute(setup).await.map_err(|error| failed(&error.into()))?;
        let source = Self { client, url: url.to_owned() };
        for table in TABLES {
            if !source.has_table(table).await? {
                return Err(ImportError::NotFirstVersion { url: source.url, table });
            }
        }
        Ok(source)
    }

    /// Converts an error of the driver.
    pub(crate) fn failed(&self, error: &tokio_postgres::Error) -> ImportError {
        ImportError::Source { url: self.url.clone(), reason: super::failure::told(error) }
    }

    async fn one(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Row, ImportError> {
        self.client.query_one(sql, params).await.map_err(|error| self.failed(&error))
    }

    async fn stream(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<RowStream, ImportError> {
        let rows = self.client.query_raw(sql, params.iter().copied()).await;
        rows.map_err(|error| self.failed(&error))
    }

    async fn has_table(&self, name: &str) -> Result<bool, ImportError> {
        let row = self.one("SELECT to_regclass($1::text) IS NOT NULL", &[&super::connect::quoted(name)]).await?;
        self.get(&row, 0)
    }

    pub(crate) async fn counts(&self) -> Result<Counts, ImportError> {
        let row = self.one(COUNTS, &[]).await?;
        let count = |column| self.get::<i64>(&row, column).map(|count| count.unsigned_abs());
        let tokens = if self.has_table("ApiToken").await? {
            let row = self.one(r#"SELECT count(*) FROM "ApiToken""#, &[]).await?;
            self.get::<i64>(&row, 0)?.unsigned_abs()
        } else {
            0
        };
        Ok(Counts { users: count(0)?, rooms: count(1)?, members: count(2)?, messages: count(3)?, tokens })
    }

    /// Whether a user has this name or this id.
    pub(crate) async fn has_user(&self, name: &str) -> Result<bool, ImportError> {
        let sql = r#"SELECT EXISTS (SELECT FROM "User" WHERE username::text = $1 OR id::text = $1)"#;
        self.get(&self.one(sql, &[&name]).await?, 0)
    }

    pub(crate) async fn has_username(&self, name: &str) -> Result<bool, ImportError> {
        self.get(&self.one(r#"SELECT EXISTS (SELECT FROM "User" WHERE username::text = $1)"#, &[&name]).await?, 0)
    }

    pub(crate) async fn users(&self) -> Result<RowStream, ImportError> {
        self.stream(USERS, &[]).await
    }

    pub(crate) fn user(&self, row: &Row) -> Result<FoundUser, ImportError> {
        Ok(FoundUser {
            id: self.get(row, 0)?,
            username: self.get(row, 1)?,
            role: self.get::<Option<String>>(row, 2)?.and_then(|role| Role::parse(&role)).unwrap_or(Role::Member),
            first_message: self.get::<Option<i64>>(row, 3)?.map(within),
        })
    }

    pub(crate) async fn rooms(&self, left_out: &[String]) -> Result<RowStream, ImportError> {
        self.stream(ROOMS, &[&left_out]).await
    }

    pub(crate) fn room(&self, row: &Row) -> Result<FoundRoom, ImportError> {
        Ok(FoundRoom {
            id: self.get(row, 0)?,
            name: self.get(row, 1)?,
            created_at: self.time(row, 2)?,
            updated_at: self.time(row, 3)?,
            first_author: self.get(row, 4)?,
            first_member: self.get(row, 5)?,
        })
    }

    pub(crate) async fn room_ids(&self) -> Result<RowStream, ImportError> {
        self.stream(r#"SELECT id::text FROM "Room""#, &[]).await
    }

    pub(crate) async fn members(&self) -> Result<RowStream, ImportError> {
        self.stream(MEMBERS, &[]).await
    }

    /// Reads the ids of the room and the user.
    pub(crate) fn member(&self, row: &Row) -> Result<(String, String), ImportError> {
        Ok((self.get(row, 0)?, self.get(row, 1)?))
    }

    pub(crate) async fn messages(&self) -> Result<RowStream, ImportError> {
        self.stream(MESSAGES, &[]).await
    }

    pub(crate) fn message(&self, row: &Row) -> Result<FoundMessage, ImportError> {
        Ok(FoundMessage {
            id: self.get(row, 0)?,
            room: self.get::<Option<String>>(row, 1)?.unwrap_or_default(),
            author: self.get::<Option<String>>(row, 2)?.unwrap_or_default(),
            content: self.get::<Option<String>>(row, 3)?.unwrap_or_default(),
            created_at: self.time(row, 4)?,
            updated_at: self.time(row, 5)?,
        })
    }

    pub(crate) fn text(&self, row: &Row, column: usize) -> Result<String, ImportError> {
        self.get(row, column)
    }

    /// Reads a time. A time that is null or infinite becomes the beginning of 1970.
    fn time(&self, row: &Row, column: usize) -> Result<Timestamp, ImportError> {
        Ok(within(self.get::<Option<i64>>(row, column)?.unwrap_or_default()))
    }

    fn get<'a, T: tokio_postgres::types::FromSql<'a>>(&self, row: &'a Row, column: usize) -> Result<T, ImportError> {
        row.try_get(column).map_err(|error| self.failed(&error))
    }
}

fn within(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis.clamp(*TIMES.start(), *TIMES.end()))
}
